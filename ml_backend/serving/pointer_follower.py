"""The live pointer of the database, as serving processes follow it.

A thread reads the database every second and looks at the files of a version before it is handed
out, so a request is answered from memory and a promotion or a rollback takes effect between two of
them. A version whose files are damaged is never handed out: the one that was live before it is.
The files of a version that later does not load are looked at again.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from ml_backend.errors import BackendError
from ml_backend.label_studio.project_keys import MOST_PROJECTS
from ml_backend.serving.versions import Version
from training.errors import DatabaseError, FileStoreError, TrainingError, VersionError
from training.store.live_pointer import SITE, Live
from training.store.model_versions import ModelVersions, version_name
from training.written_numbers import counted

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# How long the pointers of other projects wait for the files of one version, once.
PATIENCE_SECONDS = 1.0
# How long the start of a process, and the first request of a project, wait for them.
FIRST_PATIENCE_SECONDS = 10.0
# A file that was damaged may be mended, by hand or by storing it again.
LOOK_AGAIN_SECONDS = 30.0

_MOST_PROBLEMS = 3  # said one by one: a store that is gone takes every version with it

# Looks at the files of a version; None of a damaged one.
FindFiles = Callable[[int], Version | None]


@dataclass(frozen=True)
class _Damage:
    seen_at: float
    sentence: str


class PointerFollower:
    """Which version serves which project; thread-safe."""

    def __init__(self, versions: ModelVersions, fallback: Version) -> None:
        """Look at the site's default; `follow` begins to look for changes.

        Args:
            versions: the versions and what is live.
            fallback: what serves while nothing is live.
        """
        self._versions = versions
        self._fallback = fallback
        self._prepare: Callable[[Version], object] = lambda version: None
        self._lock = threading.Lock()
        self._sound: dict[int, Version] = {}
        self._damaged: dict[int, _Damage] = {}
        self._wanted: set[int] = set()
        self._live: dict[str, Version] = {}
        self._seen: dict[str, Live | None] = {}
        self._stuck: dict[str, str] = {}
        self._arriving: dict[int, tuple[float, Future[Version | None]]] = {}
        self._pointers = versions.pointers()
        self._look_first(SITE, self._pointers.live(SITE))

    def follow(self, prepare: Callable[[Version], object]) -> None:
        """Look for changes from now on, in a thread that ends with this object.

        Args:
            prepare: called with a version that is about to go live, so that the first request
                finds it in memory; raises BackendError where it is not there yet.
        """
        self._prepare = prepare
        # The thread must not keep alive what nobody else uses any more.
        arguments = (weakref.ref(self),)
        threading.Thread(target=_follow, args=arguments, name="live-pointer", daemon=True).start()

    def live(self, project: str) -> Version:
        """Return the version that serves this project, as the last look at the database says."""
        known = self._live.get(project)
        if known is not None:
            return known
        if len(self._live) >= MOST_PROJECTS:
            return self._live.get(SITE, self._fallback)
        try:
            return self._look_first(project, self._pointers.live(project))
        except (SQLAlchemyError, TrainingError) as error:
            logger.error("live pointer of project=%s cannot be read: %s", project, error)
            return self._live.get(SITE, self._fallback)

    def names(self, project: str) -> list[str]:
        """Return the names of all versions that could serve this project, the newest first."""
        rows = self._versions.usable_by(project)
        names = [version_name(row) for row in rows if not row.is_swept]
        return names or [self._fallback.name]

    def look_again(self, version: Version) -> bool:
        """Look at the files of a version that did not load; return whether they are whole now.

        If they are not, the projects it serves get what was live before.
        """
        with self._lock:
            numbers = [number for number, sound in self._sound.items() if sound == version]
        try:
            if any(self._look_at_files(number) for number in numbers):
                return True
        except (SQLAlchemyError, DatabaseError) as error:
            logger.error("version=%s cannot be looked at: %s", version.name, error)
            return False
        with self._lock:
            for project in [one for one, served in self._live.items() if served == version]:
                del self._live[project]
        return False

    def problems(self) -> list[str]:
        """Say which versions are damaged that would serve otherwise; of many, how many more."""
        with self._lock:
            said = [damage.sentence for damage in self._damaged.values()]
        more = len(said) - _MOST_PROBLEMS
        if more > 0:
            said[_MOST_PROBLEMS:] = [f"{counted(more, 'more version')} cannot be served"]
        return said

    def refresh(self) -> None:
        """Look at the pointers of all projects that were ever asked for.

        A project whose new version is slow to come, or to load, stays with what it has until a
        later look finds it here.
        """
        self._wanted = set()
        self._pointers = self._versions.pointers()
        for project in list(self._live):
            try:
                self._look(project, self._pointers.live(project), self._find_soon)
            except Exception as error:
                # One project's version that does not load must not keep the others from moving.
                self._note_stuck(project, error)
            else:
                if project in self._seen:
                    self._stuck.pop(project, None)
        with self._lock:
            for number in self._damaged.keys() - self._wanted:
                del self._damaged[number]

    def _note_stuck(self, project: str, problem: Exception) -> None:
        with self._lock:
            said, self._stuck[project] = self._stuck.get(project), str(problem)
        if said != str(problem):
            trace = None if isinstance(problem, TrainingError | BackendError) else problem
            message = "project=%s stays with what it has: %s"
            logger.warning(message, project, problem, exc_info=trace)

    def _look_first(self, project: str, live: Live | None) -> Version:
        """Look at what is asked for first; serve what others have where its files do not come."""
        try:
            return self._look(project, live, self._find_first)
        except VersionError as error:
            with self._lock:
                others = self._live.get(SITE, self._fallback)
                served = self._live.setdefault(project, others)
            self._note_stuck(project, error)
            return served

    def _look(self, project: str, live: Live | None, find: FindFiles) -> Version:
        before = self._live.get(project)
        if before is not None and project in self._seen and live == self._seen.get(project):
            return before
        version = self._newest_sound(project, live, find)
        if before is not None and before != version:
            self._prepare(version)
        with self._lock:
            self._live[project] = version
            if live is None or self._sound.get(live.version) == version:
                self._seen[project] = live
            else:
                self._seen.pop(project, None)  # what is live may be mended: look again each time
        if before is not None and before.name != version.name:
            logger.info("live project=%s version=%s before=%s", project, version.name, before.name)
        return version

    def _newest_sound(self, project: str, live: Live | None, find: FindFiles) -> Version:
        for number in self._candidates(project, live):
            version = self._checked(number, find)
            if version is not None:
                return version
        return self._fallback

    def _candidates(self, project: str, live: Live | None) -> Iterator[int]:
        """Go through what is live, what rollbacks would lead to, and the same of the site."""
        if live is not None:
            yield live.version
        for owner in dict.fromkeys((project, SITE)):
            yield from self._versions.way_back(owner)

    def _checked(self, number: int, find: FindFiles) -> Version | None:
        """Return a version whose files are what was published, None of a damaged one."""
        self._wanted.add(number)
        sound = self._sound.get(number)
        if sound is not None:
            return sound
        damage = self._damaged.get(number)
        if damage is not None and time.monotonic() - damage.seen_at < LOOK_AGAIN_SECONDS:
            return None
        return find(number)

    def _find_first(self, number: int) -> Version | None:
        """Wait longer, but for one version at a time: of a store that hangs, none comes."""
        with self._lock:
            others = [found for one, (_, found) in self._arriving.items() if one != number]
        hangs = any(not found.done() for found in others)
        return self._find(number, PATIENCE_SECONDS if hangs else FIRST_PATIENCE_SECONDS)

    def _find_soon(self, number: int) -> Version | None:
        return self._find(number, PATIENCE_SECONDS)

    def _find(self, number: int, patience: float) -> Version | None:
        """Look at files in a thread of their own, which a store that hangs may hold up for long.

        Args:
            number: of the version.
            patience: how many seconds after that thread began are waited for.

        Raises:
            VersionError: if they have not come by then; the thread goes on.
            TrainingError: what the thread found.
        """
        with self._lock:
            begun = self._arriving.get(number)
            if begun is None:
                begun = self._arriving[number] = time.monotonic(), Future[Version | None]()
                threading.Thread(target=self._deliver, args=(number, begun[1]), daemon=True).start()
        since, found = begun
        wait([found], timeout=max(0.0, since + patience - time.monotonic()))
        if not found.done():
            raise VersionError(f"the files of version {number} have not come yet")
        with self._lock:
            self._arriving.pop(number, None)
        return found.result()

    def _deliver(self, number: int, found: "Future[Version | None]") -> None:
        try:
            found.set_result(self._look_at_files(number))
        except Exception as error:
            found.set_exception(error)

    def _look_at_files(self, number: int) -> Version | None:
        try:
            path = self._versions.checkpoint(number)
        except (VersionError, FileStoreError) as error:
            damage = _Damage(time.monotonic(), str(error))
            with self._lock:
                self._sound.pop(number, None)
                before, self._damaged[number] = self._damaged.get(number), damage
            if before is None or before.sentence != damage.sentence:
                logger.error("version %d is not served: %s", number, error)
            return None
        row = self._versions.get(number)
        version = Version(version_name(row), path, row.project)
        with self._lock:
            self._damaged.pop(number, None)
            self._sound[number] = version
        return version


def _follow(reference: "weakref.ref[PointerFollower]") -> None:
    said = ""
    while True:
        time.sleep(POLL_SECONDS)
        pointer = reference()
        if pointer is None:
            return
        try:
            pointer.refresh()
            if said:
                logger.info("the live pointers are read again")
            said = ""
        except Exception as error:
            # What was live stays live; database or files may be back at the next look.
            if said != repr(error):
                said = repr(error)
                trace = None if isinstance(error, TrainingError) else error
                logger.error("the live pointers cannot be read: %s", error, exc_info=trace)
        del pointer
