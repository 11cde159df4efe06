"""Moments are aware and in UTC, however they are written."""

from datetime import timedelta

import pytest

from training.moments import moment_of, now


def test_now_is_aware_and_in_utc():
    assert now().utcoffset() == timedelta(0)


@pytest.mark.parametrize("written", ["2026-01-01T03:00:00Z", "2026-01-01T12:00:00+09:00"])
def test_a_moment_is_read_in_utc(written):
    moment = moment_of(written)
    assert moment.isoformat() == "2026-01-01T03:00:00+00:00"
