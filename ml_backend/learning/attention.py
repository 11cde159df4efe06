"""What waits for a person, and whether a worker is there, for pages, REST and Prometheus."""

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import datetime

from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.next_job import reason_to_train
from ml_backend.learning.sign_of_life import is_here, missing_worker
from training.errors import DatabaseError

_PATIENCE_SECONDS = 2.0


@dataclass
class Need:
    """What a project needs a person for.

    Attributes:
        versions: those that wait for a decision, newest first.
        failed_job: the job that ended last, if it failed and no other waits or runs.
        failure: why it did.
        gone: whether Label Studio has the project no more, and what is kept of it is to be deleted.
    """

    versions: list[int] = field(default_factory=list)
    failed_job: int | None = None
    failure: str = ""
    gone: bool = False


@dataclass(frozen=True)
class Attention:
    """What there was to see at one look.

    Attributes:
        needs: of each project that has any, by its key.
        jobs: how many there are of the states "waiting" and "running".
        worker_seen_at: when a worker was last here, None if none ever was.
        worker_problem: a sentence where one is missing for which something waits.
    """

    needs: dict[str, Need]
    jobs: Counter[str]
    worker_seen_at: datetime | None
    worker_problem: str


def look(learning: Learning) -> Attention:
    """Look what waits; a few short queries, however much was ever learned.

    While no worker is here and nothing else waits, each project takes a few more: may it train?
    """
    needs = defaultdict[str, Need](Need)
    waiting = learning.stores.versions.open_decisions().waiting
    for number, project in sorted(waiting.items(), reverse=True):
        needs[project].versions.append(number)
    for job in learning.jobs.failed_last():
        needs[job.project].failed_job, needs[job.project].failure = job.id, job.message
    for key in learning.projects.gone():
        needs[key].gone = True
    jobs = learning.jobs.unfinished()
    seen_at = learning.sign_of_life.seen_at()
    # In this order: while a worker is here nobody need ask the database what there is for one.
    is_missed = not is_here(seen_at) and _something_waits(learning, jobs)
    problem = missing_worker(seen_at) if is_missed else ""
    return Attention(dict(needs), Counter(job.state for job in jobs), seen_at, problem)


def _something_waits(learning: Learning, jobs: Sequence[JobRow]) -> bool:
    """Return whether a worker has anything to do but its rounds, which a retired one leaves off."""
    return (
        any(job.state == "waiting" or job.is_silent for job in jobs)
        or learning.inbox.has_waiting()
        or learning.projects.is_reconcile_asked_for()
        or any(reason_to_train(learning, project.key) for project in learning.projects.all())
    )


class Lookout:
    """Looks for those who must not be kept by a database that hangs; thread-safe."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self._looking = threading.Lock()

    def look(self) -> Attention:
        """Look what waits, in a thread that the database may keep, one after the other.

        Raises:
            DatabaseError: if the database is away or hangs.
        """
        if self._looking.acquire(timeout=_PATIENCE_SECONDS):
            seen = Future[Attention]()
            threading.Thread(target=self._deliver, args=(seen,), daemon=True).start()
            with contextlib.suppress(FutureTimeoutError):
                return seen.result(_PATIENCE_SECONDS)
        raise DatabaseError("the database does not answer: a look at what waits takes long")

    def _deliver(self, seen: "Future[Attention]") -> None:
        try:
            seen.set_result(look(self._learning))
        except Exception as error:
            seen.set_exception(error)
        finally:
            self._looking.release()
