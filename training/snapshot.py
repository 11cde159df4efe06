"""A frozen list of samples: what one fine-tuning run trains on and is judged on.

The store moves on while a run trains. The files it points at never change, so a snapshot is a few
hashes, and its fingerprint says exactly which data made a version.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime

from training.database import Database
from training.sample_rows import SampleRow, usable_samples


@dataclass(frozen=True, order=True)
class SampleReference:
    """One accepted object. `image` and `mask` are content hashes of stored files."""

    image: str
    mask: str
    label: str
    split: str
    area: int


@dataclass(frozen=True)
class Snapshot:
    """Different objects of one project, sorted; the same object accepted twice counts once."""

    samples: tuple[SampleReference, ...]

    def on_side(self, split: str) -> "Snapshot":
        """Return the samples of one side of the split."""
        return Snapshot(tuple(sample for sample in self.samples if sample.split == split))

    def images(self) -> tuple[str, ...]:
        """Return the content hashes of the images, in order, each once."""
        return tuple(dict.fromkeys(sample.image for sample in self.samples))

    @property
    def fingerprint(self) -> str:
        """The same for the same samples, whoever accepted them and when."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the snapshot as text that `from_json` reads."""
        return json.dumps([asdict(sample) for sample in self.samples])

    @classmethod
    def from_json(cls, text: str) -> "Snapshot":
        """Return the snapshot that `to_json` wrote."""
        return cls(tuple(SampleReference(**sample) for sample in json.loads(text)))


def take_snapshot(database: Database, project: str) -> Snapshot:
    """Return what annotators of the project have accepted up to now."""
    with database.read() as session:
        rows = session.scalars(usable_samples(project, SampleRow)).all()
    references = {
        (row.image, row.mask): SampleReference(row.image, row.mask, row.label, row.split, row.area)
        for row in sorted(rows, key=_oldest_first)
    }
    return Snapshot(tuple(sorted(references.values())))


def _oldest_first(row: SampleRow) -> tuple[datetime, int]:
    # The last one written under a key stays: a label that was corrected later is the label.
    return row.accepted_at, row.id
