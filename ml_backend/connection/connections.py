"""How to reach the Label Studio of each project.

The environment decides where it is set. Otherwise what /setup brought is used, kept in memory only:
Label Studio sends it again whenever somebody opens a task. The API key of the environment goes to
the address of the environment and nowhere else, whatever a request claims.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from ml_backend.errors import LabelStudioError
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.project_keys import MOST_PROJECTS, project_number

logger = logging.getLogger(__name__)

# Label Studio waits 3 s for /setup and asks it again and again.
CHECK_SECONDS = 2.0
TRUSTED_SECONDS = 60.0
MOST_CLIENTS = 100


@dataclass(frozen=True)
class Connection:
    """One project's way to its Label Studio, and what is known about it.

    Attributes:
        project: key of the project.
        address: of Label Studio as seen from here; empty if nobody said.
        token: what it is asked with; empty if nobody said.
        problem: a sentence an administrator can act on; empty if there is none.
    """

    project: str
    address: str
    token: str = field(default="", repr=False)
    problem: str = ""


class Connections:
    """The projects that have connected; thread-safe."""

    def __init__(self, url: str | None, api_key: str | None) -> None:
        """Start with what the environment says: Label Studio's address, and a token for it."""
        self._url = url
        self._api_key = api_key
        self._lock = threading.Lock()
        self._told: dict[str, tuple[str, str]] = {}
        self._problems: dict[str, str] = {}
        self._clients: dict[tuple[str, str], LabelStudio] = {}
        self._checked: dict[tuple[str, LabelStudio], float] = {}
        self._asking: dict[tuple[str, LabelStudio], tuple[float, Future[object]]] = {}
        self._checkers = ThreadPoolExecutor(4, thread_name_prefix="connection-check")

    def remember(self, project: str, hostname: str, access_token: str) -> None:
        """Note what /setup said about a project; "" stands for all that say nothing themselves."""
        with self._lock:
            if project in self._told or len(self._told) < MOST_PROJECTS:
                self._told[project] = (hostname.rstrip("/"), access_token)

    def note_problem(self, project: str, sentence: str) -> None:
        """Note what was wrong when the project connected last; "" if nothing was."""
        with self._lock:
            if project in self._told:
                self._problems[project] = sentence

    def all(self) -> list[Connection]:
        """Return what is known, by project."""
        with self._lock:
            projects = list(self._told)
        return [self._connection(project) for project in projects]

    def label_studio(self, project: str) -> LabelStudio | None:
        """Return the project's Label Studio; None if nobody said where it is.

        Raises:
            LabelStudioError: if its address is not one.
        """
        connection = self._connection(project)
        if not connection.address:
            return None
        key = (connection.address, connection.token)
        with self._lock:
            # Kept, because a client remembers the access token it got for a personal one.
            if key not in self._clients:
                if len(self._clients) >= MOST_CLIENTS:
                    self._clients.clear()
                    self._checked.clear()
                self._clients[key] = LabelStudio(*key)
            return self._clients[key]

    def check(self, project: str) -> None:
        """Ask Label Studio for the project, unless that worked a moment ago.

        A Label Studio too slow to answer within `CHECK_SECONDS` is given the benefit of the doubt.

        Raises:
            LabelStudioError: if it cannot be reached, refuses the token or shows no such project.
        """
        label_studio = self.label_studio(project)
        if label_studio is None:
            raise LabelStudioError(
                "Label Studio did not say where it is: set LABEL_STUDIO_URL for this backend, or "
                "LABEL_STUDIO_HOST for Label Studio"
            )
        if not project_number(project):
            return  # nothing to ask for: the request does not say which project it is about
        if time.monotonic() - self._checked.get((project, label_studio), -1e9) < TRUSTED_SECONDS:
            return
        question = self._question(project, label_studio)
        try:
            question.result(timeout=CHECK_SECONDS)
        except FutureTimeoutError:
            logger.warning("slow check project=%s: no answer yet from Label Studio", project)
            return
        finally:
            self._forget_answered(project, label_studio, question)
        self._checked[project, label_studio] = time.monotonic()

    def _question(self, project: str, label_studio: LabelStudio) -> "Future[object]":
        """Return the question asked before, if nobody has heard the answer; else ask it now."""
        with self._lock:
            asked_at, question = self._asking.get((project, label_studio), (-1e9, None))
            if question is None or time.monotonic() - asked_at > TRUSTED_SECONDS:
                number = project_number(project)
                question = self._checkers.submit(label_studio.project, number)
                self._asking[project, label_studio] = (time.monotonic(), question)
            return question

    def _forget_answered(
        self, project: str, label_studio: LabelStudio, question: "Future[object]"
    ) -> None:
        with self._lock:
            if question.done():
                self._asking.pop((project, label_studio), None)

    def _connection(self, project: str) -> Connection:
        with self._lock:
            told = self._told.get(project) or self._told.get("", ("", ""))
            problem = self._problems.get(project, "")
        hostname, token = told
        if self._url and self._api_key:
            token = self._api_key
        return Connection(project, self._url or hostname, token, problem)
