"""Progress bars where nobody watches."""

import sys

import pytest

from training.progress import progress


@pytest.mark.parametrize(("watched", "seconds"), [(True, 0.1), (False, 30.0)])
def test_a_log_is_told_every_half_minute(monkeypatch, watched, seconds):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    with progress(total=3, unit="image") as bar:
        assert bar.mininterval == seconds
        assert bar.maxinterval > bar.mininterval


def test_it_hands_out_what_it_goes_through(capsys):
    assert list(progress(range(1000), desc="decoding")) == list(range(1000))
    assert capsys.readouterr().err.count("decoding") == 2  # the first state and the last
