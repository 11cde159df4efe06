"""The last requests and what became of them, for the page and for nothing else.

Failures are remembered apart: with a few annotators, fifty requests are those of a minute.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

from ml_backend.short_text import shortened
from training.moments import now

KEPT = 50
LONGEST_OUTCOME = 500


@dataclass(frozen=True)
class RecentRequest:
    """One line of the page.

    Attributes:
        at: when it was answered, UTC.
        kind: setup, click, batch, predict or webhook.
        project: number of the project, as text.
        task: number of the task, as text; empty where there is none.
        outcome: what was answered, or the sentence that says why nothing was, shortened.
        failed: whether a person should look at it.
        milliseconds: from arrival to answer.
    """

    at: datetime
    kind: str
    project: str
    task: str
    outcome: str
    failed: bool
    milliseconds: float


class RecentRequests:
    """A short memory of requests; thread-safe."""

    def __init__(self) -> None:
        self._requests: deque[RecentRequest] = deque(maxlen=KEPT)
        self._failures: deque[RecentRequest] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(
        self,
        kind: str,
        outcome: str,
        *,
        project: str = "",
        task: str = "",
        failed: bool = False,
        milliseconds: float = 0.0,
    ) -> None:
        """Note a request; a failure like the one before takes its place.

        Anybody may repeat what is refused, which must not drive out what else went wrong.
        """
        outcome = shortened(outcome, LONGEST_OUTCOME)
        request = RecentRequest(now(), kind, project, task, outcome, failed, milliseconds)
        with self._lock:
            for kept in (self._requests, self._failures) if failed else (self._requests,):
                if kept and _alike(kept[-1], request):
                    kept.pop()
                kept.append(request)

    def newest_first(self) -> list[RecentRequest]:
        """Return the remembered requests, the newest first."""
        with self._lock:
            return list(reversed(self._requests))

    def failures(self) -> list[RecentRequest]:
        """Return the remembered failures, the newest first."""
        with self._lock:
            return list(reversed(self._failures))


def _alike(one: RecentRequest, other: RecentRequest) -> bool:
    again = replace(one, at=other.at, milliseconds=other.milliseconds)
    return other.failed and again == other
