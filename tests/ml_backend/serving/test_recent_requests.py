"""What the page remembers of requests: the last ones, and of failures each once."""

import pytest

from ml_backend.serving.recent_requests import KEPT, LONGEST_OUTCOME, RecentRequests


def test_only_the_last_requests_and_failures_are_kept():
    recent = RecentRequests()
    for number in range(KEPT + 1):
        recent.add("click", "no image", task=str(number), failed=True)
    for kept in (recent.newest_first(), recent.failures()):
        assert [one.task for one in kept] == [str(number) for number in range(KEPT, 0, -1)]


@pytest.mark.parametrize(
    "other",
    [
        {"project": "3", "task": "9"},
        {"project": "2", "task": "10"},
    ],
    ids=["project", "task"],
)
def test_the_same_failure_elsewhere_does_not_take_its_place(other):
    recent = RecentRequests()
    recent.add("click", "no image", project="2", task="9", failed=True)
    recent.add("click", "no image", **other, failed=True)
    assert len(recent.failures()) == len(recent.newest_first()) == 2


def test_of_a_long_outcome_only_the_beginning_is_kept():
    recent = RecentRequests()
    recent.add("click", "x" * LONGEST_OUTCOME, failed=True)
    recent.add("click", "y" * 1_000_000, failed=True)
    long, short = recent.failures()
    assert short.outcome == "x" * LONGEST_OUTCOME
    assert long.outcome == "y" * (LONGEST_OUTCOME - 1) + "…"
