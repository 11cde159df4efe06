"""What a project's next fine-tuning job waits for, which the worker obeys; in words, too."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from croniter import croniter

from ml_backend.fine_tune_jobs import JobRow
from ml_backend.settings import Settings
from training.database import Database
from training.moments import now
from training.sample_overview import NewSamples, new_samples

_LONGEST_SITTING = timedelta(days=1)


def new_since(database: Database, project: str, jobs: Sequence[JobRow]) -> NewSamples:
    """Return what the newest of these jobs did not know: it knows what was accepted before."""
    since = (jobs[0].started_at or jobs[0].requested_at) if jobs else None
    return new_samples(database, project, since)


def is_quiet(new: NewSamples, quiet: timedelta) -> bool:
    """Say whether annotators are done for now, or have been at it for so long as not to wait."""
    if new.newest is None or new.oldest is None:
        return False
    # The newest lies ahead where the clock was set back since.
    return not timedelta(0) <= now() - new.newest < quiet or now() - new.oldest >= _LONGEST_SITTING


def next_job(
    database: Database, settings: Settings, project: str, jobs: Sequence[JobRow]
) -> str | None:
    """Return what has to happen before another job of a project starts.

    Args:
        database: where the samples are.
        settings: which say when jobs start.
        project: its key.
        jobs: of the project, newest first.

    Returns:
        A sentence without its full stop; None where a job waits already.
    """
    newest = jobs[0] if jobs else None
    if newest is not None and newest.state == "waiting":
        return None
    if newest is not None and newest.state == "failed":
        return "What the failed job was to learn is tried again, after an hour and ever more rarely"
    new = new_since(database, project, jobs)
    ways = filter(None, (_by_number(settings, new), _by_clock(settings)))
    return (
        f"New masks: {new.count}; "
        f"the next job starts {' or '.join(ways) or 'when somebody asks for one'}"
    )


def _by_number(settings: Settings, new: NewSamples) -> str:
    enough, minutes = settings.fine_tune_after, settings.fine_tune_quiet_minutes
    if not enough:
        return ""
    if new.count < enough:
        return f"after {enough - new.count} more"
    if not is_quiet(new, timedelta(minutes=minutes)):
        return f"once nothing has been accepted for {minutes:g} min"
    return "within a minute, if the worker runs"


def _by_clock(settings: Settings) -> str:
    if not settings.fine_tune_schedule:
        return ""
    turn = croniter(settings.fine_tune_schedule, now()).get_next(datetime)
    return f"at {turn:%Y-%m-%d %H:%M} UTC, if anything is new"
