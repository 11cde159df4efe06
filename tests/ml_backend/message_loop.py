"""Messages of Label Studio, and the parts of the learning loop that deal with them."""

import json

import numpy as np
from sqlalchemy import select

from ml_backend.label_studio.brush_rle import encode
from ml_backend.label_studio.project_keys import project_key
from ml_backend.learning.inbox import Inbox, MessageRow
from ml_backend.learning.ingest import Ingest
from ml_backend.learning.newer_states import NewerStates
from ml_backend.learning.projects import Projects
from tests.ml_backend.label_studio_requests import recorded
from training.moments import now
from training.store.database import Database
from training.store.sample_files import SampleFiles
from training.store.sample_rows import AnnotationRow, SampleRow
from training.store.samples import SampleStore
from training.store.stored_files import StoredFiles

PROJECT = "2.1795327560"
CONFIG = """<View><Image name="image" value="$image"/>
  <KeyPointLabels name="kp" toName="image"><Label value="Object"/></KeyPointLabels>
  <BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels></View>"""
SIZE = (321, 481)


class Loop:
    """The parts of the learning loop that deal with messages, on a fresh folder."""

    def __init__(self, folder):
        self.database = Database(f"sqlite:///{folder}/state.db")
        self.inbox = Inbox(self.database)
        self.requests = []
        self.fetched = []
        self.trouble = None
        files = StoredFiles(f"{folder}/files", folder / "down")
        self.files = SampleFiles(files)
        self.ingest = Ingest(
            inbox=self.inbox,
            newer=NewerStates(self.inbox),
            projects=Projects(self.database),
            samples=SampleStore(self.database, files),
            fetch_image=self.fetch,
            request_training=lambda project, reason: self.requests.append((project, reason)),
        )

    def fetch(self, project, task, config, painted_hw):
        self.fetched.append(task["id"])
        if self.trouble is not None:
            raise self.trouble
        seed = int(task["id"])
        return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)

    def put(self, body):
        key = project_key(body.get("project"))
        self.inbox.put(body["action"], key, json.dumps(body).encode())

    def deliver(self, body):
        self.put(body)
        self.ingest.drain()

    def rows(self, table):
        with self.database.read() as session:
            return session.scalars(select(table)).all()

    def annotations(self, project=PROJECT):
        rows = self.rows(AnnotationRow)
        return {row.annotation: row for row in rows if row.project == project}

    def areas(self, project=PROJECT):
        rows = [row for row in self.rows(SampleRow) if row.project == project]
        return sorted(np.count_nonzero(self.files.read_mask(row.mask)) for row in rows)

    def hurry(self):
        """Make every waiting message due."""
        with self.database.write() as session:
            for row in session.scalars(select(MessageRow)):
                row.due_at = now()


def fixture(action):
    return recorded(f"webhook_{action}")


def brush(left, width=10):
    mask = np.zeros(SIZE, dtype=bool)
    mask[20:30, left : left + width] = True
    return {
        "id": f"r{left}", "type": "brushlabels", "from_name": "brush", "to_name": "image",
        "original_width": SIZE[1], "original_height": SIZE[0],
        "value": {"format": "rle", "rle": encode(mask), "brushlabels": ["Object"]},
    }  # fmt: skip


def saved(*regions, action="ANNOTATION_CREATED", annotation=4, second=0, **fields):
    """A message as Label Studio sends it, with these regions."""
    body = fixture("ANNOTATION_CREATED")
    body["action"] = action
    body["annotation"] |= {
        "id": annotation,
        "result": list(regions),
        "updated_at": f"2026-11-22T06:15:{second:02}.256890Z",
        **fields,
    }
    return body
