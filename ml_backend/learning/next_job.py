"""When a project's next fine-tuning job is due, for the worker and those who ask; and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from croniter import croniter

from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.settings import Settings
from training.moments import latest_past, now
from training.store.database import Database
from training.store.sample_overview import NewSamples, has_changed, new_samples
from training.written_numbers import counted

AGAIN = "the job before it failed"  # a reason that nobody but the worker gives
_LONGEST_SITTING = timedelta(days=1)
_FIRST_PAUSE = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(days=1)
_MOST_TRIES = 6  # take two days and more: the disk may be full for a weekend


@dataclass(frozen=True)
class _Outlook:
    """What decides when the next job starts.

    Attributes:
        failed: the job that failed last, if the newest one did.
        again_at: when that is tried again; None where nothing failed, or too often.
        new: what no job has learned; those that failed have learned nothing.
        untried: that without what the newest job began with, if it failed.
        waits_since: since when something waits for the schedule's next time; None if nothing does.
        cancelled: the newest job, if it was cancelled and what it was to learn waits.
    """

    failed: JobRow | None
    again_at: datetime | None
    new: NewSamples
    untried: NewSamples
    waits_since: datetime | None
    cancelled: JobRow | None


@dataclass(frozen=True)
class Prospect:
    """What is to be said of a project's next job.

    Attributes:
        next_job: what has to happen before it starts, a sentence without its full stop; None where
            one waits already.
        new_samples: how many no job has learned; None where one waits already.
    """

    next_job: str | None
    new_samples: int | None


def reason_to_train(learning: Learning, project: str) -> str:
    """Return why another job of a project is due, "" if none is; `project` is a key."""
    settings, jobs = learning.settings, learning.jobs.of_project(project)
    seen = _look(learning.stores.database, project, jobs)
    if seen.again_at is not None and now() < seen.again_at:
        return ""
    quiet, enough = _is_quiet(seen.new, settings), settings.fine_tune_after
    if seen.untried.count and quiet and enough and seen.new.count >= enough:
        return counted(seen.new.count, "new sample")
    schedule, since = settings.fine_tune_schedule, seen.waits_since
    if schedule and since is not None and croniter(schedule, now()).get_prev(datetime) > since:
        return f"scheduled ({schedule})"
    # Whoever asked for it may have accepted nothing new: then there is nobody to wait for.
    return AGAIN if seen.again_at is not None and (quiet or not seen.new.count) else ""


def ask_for_job(learning: Learning, project: str, reason: str) -> int:
    """Ask for a job, as people do, who may press twice, or two of them at a time.

    Args:
        learning: the stores.
        project: its key.
        reason: why, or who asks.

    Returns:
        The number of the job: of the one that runs if it knows all that there is to learn, else of
        one that waits.
    """
    for job in learning.jobs.of_project(project):
        if job.state == "running" and not job.cancel and _knows_all(learning, job):
            return job.id
    return learning.jobs.request(project, reason)


def next_job(learning: Learning, project: str) -> Prospect:
    """Return when another job of a project starts; `project` is its key."""
    settings, jobs = learning.settings, learning.jobs.of_project(project)
    if jobs and jobs[0].state == "waiting":
        return Prospect(None, None)
    seen = _look(learning.stores.database, project, jobs)
    return Prospect(_what_has_to_happen(settings, seen), seen.new.count)


def _what_has_to_happen(settings: Settings, seen: _Outlook) -> str:
    if seen.failed is not None and seen.again_at is not None:
        until = " until the schedule's next time" if settings.fine_tune_schedule else ""
        return (
            f"What job {seen.failed.id} was to learn is tried again after "
            f"{seen.again_at:%Y-%m-%d %H:%M} UTC, once annotators are quiet, and ever more rarely, "
            f"{_MOST_TRIES} times in all; to end that{until}, cancel the next job"
        )
    given_up = seen.failed and f"Job {seen.failed.id} failed and is not tried again by itself. "
    ways = filter(None, (_by_number(settings, seen), _by_clock(settings, seen)))
    return (
        f"{given_up or ''}New masks: {seen.new.count}; "
        f"the next job starts {' or '.join(ways) or 'when somebody asks for one'}"
    )


def _look(database: Database, project: str, jobs: Sequence[JobRow]) -> _Outlook:
    failed = list(takewhile(lambda job: job.state == "failed", jobs))
    new = _new_since(database, project, jobs[len(failed) :])
    untried = _new_since(database, project, failed) if failed else new
    waits_since, cancelled = untried.oldest, None
    if jobs and jobs[0].state == "cancelled":
        waits_since, cancelled = _left_by_cancelling(database, project, jobs)
    return _Outlook(
        failed=failed[0] if failed else None,
        again_at=_again_at(failed),
        new=new,
        untried=untried,
        waits_since=waits_since,
        cancelled=cancelled,
    )


def _again_at(failed: Sequence[JobRow]) -> datetime | None:
    """Return when these jobs, which failed one after the other, are followed by another try."""
    if not failed:
        return None
    ended = failed[0].finished_at
    if ended is None or ended > now():
        return now()  # The clock was set back since: who knows how long ago that was.
    tries = list(takewhile(lambda job: job.reasons == [AGAIN], failed))
    pause = min(_FIRST_PAUSE * 2 ** min(len(failed) - 1, 10), _LONGEST_PAUSE)
    return ended + pause if len(tries) < _MOST_TRIES else None


def _began_at(job: JobRow) -> datetime | None:
    """Return when a job began; None where the clock was set back since: who knows when that was."""
    return _if_past(job.started_at or job.requested_at)


def _knows_all(learning: Learning, job: JobRow) -> bool:
    """Say whether nothing was accepted or withdrawn since a job began, or is about to be."""
    began = _began_at(job)
    return (
        began is not None
        and not has_changed(learning.stores.database, job.project, began)
        and not learning.inbox.has_annotations(job.project)
    )


def _if_past(moment: datetime | None) -> datetime | None:
    return moment if moment is not None and moment <= latest_past() else None


def _new_since(database: Database, project: str, jobs: Sequence[JobRow]) -> NewSamples:
    """Return what the newest of these jobs did not know: it knows what was accepted before."""
    return new_samples(database, project, _began_at(jobs[0]) if jobs else None)


def _is_quiet(new: NewSamples, settings: Settings) -> bool:
    """Say whether annotators are done for now, or have been at it for so long as not to wait."""
    if new.newest is None or new.oldest is None:
        return False
    quiet = timedelta(minutes=settings.fine_tune_quiet_minutes)
    return now() - new.newest >= quiet or now() - new.oldest >= _LONGEST_SITTING


def _left_by_cancelling(
    database: Database, project: str, jobs: Sequence[JobRow]
) -> tuple[datetime | None, JobRow | None]:
    """Return since when something waits, and the newest job, which was cancelled, if it knew it.

    What a job was to learn that was cancelled waits since then.
    """
    cancelled = jobs[0]
    in_vain = list(takewhile(lambda job: job.state in ("cancelled", "failed"), jobs))
    oldest = _new_since(database, project, jobs[len(in_vain) :]).oldest
    if oldest is None:
        return None, None
    began = _began_at(cancelled)
    knew = began is not None and oldest <= began
    return max(oldest, _if_past(cancelled.finished_at) or oldest), cancelled if knew else None


def _by_number(settings: Settings, seen: _Outlook) -> str:
    if not settings.fine_tune_after:
        return ""
    missing = max(settings.fine_tune_after - seen.new.count, 0 if seen.untried.count else 1)
    if missing:
        return f"after {missing} more"
    if not _is_quiet(seen.new, settings):
        return f"once nothing has been accepted for {settings.fine_tune_quiet_minutes:g} min"
    return "within a minute, if the worker runs"


def _by_clock(settings: Settings, seen: _Outlook) -> str:
    if not settings.fine_tune_schedule:
        return ""
    turn = croniter(settings.fine_tune_schedule, now()).get_next(datetime)
    if seen.cancelled is not None:
        condition = f"with what job {seen.cancelled.id} was to learn"
    elif seen.failed is not None and not seen.untried.count:
        condition = "if a newer mask has come by then"
    else:
        condition = "if anything is new"
    return f"at {turn:%Y-%m-%d %H:%M} UTC, {condition}"
