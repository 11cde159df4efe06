"""Moments are aware datetimes in UTC."""

from datetime import UTC, datetime, timedelta

# The clocks of several machines differ by seconds.
_CLOCKS_DIFFER = timedelta(minutes=1)


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def latest_past() -> datetime:
    """Return the latest moment that may be past: what lies after it was noted by a wrong clock."""
    return now() + _CLOCKS_DIFFER


def moment_of(text: str) -> datetime:
    """Return the moment that an ISO text such as 2026-11-22T06:06:00.942531Z means, in UTC.

    Raises:
        ValueError: if it means none.
        OverflowError: if it lies outside the years that are counted.
    """
    return datetime.fromisoformat(text).astimezone(UTC)
