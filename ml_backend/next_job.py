"""When a project's next fine-tuning job is due, for the worker; and in words, for the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from croniter import croniter

from ml_backend.fine_tune_jobs import JobRow
from ml_backend.learning import Learning
from ml_backend.settings import Settings
from training.database import Database
from training.moments import now
from training.sample_overview import NewSamples, new_samples

AGAIN = "the job before it failed"  # a reason that nobody but the worker gives
_LONGEST_SITTING = timedelta(days=1)
_FIRST_PAUSE = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(days=1)
_LONGEST_TRYING = timedelta(days=3)  # a weekend without the disk or the store is no reason yet


@dataclass(frozen=True)
class _Outlook:
    """What decides when the next job starts.

    Attributes:
        failed: the job that failed last, if the newest one did.
        again_at: when that is tried again; None where nothing failed, or for too long.
        new: what no job has learned; those that failed have learned nothing.
        is_news: whether any of that came after the newest job began, or that one did not fail.
    """

    failed: JobRow | None
    again_at: datetime | None
    new: NewSamples
    is_news: bool


def reason_to_train(learning: Learning, project: str) -> str:
    """Return why another job of a project is due, "" if none is; `project` is a key."""
    settings, jobs = learning.settings, learning.jobs.of_project(project)
    seen = _look(learning.stores.database, project, jobs)
    if seen.again_at is not None and now() < seen.again_at:
        return ""
    quiet, enough = _is_quiet(seen.new, settings), settings.fine_tune_after
    if seen.is_news and quiet and enough and seen.new.count >= enough:
        return f"{seen.new.count} new samples"
    schedule, database = settings.fine_tune_schedule, learning.stores.database
    if seen.is_news and schedule and _is_turn(schedule, database, project, jobs):
        return f"scheduled ({schedule})"
    # Whoever asked for it may have accepted nothing new: then there is nobody to wait for.
    return AGAIN if seen.again_at is not None and (quiet or not seen.new.count) else ""


def next_job(learning: Learning, project: str) -> str | None:
    """Return what has to happen before another job of a project starts.

    Args:
        learning: the stores, and the settings, which say when jobs start.
        project: its key.

    Returns:
        A sentence without its full stop; None where a job waits already.
    """
    settings, jobs = learning.settings, learning.jobs.of_project(project)
    if jobs and jobs[0].state == "waiting":
        return None
    seen = _look(learning.stores.database, project, jobs)
    if seen.failed is not None and seen.again_at is not None:
        return (
            f"What job {seen.failed.id} was to learn is tried again after "
            f"{seen.again_at:%Y-%m-%d %H:%M} UTC, once annotators are quiet, and ever more rarely "
            f"for {_LONGEST_TRYING.days} days in all; to end that, cancel the next job"
        )
    given_up = seen.failed and f"Job {seen.failed.id} failed and is not tried again by itself. "
    ways = filter(None, (_by_number(settings, seen), _by_clock(settings)))
    return (
        f"{given_up or ''}New masks: {seen.new.count}; "
        f"the next job starts {' or '.join(ways) or 'when somebody asks for one'}"
    )


def _look(database: Database, project: str, jobs: Sequence[JobRow]) -> _Outlook:
    failed = _failed_in_a_row(jobs)
    new = _new_since(database, project, jobs[len(failed) :])
    is_news = not failed or (new.newest is not None and new.newest > _began_at(failed[0]))
    return _Outlook(failed[0] if failed else None, _again_at(failed), new, is_news)


def _failed_in_a_row(jobs: Sequence[JobRow]) -> list[JobRow]:
    return list(takewhile(lambda job: job.state == "failed", jobs))


def _again_at(failed: Sequence[JobRow]) -> datetime | None:
    """Return when these jobs, which failed one after the other, are followed by another try."""
    if not failed:
        return None
    tries = list(takewhile(lambda job: job.reasons == [AGAIN], failed))
    first = failed[min(len(tries), len(failed) - 1)]
    pause = min(_FIRST_PAUSE * 2 ** min(len(failed) - 1, 10), _LONGEST_PAUSE)
    again_at = _ended_at(failed[0]) + pause
    return again_at if max(again_at, now()) < _ended_at(first) + _LONGEST_TRYING else None


def _began_at(job: JobRow) -> datetime:
    return job.started_at or job.requested_at


def _ended_at(job: JobRow) -> datetime:
    return job.finished_at or now()


def _new_since(database: Database, project: str, jobs: Sequence[JobRow]) -> NewSamples:
    """Return what the newest of these jobs did not know: it knows what was accepted before."""
    return new_samples(database, project, _began_at(jobs[0]) if jobs else None)


def _is_quiet(new: NewSamples, settings: Settings) -> bool:
    """Say whether annotators are done for now, or have been at it for so long as not to wait."""
    if new.newest is None or new.oldest is None:
        return False
    quiet = timedelta(minutes=settings.fine_tune_quiet_minutes)
    # The newest lies ahead where the clock was set back since.
    return not timedelta(0) <= now() - new.newest < quiet or now() - new.oldest >= _LONGEST_SITTING


def _is_turn(schedule: str, database: Database, project: str, jobs: Sequence[JobRow]) -> bool:
    """Say whether the clock has struck since there was something to learn.

    What a job was to learn that failed or was cancelled is learned at the clock's next turn.
    """
    in_vain = list(takewhile(lambda job: job.state in ("cancelled", "failed"), jobs))
    new = _new_since(database, project, jobs[len(in_vain) :])
    if new.oldest is None:
        return False
    since = max([new.oldest, *(_ended_at(job) for job in in_vain[:1])])
    turn: datetime = croniter(schedule, now()).get_prev(datetime)
    return turn > since


def _by_number(settings: Settings, seen: _Outlook) -> str:
    if not settings.fine_tune_after:
        return ""
    missing = max(settings.fine_tune_after - seen.new.count, 0 if seen.is_news else 1)
    if missing:
        return f"after {missing} more"
    if not _is_quiet(seen.new, settings):
        return f"once nothing has been accepted for {settings.fine_tune_quiet_minutes:g} min"
    return "within a minute, if the worker runs"


def _by_clock(settings: Settings) -> str:
    if not settings.fine_tune_schedule:
        return ""
    turn = croniter(settings.fine_tune_schedule, now()).get_next(datetime)
    return f"at {turn:%Y-%m-%d %H:%M} UTC, if anything is new"
