"""Which states of annotations need not be taken: a newer one waits in the inbox.

Whoever saves an annotation of many masks again and again sends all of them each time. Only the
last state counts, whatever the order in which the messages come.
"""

import contextlib
import json
from datetime import datetime

from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import Json, number_of, objects, time_of
from ml_backend.learning.inbox import Inbox


class NewerStates:
    """What the messages that wait say about annotations; for one thread at a time.

    Reads each message once, however long it waits and however often it is tried: a body takes
    megabytes, and while images cannot be fetched thousands may wait.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._newest: dict[tuple[str, int], tuple[datetime, int]] = {}
        self._read_up_to: dict[str, int] = {}

    def is_waiting(self, project: str, annotation: Json) -> bool:
        """Return whether a newer state of an annotation waits to be taken."""
        self._read_on(project)
        changed_at = time_of(annotation)
        known = project, number_of(annotation)
        newest, message = self._newest.get(known, (changed_at, 0))
        return newest > changed_at and self._inbox.is_waiting(message)

    def forget(self, project: str, annotation: Json) -> None:
        """Forget an annotation of which the newest state was taken."""
        self._newest.pop((project, number_of(annotation)), None)

    def _read_on(self, project: str) -> None:
        for message, body in self._inbox.annotations_after(
            self._read_up_to.get(project, 0), project
        ):
            self._read_up_to[project] = message
            # Whoever deals with a message that is malformed says so.
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError, RequestError):
                for annotation in objects(json.loads(body)["annotation"]):
                    state = time_of(annotation), message
                    known = project, number_of(annotation)
                    self._newest[known] = max(state, self._newest.get(known, state))
