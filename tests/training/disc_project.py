"""A project whose annotators accept bright discs: quick to draw, and a tiny network learns them."""

import os
import signal
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from icmformer import build_model, save_checkpoint
from training.evaluation.click_by_click import evaluate
from training.fine_tuning import trial
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe
from training.fine_tuning.improvement import improve
from training.fine_tuning.improvement_plan import Assignment, ImprovementOptions
from training.fine_tuning.promotion import Policy
from training.store.database import Database
from training.store.model_versions import ModelVersions
from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.samples import Annotation, SampleStore
from training.store.stored_files import StoredFiles
from training.store.stores import Stores

PROJECT = "2.1795327560"
POLICY = Policy(threshold=0.85, max_retention_loss=0.02, min_objects=1, min_images=1)
QUICK = (
    "batch_size=2", "steps=4", "validate_every=2", "optimization.warmup_epochs=0", "device=cpu",
    "validation_objects=4", "validation_clicks=2",
)  # fmt: skip


def disc(seed, size=(64, 80)):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (*size, 3), dtype=np.uint8)
    rows, columns = np.mgrid[: size[0], : size[1]]
    row, column, radius = rng.integers(20, 44), rng.integers(22, 58), rng.integers(9, 16)
    mask = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    image[mask] += 120
    return image, mask


def draw_data_set(folder, seeds):
    """Draw discs as a folder of images/ and masks/, and return it."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number, seed in enumerate(seeds):
        image, mask = disc(seed)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder


def accept(store, number, project=PROJECT):
    image, mask = disc(number)
    store.replace(
        Annotation(
            project=project,
            annotation=number,
            task=number,
            updated_at=datetime(2026, 1, 1 + number % 28, tzinfo=UTC),
            status="accepted",
            image=image,
            objects=(AcceptedObject("r", "Object", ObjectMask.of(mask)),),
        )
    )


def open_stores(folder):
    files = StoredFiles(str(folder / "files"), folder / "downloads")
    database = Database(f"sqlite:///{folder}/state.db")
    return Stores(database, files, ModelVersions(database, files))


def fill(folder, discs=24):
    """Make a store with accepted discs and a tiny untrained network as the base."""
    stores = open_stores(folder)
    samples = SampleStore(stores.database, stores.files)
    for number in range(discs):
        accept(samples, number)
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), folder / "base.safetensors")
    stores.versions.register_base(folder / "base.safetensors")
    return stores


@cache
def nothing_to_forget():
    """Return a retention set of one image without an object: nothing to replay, none to judge."""
    folder = TemporaryDirectory()
    for kind in (Path(folder.name) / "images", Path(folder.name) / "masks"):
        kind.mkdir()
        Image.new("L", (8, 8)).save(kind / "0.png")
    return folder


def options(*overrides, policy=POLICY, start="live", retention=None):
    recipe = load_fine_tune_recipe(overrides=(*QUICK, *overrides))
    retention = retention or Path(nothing_to_forget().name)
    return ImprovementOptions(recipe, policy, start, retention, held_out_tries=3, retention_tries=2)


def job(folder, number=1):
    (folder / f"job-{number}").mkdir(exist_ok=True)
    return Assignment(PROJECT, f"job {number}", folder / f"job-{number}", folder / "scores")


def quiet(stage, done, total):
    """Nobody watches."""


def judge_with_few_clicks():
    """Click three times an object instead of twenty: most of a job would be clicking."""
    trial.evaluate = partial(evaluate, max_clicks=3)


def work(folder, kill_at):
    """Do the first job, in a process of its own; SIGKILL comes with one of its reports."""
    torch.set_num_threads(1)
    judge_with_few_clicks()
    stages = []

    def report(stage, done, total):
        stages.append(stage)
        if len(stages) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    improve(job(folder), open_stores(folder), options(), report)
    (folder / "reports.txt").write_text("\n".join(stages))
