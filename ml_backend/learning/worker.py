"""What the worker process does: ingest, decide when to fine-tune, watch over jobs, reconcile.

Everything it does may be done again, by it or by another worker, with the same result. So nothing
is lost when it is killed, and nobody has to clean up after it.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import NamedTuple

from ml_backend.errors import (
    BackendError,
    JobError,
    LabelStudioError,
    ProjectGoneError,
    unforeseen,
)
from ml_backend.images.task_images import TaskImages
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.labeling_config import ImageTag
from ml_backend.label_studio.protocol import Json
from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import JobRow, worker_name
from ml_backend.learning.ingest import Image, Ingest
from ml_backend.learning.job_process import STOP_SECONDS, how_it_ended, wait_for
from ml_backend.learning.newer_states import NewerStates
from ml_backend.learning.next_job import ask_for_job, next_job, reason_to_train
from ml_backend.learning.projects import ProjectRow
from ml_backend.learning.reconcile import reconcile
from ml_backend.settings import MEGABYTE, child_environment
from training.errors import DatabaseError, FileStoreError, TrainingError
from training.moments import now
from training.store.installation import require_own_files

logger = logging.getLogger(__name__)

# A worker sees an image once or twice in a round; before the next one it may be replaced.
_IMAGE_CACHE_MB = 64
_IMAGE_KEPT_SECONDS = 60.0
_RETRY_RECONCILE = timedelta(minutes=5)
LOOK_SECONDS = 10.0


class Reconciliation(NamedTuple):
    """What came of comparing a project with Label Studio.

    Attributes:
        sentence: what was found, or why it could not be compared.
        succeeded: whether it could.
    """

    sentence: str
    succeeded: bool


class _FailedComparison(NamedTuple):
    """A comparison that was tried.

    Attributes:
        asked_at: when somebody had asked for it, None if nobody had.
        again_at: until when (`monotonic`) it is not tried again, unless somebody asks once more.
    """

    asked_at: datetime | None
    again_at: float


class Worker:
    """The duties; each may be called from several threads."""

    def __init__(self, learning: Learning, stopping: threading.Event) -> None:
        """Bind the collaborators.

        Args:
            learning: the stores.
            stopping: set when the process is to end.
        """
        self._learning = learning
        self._stopping = stopping
        self._images = TaskImages(
            learning.settings.image_limits, _IMAGE_CACHE_MB * MEGABYTE, _IMAGE_KEPT_SECONDS
        )
        self._clients: dict[tuple[str, str], LabelStudio] = {}
        self._failed: dict[str, _FailedComparison] = {}  # the last try of a project
        self._running = ""  # what this worker is called while a job of it runs
        self._training = threading.Lock()
        self._ingesting = threading.Lock()
        self._news = threading.Event()
        self._reconciling = threading.Lock()
        self._ingest = Ingest(
            inbox=learning.inbox,
            newer=NewerStates(learning.inbox),
            projects=learning.projects,
            samples=learning.samples,
            fetch_image=self._fetch_image,
            request_training=partial(ask_for_job, learning),
        )

    def ingest(self) -> None:
        """Bring the sample store up to date with the inbox.

        One thread does it. Others tell it that there is news instead of waiting for it, which may
        take an hour where images are slow to come.
        """
        self._news.set()
        while self._news.is_set() and self._ingesting.acquire(blocking=False):
            try:
                self._news.clear()
                self._ingest.drain(self._stopping.is_set)
            finally:
                self._ingesting.release()

    def tick(self) -> None:
        """Do what is due: once a minute, and when the worker starts."""
        self._learning.sign_of_life.give()
        if self._learning.settings.files_url is None:  # another store may hang for minutes
            self._say_whose_files()
        self._recover_jobs()
        self._learning.samples.correct_moments()
        self._learning.jobs.correct_moments()
        self.ingest()
        self._learning.inbox.tidy()
        self._learning.stores.database.empty_log()
        for project in self._learning.projects.all():
            reason = reason_to_train(self._learning, project.key)
            if reason:
                self._learning.jobs.request(project.key, reason)
        self._learning.job_folders.tidy()

    def _say_whose_files(self) -> None:
        """Say that MODEL_DIR is not where it was: SQLite goes on in a folder that was moved."""
        stores = self._learning.stores
        try:
            require_own_files(stores.database, stores.files)
        except FileStoreError as error:
            logger.warning("%s", error)

    def reconcile_due(self) -> None:
        """Compare the projects with Label Studio whose turn it is."""
        if not self._reconciling.acquire(blocking=False):
            return
        try:
            for project in self._learning.projects.all():
                if self._is_reconcile_due(project) and not self._stopping.is_set():
                    found = self.reconcile(project)
                    logger.info("reconcile project=%s: %s", project.key, found.sentence)
        finally:
            self._reconciling.release()

    def reconcile(self, project: ProjectRow) -> Reconciliation:
        """Compare one project with Label Studio."""
        try:
            # What was noted while the clock was ahead would count as newer than what is listed.
            self._learning.samples.correct_moments()
            compared = reconcile(project, self._label_studio(project), self._ingest)
        except Exception as error:
            # Whatever it is, it must not hold up the other projects.
            is_ours = isinstance(error, (BackendError, TrainingError))
            if not is_ours:
                logger.exception("reconcile project=%s", project.key)
            problem = str(error) if is_ours else unforeseen(error)
            is_gone = isinstance(error, ProjectGoneError)
            self._learning.projects.not_reconciled(project, problem, is_gone)
            every = self._reconcile_every or _RETRY_RECONCILE
            pause = every if is_gone else min(every, _RETRY_RECONCILE)
            again_at = monotonic() + pause.total_seconds()
            self._failed[project.key] = _FailedComparison(project.reconcile_asked_at, again_at)
            found = Reconciliation(f"not compared: {problem}", succeeded=False)
        else:
            self._learning.projects.reconciled(project, compared.sentence, compared.state)
            found = Reconciliation(compared.sentence, succeeded=True)
        return found

    def train(self) -> None:
        """Do the jobs that wait, one after the other, unless another thread is at it."""
        if not self._training.acquire(blocking=False):
            return
        try:
            while not self._stopping.is_set() and self._run_next():
                pass
        finally:
            self._training.release()

    def look_for_jobs(self) -> None:
        """Do the jobs that wait, or whose worker died, again and again until the process is to end.

        A hint goes to one of several workers, which may be busy with another job.
        """
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._recover_jobs()
                self.train()
            except DatabaseError:
                pass  # the next tick says so
            except Exception:
                logger.exception("jobs that wait are looked for again soon")

    def wait_until_jobs_stop(self) -> None:
        """Wait until a running job has been given back; call it when the process is to end."""
        if self._training.acquire(timeout=2 * STOP_SECONDS):
            self._training.release()

    def _recover_jobs(self) -> None:
        for number in self._learning.jobs.recover(alive=self._running):
            self._tell(number)

    def _run_next(self) -> bool:
        """Run the job that waits longest in a process of its own; return whether there was one."""
        name = worker_name()
        job = self._learning.jobs.claim(name)
        if job is None:
            return False
        logger.info("job=%d project=%s running: %s", job.id, job.project, "; ".join(job.reasons))
        try:
            process = self._start(job, name)
        except OSError as error:
            with contextlib.suppress(JobError):  # its project was forgotten meanwhile
                problem = f"its process cannot be started: {error}"
                self._learning.jobs.fail(job.id, name, problem)
        else:
            self._running = name
            keep_claim = partial(self._learning.jobs.keep_claim, job.id, name)
            wait_for(process, keep_claim, self._stopping)
            self._running = ""
            self._settle(job.id, name, how_it_ended(process.returncode))
        self._tell(job.id)
        return True

    def _start(self, job: JobRow, name: str) -> "subprocess.Popen[bytes]":
        self._learning.job_folders.make(job)
        arguments = (str(job.id), name, str(os.getpid()))
        with self._learning.job_folders.log(job).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "ml_backend", "run-job", *arguments],
                stdout=output,
                stderr=output,
                env=child_environment({}),
                start_new_session=True,  # the job lowers the priority of its session
            )

    def _settle(self, job: int, name: str, ended: str) -> None:
        """Say what became of a job whose process ended: one that ended itself has said so.

        One that crashed, or was stopped before it could say anything, still looks as if it ran.
        """
        if self._stopping.is_set():
            with contextlib.suppress(JobError):
                self._learning.jobs.release(job, name)
            return
        if ended:
            logger.warning("job=%d: its process %s", job, ended)
        self._learning.jobs.recover(name, f"its process {ended}" if ended else "")

    def _tell(self, number: int) -> None:
        """Log how a job ended, or that it waits to be continued."""
        try:
            job = self._learning.jobs.get(number)
        except JobError as error:  # its project was forgotten meanwhile
            logger.info("%s", error)
            return
        if job.state == "running":  # whoever took it up meanwhile says so
            return
        level = logging.WARNING if job.state == "failed" else logging.INFO
        said = {"waiting": "to be continued", "finished": f"{job.result}, {job.message}"}
        sentence = said.get(job.state, job.message)
        logger.log(level, "job=%d project=%s %s: %s", job.id, job.project, job.state, sentence)
        if job.state == "failed" and (then := next_job(self._learning, job.project).next_job):
            logger.warning("project=%s: %s", job.project, then)

    def _is_reconcile_due(self, project: ProjectRow) -> bool:
        asked, failed = project.reconcile_asked_at, self._failed.get(project.key)
        if failed is not None and monotonic() < failed.again_at:
            # Whoever asked after the try that failed need not wait.
            return asked is not None and asked != failed.asked_at
        last, every = project.reconciled_at, self._reconcile_every
        # After the clock was set back, the last time may lie ahead.
        is_turn = last is None or not timedelta(0) <= now() - last < every
        # One that failed need not have failed here: a worker before this one, or a command.
        has_failed = bool(project.reconcile_problem)
        return asked is not None or (bool(every) and (is_turn or has_failed))

    @property
    def _reconcile_every(self) -> timedelta:
        return timedelta(minutes=self._learning.settings.reconcile_minutes)

    def _fetch_image(
        self, project: ProjectRow, task: Json, tag: ImageTag, painted_hw: tuple[int, int]
    ) -> Image:
        label_studio = self._label_studio(project)
        return self._images.load(task, tag, label_studio, painted_hw=painted_hw).pixels

    def _label_studio(self, project: ProjectRow) -> LabelStudio:
        """Return the project's Label Studio; the environment decides where it says something.

        Raises:
            LabelStudioError: if nobody said where it is.
        """
        settings = self._learning.settings
        address = settings.label_studio_url or project.hostname
        if not address:
            raise LabelStudioError(
                "Label Studio did not say where it is: set LABEL_STUDIO_URL, or open the project "
                "once so that it connects"
            )
        key = (address, settings.api_key or "")
        if key not in self._clients:
            self._clients[key] = LabelStudio(*key)
        return self._clients[key]
