"""What a project's next fine-tuning job waits for, in words; the worker decides, in `worker`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from croniter import croniter

from ml_backend.fine_tune_jobs import JobRow
from ml_backend.settings import Settings
from training.database import Database, now
from training.sample_overview import NewSamples, new_samples


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
    since = (newest.started_at or newest.requested_at) if newest else None
    new = new_samples(database, project, since)
    ways = filter(None, (_by_number(settings, new), _by_clock(settings)))
    return (
        f"New masks: {new.count}; "
        f"the next job starts {' or '.join(ways) or 'when somebody asks for one'}"
    )


def _by_number(settings: Settings, new: NewSamples) -> str:
    enough, minutes = settings.fine_tune_after, settings.fine_tune_quiet_minutes
    if not enough:
        return ""
    if new.newest is None or new.count < enough:
        return f"after {enough - new.count} more"
    if now() - new.newest < timedelta(minutes=minutes):
        return f"once nothing has been accepted for {minutes:g} min"
    return "within a minute, if the worker runs"


def _by_clock(settings: Settings) -> str:
    if not settings.fine_tune_schedule:
        return ""
    turn = croniter(settings.fine_tune_schedule, now()).get_next(datetime)
    return f"at {turn:%Y-%m-%d %H:%M} UTC, if anything is new"
