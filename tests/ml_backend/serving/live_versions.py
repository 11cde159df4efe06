"""What is live for two projects, as their requests ask for it."""

from functools import partial

from ml_backend.serving.versions import Version
from training.store.live_pointer import SITE, Mover, promote

A, B = "2.1795327560", "3.1795327999"
PERSON = Mover("ann", "because")
UNTRAINED = Version("untrained", None)


def make_live(versions, number, project=SITE):
    versions.move(partial(promote, project=project, version=number, mover=PERSON))


def name(pointer, project):
    return pointer.live(project).name.split("-")[0]


def said(caplog):
    """Return what was logged of what is live."""
    of_pointer = "ml_backend.serving.pointer_follower"
    return [record.getMessage() for record in caplog.records if record.name == of_pointer]
