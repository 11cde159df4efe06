"""From accepted masks to a version that may go live, in steps that survive being killed.

Each step leaves a file in the job's folder, or a row, and is skipped where it finds its own: a job
that was killed, at any moment, is continued by calling `improve` again, and ends the same
(on a GPU but for the chance that `fine_tune` speaks of).

1. freeze which samples, which version to start from, which recipe
2. judge the live version on the held-out objects and on the retention set, and on the latter the
   one it descends from as well: little losses must not add up
3. fine-tune
4. judge the candidate, loaded from disk, on the same objects
5. decide, and publish the candidate as a version, whatever the verdict
6. load it from where it was published, let it answer, and move the live pointer
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from icmformer import Predictor, load_checkpoint
from training.atomic_files import write_atomically
from training.datasets.accepted import AcceptedImages, AcceptedObjects
from training.datasets.decoded_cache import decoded
from training.datasets.large_images import CloseUps
from training.datasets.sample import AnnotatedImage, TrainingDataset
from training.datasets.subset import Subset
from training.errors import DatasetError, VersionError
from training.fine_tuning.familiar_images import known_images, known_object_side
from training.fine_tuning.fine_tune import CANDIDATE, FineTuneData, can_validate, fine_tune
from training.fine_tuning.improvement_plan import (
    Assignment,
    ImprovementOptions,
    Plan,
    base_of,
    frozen_plan,
    is_left_over,
    made_before,
)
from training.fine_tuning.improvement_report import decision_summary, improvement_report
from training.fine_tuning.interruptible import Interruptible
from training.fine_tuning.judge import Judge
from training.fine_tuning.promotion import Comparison, decide
from training.fine_tuning.retention import RetentionSet
from training.fine_tuning.serving_check import check_serves
from training.hashes import file_sha256
from training.progress import Tell
from training.store.live_pointer import Mover
from training.store.model_versions import Candidate, ModelVersions
from training.store.sample_files import SampleFiles
from training.store.snapshot import Snapshot
from training.store.split import TRAINING, VALIDATION
from training.store.stores import Stores
from training.store.version_reports import store_report
from training.store.version_rows import VersionRow

GATE = "gate"

Result = Literal["promoted", "not better", "asked", "unchanged"]


@dataclass(frozen=True)
class Outcome:
    """What became of a job, in one sentence; `version` is None where no candidate was made."""

    result: Result
    sentence: str
    version: int | None = None


def improve(job: Assignment, stores: Stores, options: ImprovementOptions, tell: Tell) -> Outcome:
    """Fine-tune a project's live version and let the gate decide.

    Args:
        job: what to do, and where.
        stores: where things are kept.
        options: how to improve.
        tell: called with the progress; may raise to stop.

    Raises:
        VersionError: if a version, or the candidate, is damaged.
        FileStoreError: if stored files cannot be reached.
        StoredFileError: if an accepted image or mask is damaged.
        DatasetError: if the accepted objects are too small to train on.
        RecipeError: if the training has diverged, or its state in the job's folder cannot be read.
        ScoreCardError: if scores that were kept are not about the objects of the job.
        ICMFormerError: if the candidate cannot be loaded, or does not answer.
    """
    published = stores.versions.made_by(job.origin)
    if published is None:
        plan = frozen_plan(job, stores, options, tell)
        retention = RetentionSet(options.retention)
        gate = {**asdict(options.policy), "retention": retention.fingerprint}
        if not plan.snapshot.on_side(TRAINING).samples:
            return Outcome("unchanged", "no accepted mask is on an image that may be trained on")
        published = made_before(plan, job.project, stores.versions, gate)
        if published is None:
            candidate = _judged_candidate(job, plan, stores, options, retention, tell)
            candidate = replace(candidate, scores={**candidate.scores, "gate": gate})
            published = stores.versions.get(stores.versions.publish(candidate))
        elif not is_left_over(published, stores.versions):
            made = f"version {published.number}, which was made the same way"
            return Outcome("unchanged", f"nothing was accepted since {made}")
    return _conclude(job.project, published, stores.versions, tell)


def _judged_candidate(
    job: Assignment,
    plan: Plan,
    stores: Stores,
    options: ImprovementOptions,
    retention: RetentionSet,
    tell: Tell,
) -> Candidate:
    """Train a candidate, judge it, and decide about it."""
    judge = Judge(job, plan, stores, options, retention, tell)
    before, remembering = judge.measure()
    trained = _trained(job.folder, plan, stores, options, retention, tell)
    after = judge.candidate(trained)

    live = stores.versions.checkpoint(plan.live)
    comparisons = {side: Comparison(before[side], after[side]) for side in before}
    pair = comparisons.get("held_out"), comparisons.get("retention")
    decision = decide(*pair, options.policy)
    drawing = partial(tell, "drawing the report", 0, 1)
    network, held_out = load_checkpoint(trained, judge.device), judge.exercises.get("held_out")
    shown_live = load_checkpoint(live, judge.device)
    shown = improvement_report(
        *pair,
        held_out,
        Interruptible(Predictor(shown_live, at_home=judge.live_at_home), drawing),
        Interruptible(Predictor(network, at_home=True), drawing),
        options.policy.threshold,
    )
    known = None if held_out is None else known_images(network, held_out.objects, drawing)
    _check_untouched(trained)
    return Candidate(
        origin=job.origin,
        checkpoint=trained,
        project=job.project,
        parent=plan.start,
        data_fingerprint=plan.snapshot.fingerprint,
        recipe=plan.recipe,
        scores={
            **decision_summary(decision),
            "compared_with": plan.live,
            "retention_compared_with": remembering,
            "threshold": options.policy.threshold,
            "trained_on": len(plan.to_train_on().samples),
            "known_held_out_images": known,
            "object_side": known_object_side(network),
        },
        verdict=decision.verdict,
        reasons=decision.reasons,
        report=store_report(stores, shown),
    )


def _trained(
    folder: Path,
    plan: Plan,
    stores: Stores,
    options: ImprovementOptions,
    retention: RetentionSet,
    tell: Tell,
) -> Path:
    """Return the candidate's checkpoint, training it unless that is done."""
    candidate = folder / CANDIDATE
    if _seal(candidate).exists():
        return candidate
    files, recipe = SampleFiles(stores.files), plan.recipe_on(options.recipe.device)
    fingerprint = plan.snapshot.fingerprint
    preparing = partial(tell, "preparing the images")
    accepted = _Told(AcceptedImages(plan.to_train_on(), files), preparing)
    reduction = CloseUps(recipe.max_side, len(accepted))
    data = FineTuneData(
        accepted=_with_objects(
            decoded(accepted, folder / "decoded", fingerprint, reduction), recipe.max_side
        ),
        examples=AcceptedImages(plan.snapshot.on_side(TRAINING), files),
        replay=retention.replay(),
        validation=_validation(plan.snapshot.on_side(VALIDATION), files),
    )
    first = base_of(stores.versions, plan.start)
    start, base = (stores.versions.checkpoint(number) for number in (plan.start, first))
    origin = {"parent": plan.start, "data_fingerprint": fingerprint}
    fine_tune(start, base, data, recipe, folder, tell, **origin)
    torch.cuda.empty_cache()  # of no use any more, and people who click may need it
    write_atomically(_seal(candidate), _hashes(candidate).encode())
    return candidate


class _Told:
    """Says which image is read next; that may raise to stop, or wait for people who click."""

    def __init__(self, images: TrainingDataset, tell: Callable[[int, int], None]) -> None:
        self._images = images
        self._tell = tell

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> AnnotatedImage:
        self._tell(index, len(self))
        return self._images[index]


def _with_objects(images: TrainingDataset, max_side: int) -> TrainingDataset:
    """Leave out the images whose objects vanished when they were shrunk: they show nothing."""
    usable = [index for index in range(len(images)) if images[index].objects]
    if not usable:
        raise DatasetError(
            f"every accepted object to train on vanishes where images are shrunk to {max_side} "
            "pixels: accept larger ones, or raise max_side in the recipe of the fine-tuning"
        )
    return Subset(images, usable)


def _validation(snapshot: Snapshot, files: SampleFiles) -> AcceptedObjects | None:
    if not can_validate(len(snapshot.samples), len(snapshot.images())):
        return None
    return AcceptedObjects(snapshot, files)


def _seal(candidate: Path) -> Path:
    return candidate.with_suffix(".sha256")


def _hashes(candidate: Path) -> str:
    files = (candidate, candidate.with_suffix(".json"))
    return "\n".join(file_sha256(file) for file in files)


def _check_untouched(candidate: Path) -> None:
    try:
        untouched = _hashes(candidate) == _seal(candidate).read_text()
    except OSError:
        untouched = False
    if not untouched:
        raise VersionError(f"{candidate} was damaged after it was trained: it is not published")


def _conclude(project: str, version: VersionRow, versions: ModelVersions, tell: Tell) -> Outcome:
    """Move the live pointer if the gate says so and the version proves that it can serve."""
    tell("deciding", 1, 1)
    reasons = "; ".join(version.reasons)
    if version.verdict == "keep":
        return Outcome("not better", reasons, version.number)
    check_serves(versions.checkpoint(version.number))
    if version.verdict == "ask":
        return Outcome("asked", reasons, version.number)
    compared_with = version.scores["compared_with"]
    tell("going live", 1, 1)
    if versions.promote_if_live(project, version.number, compared_with, Mover(GATE, reasons)):
        return Outcome("promoted", reasons, version.number)
    return Outcome(
        "asked",
        f"{reasons}; but version {compared_with}, which it was compared with, was meanwhile kept "
        "or pinned by a person, or is no longer live: it does not go live by itself",
        version.number,
    )
