"""Runs one fine-tuning job, in a process of its own so that clicks always come first.

The process has the lowest priority and half the usable cores, holds still between two steps while
people click, gives all its memory back when it ends, and takes nothing along when it crashes. It
renews its claim from a thread of its own, because a single step of a large network may take
minutes.
"""

import errno
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep, time
from types import FrameType

import torch

from icmformer.devices import is_out_of_host_memory, is_out_of_memory
from icmformer.errors import ICMFormerError
from ml_backend.errors import BackendError, JobError
from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import LEASE, Beat, JobRow
from ml_backend.serving.click_mark import ClickMark
from ml_backend.serving.loaded_model import choose_device
from ml_backend.settings import Settings
from training.errors import DatabaseError, TrainingError
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe
from training.fine_tuning.improvement import Outcome, improve
from training.fine_tuning.improvement_plan import Assignment, ImprovementOptions
from training.fine_tuning.promotion import Policy
from training.fine_tuning.retention import PACKAGED
from training.processor_cores import usable_cores
from training.progress import Stage

logger = logging.getLogger(__name__)

LOWEST_PRIORITY = 19
BEAT_SECONDS = LEASE.total_seconds() / 6
TELL_SECONDS = 30.0
# How long a job waits before it goes on where it was, as often as its database is away.
OUTAGE_SECONDS = (5, 15, 40, 60, 120)
_KEPT = (".json", ".pt", ".safetensors", ".sha256")
_NO_HOST_MEMORY = (
    "this machine has too little memory: keep other programs off it, or choose a smaller "
    "batch_size or size in ICMFORMER_FINE_TUNE_RECIPE"
)
_NO_MEMORY = (
    "the GPU has too little memory: keep other programs off it, choose a smaller batch_size or "
    "size in ICMFORMER_FINE_TUNE_RECIPE, or another ICMFORMER_DEVICE for the worker"
)
_NO_DISK = (
    "the disk of MODEL_DIR is full: free some GB, and ask for a job again or wait until it is "
    "tried again"
)


class StopJob(Exception):
    """The job is to be given back, or somebody cancelled it."""


def run_job(learning: Learning, job: JobRow, watched_by: int | None = None) -> None:
    """Do a job that was claimed for this process; whatever happens, its row says so.

    Args:
        learning: the stores.
        job: what to do.
        watched_by: the process that started this one; the job is given back when that is gone.
    """
    _make_way_for_clicks(learning.settings.fine_tune_threads)
    logger.info("job %d of project %s: %s", job.id, job.project, "; ".join(job.reasons))
    try:
        with Heart(learning, job, watched_by) as heart:
            outcome = _improve_through_outages(learning, job, heart)
    except StopJob:
        logger.info("job %d stops", job.id)
        _note(partial(learning.jobs.release, job.id, job.worker))
    except (BackendError, TrainingError, ICMFormerError) as error:
        logger.error("job %d failed: %s", job.id, error)
        _note(partial(learning.jobs.fail, job.id, job.worker, str(error)))
    except Exception as error:
        # Out of memory, a full disk, a mistake of ours: the row must not look as if it ran.
        problem = _problem(error)
        logger.error("job %d failed: %s", job.id, problem, exc_info=problem != _NO_DISK)
        _note(partial(learning.jobs.fail, job.id, job.worker, problem))
    else:
        logger.info("job %d: %s: %s", job.id, outcome.result, outcome.sentence)
        ended = (outcome.result, outcome.sentence, outcome.version)
        _note(partial(learning.jobs.finish, job.id, job.worker, *ended))


def _problem(error: Exception) -> str:
    if is_out_of_host_memory(error):
        return _NO_HOST_MEMORY
    if is_out_of_memory(error):
        return _NO_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _NO_DISK
    if isinstance(error, torch.AcceleratorError):
        reason = str(error).partition("\n")[0]
        return f"the GPU failed ({reason}): if it does so again, look at its driver"
    return f"{type(error).__name__}: {error}"


def improvement_options(settings: Settings) -> ImprovementOptions:
    """Return how jobs improve, as the settings say.

    Raises:
        RecipeError: if the recipe of the settings does not work.
    """
    overrides = [] if settings.device == "auto" else [f"device={settings.device}"]
    return ImprovementOptions(
        recipe=load_fine_tune_recipe(settings.fine_tune_recipe, overrides),
        policy=Policy(
            threshold=settings.gate_iou,
            max_retention_loss=settings.gate_max_retention_loss,
            min_objects=settings.gate_min_objects,
            min_images=settings.gate_min_images,
        ),
        start=settings.fine_tune_start,
        retention=settings.retention_set or PACKAGED,
    )


def _note(ending: Callable[[], None]) -> None:
    try:
        ending()
    except JobError as error:
        # Another worker has it: this one was silent for so long that it was taken for dead.
        logger.warning("%s", error)


def _improve_through_outages(learning: Learning, job: JobRow, heart: "Heart") -> Outcome:
    for seconds in OUTAGE_SECONDS:
        try:
            return _improve(learning, job, heart)
        except DatabaseError as error:
            logger.warning("job %d goes on where it was in %d s: %s", job.id, seconds, error)
        heart.rest(seconds)
    return _improve(learning, job, heart)


def _improve(learning: Learning, job: JobRow, heart: "Heart") -> Outcome:
    folders = (learning.job_folders.make(job), learning.settings.state_folder.scores)
    assignment = Assignment(job.project, f"job {job.id}", *folders)
    options = improvement_options(learning.settings)
    if options.recipe.device == "auto" and (no_gpu := choose_device("auto")[1]):
        logger.warning(
            "job %d: torch cannot use the GPU of this machine, so it trains on the CPU: %s",
            job.id,
            no_gpu,
        )
    return improve(assignment, learning.stores, options, heart.tell)


def _make_way_for_clicks(threads: int) -> None:
    os.nice(LOWEST_PRIORITY)
    torch.set_num_threads(threads or max(1, usable_cores() // 2))


class Heart:
    """Tells the row how far the job is, and the job when to stop."""

    def __init__(self, learning: Learning, job: JobRow, watched_by: int | None) -> None:
        self._jobs = learning.jobs
        self._job = job
        self._watched_by = watched_by
        self._click_mark = ClickMark(learning.settings.state_folder.last_click)
        self._clock = StageClock()
        self._folder = learning.job_folders.make(job)
        self._begun_with = _kept(self._folder)
        self._beat = Beat("starting", 0, 0, None)
        self._told_at = 0.0
        self._unrenewed = ""  # why, if the claim could not be renewed when that was last tried
        self._stop = threading.Event()
        self._told_to_stop = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> "Heart":
        self._before = {
            s: signal.signal(s, self._asked_to_stop) for s in (signal.SIGTERM, signal.SIGINT)
        }
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def tell(self, stage: Stage, done: int, total: int) -> None:
        """Note the progress, let people click; raise StopJob when the job is to stop.

        A new stage is told to the row before it begins: the last one goes live, and whoever has
        cancelled the job by then does not expect that.
        """
        is_new = stage != self._beat.stage
        self._beat = Beat(stage, done, total, self._clock.seconds_left(stage, done, total))
        if is_new:
            self._renew()
        if self._stop.is_set():
            raise StopJob
        if is_new or monotonic() - self._told_at >= TELL_SECONDS:
            self._log()
        sleep(self._click_mark.seconds_to_wait(time()))

    def rest(self, seconds: int) -> None:
        """Wait; raise StopJob when the job is to stop meanwhile."""
        for _ in range(seconds):
            if self._stop.is_set():
                raise StopJob
            sleep(1)

    def _log(self) -> None:
        """Log how far the job is: whoever runs it in the foreground sees nothing else."""
        self._told_at = monotonic()
        left = self._beat.seconds_left
        estimate = "" if left is None else f", about {max(1, round(left / 60))} min left"
        progress = (self._beat.stage, self._beat.done, self._beat.total, estimate)
        logger.info("job %d: %s, %d of %d%s", self._job.id, *progress)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._watched_by not in (None, os.getppid()):
                # The worker was killed; the next one continues the job.
                self._stop.set()
            self._renew()
            self._ended.wait(BEAT_SECONDS)

    def _renew(self) -> None:
        try:
            got_further = bool(_kept(self._folder) - self._begun_with)
            beat = replace(self._beat, got_further=got_further)
            self._jobs.beat(self._job.id, self._job.worker, beat)
        except JobError as error:
            # The job goes on until it next tells how far it is, and is told the same at every beat.
            with self._told_to_stop:
                if not self._stop.is_set():
                    logger.info("%s", error)
                self._stop.set()
        except Exception as error:
            if self._unrenewed != repr(error):
                trace = None if isinstance(error, DatabaseError) else error
                logger.warning("the claim could not be renewed: %s", error, exc_info=trace)
            self._unrenewed = repr(error)
        else:
            self._unrenewed = ""


def _kept(folder: Path) -> set[str]:
    """Return the names of what a job would be continued from: plan, scores, states of the run.

    What it decodes is made anew by each attempt, and half a file is of no use to the next.
    """
    found = {path.name for path in folder.glob("*") if path.suffix in _KEPT}
    return {name for name in found if not name.startswith(".")}


class StageClock:
    """Estimates the time left from how long the stages took so far.

    A job that is continued may begin in the middle of one: what was done before took no time here.
    Judging the candidate takes as long as judging the live version did; training is known once it
    has begun.
    """

    def __init__(self) -> None:
        self._began: dict[Stage, tuple[float, int]] = {}
        self._judging: float | None = None

    def seconds_left(self, stage: Stage, done: int, total: int) -> float | None:
        """Return an estimate for the whole job, None while there is nothing to go by."""
        now = monotonic()
        began, done_before = self._began.setdefault(stage, (now, done))
        if done <= done_before or now == began:
            return None
        each = (now - began) / (done - done_before)
        left = each * (total - done)
        if stage == "judging the live version":
            self._judging = each * total
        if stage == "training":
            return left + (self._judging or 0.0)
        return left if stage == "judging the candidate" else None
