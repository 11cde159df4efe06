"""A frozen list of samples: what one fine-tuning run trains on and is judged on.

The store moves on while a run trains. The files it points at never change, so a snapshot is a few
hashes, and its fingerprint says exactly which data made a version.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

from training.store.database import Database
from training.store.outlined_again import outlined_again
from training.store.sample_files import SampleFiles
from training.store.sample_rows import SampleRow, usable_samples
from training.store.split import HELD_OUT


@dataclass(frozen=True, order=True)
class SampleReference:
    """One accepted object. `image` and `mask` are content hashes of stored files."""

    image: str
    mask: str
    split: str


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
    return _snapshot_of(_different(database, project))


def take_snapshot_for_job(
    database: Database, files: SampleFiles, project: str, tell: Callable[[int, int], None]
) -> Snapshot:
    """Return the same, but each held-out object once, however many annotators outlined it.

    Args:
        database: of the samples.
        files: where their masks are.
        project: whose samples.
        tell: called before each mask that is read for it with how many were, and of how many.
    """
    rows = _different(database, project)
    held_out = [row for row in rows if row.split == HELD_OUT]
    again = outlined_again(held_out, files, tell)
    return _snapshot_of(row for row in rows if row.id not in again)


def thinned(snapshot: Snapshot, images: int, objects: Mapping[str, int]) -> Snapshot:
    """Return as much as one job can make use of, the same for the same snapshot.

    Args:
        snapshot: all that was accepted.
        images: most images of any side that `objects` does not name, with all their objects. Which
            ones is another choice whenever anything was accepted.
        objects: most objects of some sides, see `spread_over_images`.
    """
    rest = [sample for sample in snapshot.samples if sample.split not in objects]
    by_chance = sorted({sample.image for sample in rest}, key=partial(_hash, snapshot.fingerprint))
    chosen = set(by_chance[:images])
    kept = [sample for sample in rest if sample.image in chosen]
    for side, limit in objects.items():
        kept += spread_over_images(snapshot.on_side(side).samples, limit)
    return Snapshot(tuple(sorted(kept)))


def spread_over_images(
    samples: Sequence[SampleReference], limit: int
) -> tuple[SampleReference, ...]:
    """Return at most so many samples, sorted; each image gives its share before any gives more."""
    ranks: dict[str, int] = {}
    ranked = []
    for sample in sorted(samples):
        ranks[sample.image] = ranks.get(sample.image, 0) + 1
        ranked.append((ranks[sample.image], sample))
    return tuple(sorted(sample for _, sample in sorted(ranked)[:limit]))


def _hash(seed: str, image: str) -> str:
    return hashlib.sha256(f"{seed} {image}".encode()).hexdigest()


def _different(database: Database, project: str) -> list[SampleRow]:
    """Return the samples with different masks, the oldest first; of the same, the newest."""
    with database.read() as session:
        rows = session.scalars(usable_samples(project, SampleRow)).all()
    different = {(row.image, row.mask): row for row in sorted(rows, key=_oldest_first)}
    return sorted(different.values(), key=_oldest_first)


def _snapshot_of(rows: Iterable[SampleRow]) -> Snapshot:
    references = (SampleReference(row.image, row.mask, row.split) for row in rows)
    return Snapshot(tuple(sorted(references)))


def _oldest_first(row: SampleRow) -> tuple[datetime, int]:
    return row.accepted_at, row.id
