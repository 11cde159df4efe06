"""A memory of versions that follows a pointer which a test moves, and loads when a test lets it."""

import threading

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from ml_backend.deadline import Deadline
from ml_backend.metrics import Metrics
from ml_backend.serving.loaded_model import load_version
from ml_backend.serving.model_memory import ModelMemory
from ml_backend.serving.versions import version_of_file
from tests.waiting import PATIENCE


def three_versions(folder):
    """Three versions on disk."""
    made = []
    for number in range(3):
        path = folder / f"v{number}.safetensors"
        save_checkpoint(build_model("tiny", click_radius=3 + number), path)
        made.append(version_of_file(path))
    return made


class MovablePointer:
    """What the database will be: a version by project, moved by somebody else."""

    def __init__(self, version):
        self.default = version
        self.by_project = {}

    def live(self, project):
        return self.by_project.get(project, self.default)

    def names(self, project):
        return [self.live(project).name]

    def look_again(self, version):
        return False

    def problems(self):
        return []


class Loader:
    """Really loads, counts how often, and can be held up, also with one version alone."""

    def __init__(self):
        self.begun = []
        self.loaded = []
        self.slow = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, version):
        self.begun.append(version)
        assert self.slow not in (None, version) or self.gate.wait(PATIENCE)
        self.loaded.append(version.name)
        return load_version(version, "cpu", lambda: None)


def serving(pointer, max_bytes=1 << 30):
    loader = Loader()
    return ModelMemory(pointer, loader, max_bytes, Metrics()), loader


def served(models, project):
    return models.serving(project, Deadline(PATIENCE))
