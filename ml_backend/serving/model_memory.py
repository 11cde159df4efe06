"""Which model version serves which project, in memory and ready to answer.

Versions are immutable; what is live is a pointer that somebody else moves. It is asked at every
request, so a promotion or a rollback takes effect between two of them. A version that cannot be
loaded never serves: the one that served the project before goes on, and the page says so.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass

from icmformer.errors import ICMFormerError
from ml_backend.deadline import Deadline
from ml_backend.errors import DeadlineError, DeviceMemoryError, ModelError
from ml_backend.label_studio.project_keys import MOST_PROJECTS
from ml_backend.metrics import Metrics
from ml_backend.serving.loaded_model import LoadedModel
from ml_backend.serving.pointer_follower import PointerFollower
from ml_backend.serving.versions import Version

logger = logging.getLogger(__name__)

# A damaged file is not read again with every click.
RETRY_SECONDS = 30.0
# What nobody asks for any more is no problem: after a rollback, say.
REMEMBERED_SECONDS = 600.0
# A version that is about to go live holds up other projects' pointers so long at one look.
PRELOAD_SECONDS = 1.0
# A slow one leaves a turn to others, and not too many come on top of what is in memory.
_LOADED_AT_ONCE = 2


@dataclass(frozen=True)
class _Failure:
    """That a version did not load: when (`time.monotonic`), why, and whether its files are why."""

    at: float
    sentence: str
    of_files: bool

    def is_younger_than(self, seconds: float) -> bool:
        return time.monotonic() - self.at < seconds


class ModelMemory:
    """The networks in memory, loaded on demand, the least recently used dropped first."""

    def __init__(
        self,
        pointer: PointerFollower,
        load: Callable[[Version], LoadedModel],
        max_bytes: int,
        metrics: Metrics,
    ) -> None:
        """Serve what `pointer` says.

        Args:
            pointer: which version is live, by project.
            load: reads a version from disk, or raises ICMFormerError, OSError, RuntimeError,
                MemoryError or DeviceMemoryError.
            max_bytes: of weights in memory between two loads. Versions that are being loaded, two
                at most, come on top, so that one that turns out to be damaged drives out none that
                answers; and the version just asked for is kept in any case.
            metrics: told what is loaded, and what fails to.
        """
        self._pointer = pointer
        self._load = load
        self._max_bytes = max_bytes
        self._metrics = metrics
        # Not RecentlyUsed: the newest stays however large it is, and what is dropped is told.
        self._loaded: OrderedDict[Version, LoadedModel] = OrderedDict()
        self._serving: dict[str, Version] = {}
        self._failures: dict[Version, _Failure] = {}
        self._lock = threading.Lock()
        self._loading: dict[Version, Future[LoadedModel]] = {}
        self._turns = threading.BoundedSemaphore(_LOADED_AT_ONCE)

    def serving(self, project: str, deadline: Deadline) -> LoadedModel:
        """Return the live network of a project, or the one before it where that is damaged.

        Raises:
            ModelError: if neither can be loaded.
            DeadlineError: if it is not loaded in time; the next request may find it in memory.
        """
        version = self._pointer.live(project)
        try:
            model = self._in_memory(version, deadline)
        except ModelError:
            if self._pointer.live(project) != version:
                return self.serving(project, deadline)
            before = self._serving.get(project)
            if before is None or before == version:
                raise
            return self._in_memory(before, deadline)
        self._note_serving(project, version)
        return model

    def preload(self, version: Version) -> None:
        """Load a version that is about to go live, so that no request waits for it.

        Raises:
            ModelError: if it cannot be loaded.
            DeadlineError: if that takes more than a second; it goes on, so ask again.
        """
        try:
            self._in_memory(version, Deadline(PRELOAD_SECONDS))
        except DeadlineError as error:
            raise DeadlineError(f"version {version.name} is still being loaded") from error

    def drop_idle(self) -> None:
        """Forget versions that serve no project now; who computes with one holds on to it."""
        live = {project: self._pointer.live(project) for project in list(self._serving)}
        with self._lock:
            used = {
                version if version in self._loaded else self._serving[project]
                for project, version in live.items()
            }
            for version in self._loaded.keys() - used:
                del self._loaded[version]
                logger.info("dropped version=%s from memory", version.name)
            self._metrics.show_models({v.name: v.trained for v in self._loaded})

    def drop_all(self) -> None:
        """Forget every version: one that is live and fits nowhere else comes first."""
        with self._lock:
            self._loaded.clear()
            self._metrics.show_models({})

    def check(self, project: str) -> None:
        """Say whether the project's live version is known not to load.

        A GPU that was full half a minute ago may have room again; the next click tries. Files that
        are damaged rarely mend.

        Raises:
            ModelError: if it is; the text says why.
        """
        failure = self._failures.get(self._pointer.live(project))
        if failure is None:
            return
        if failure.is_younger_than(REMEMBERED_SECONDS if failure.of_files else RETRY_SECONDS):
            raise ModelError(failure.sentence)

    def loaded(self) -> list[LoadedModel]:
        """Return what is in memory, the least recently used first."""
        with self._lock:
            return list(self._loaded.values())

    @property
    def nbytes(self) -> int:
        """Bytes of weights in memory."""
        return sum(model.nbytes for model in self.loaded())

    def problems(self) -> list[str]:
        """Say which versions that were asked for lately could not be loaded, and why."""
        with self._lock:
            return [
                failure.sentence
                for failure in self._failures.values()
                if failure.is_younger_than(REMEMBERED_SECONDS)
            ]

    def _note_serving(self, project: str, version: Version) -> None:
        """Remember what to go back to; project names come from outside, so not all of them."""
        if project in self._serving or len(self._serving) < MOST_PROJECTS:
            self._serving[project] = version

    def _in_memory(self, version: Version, deadline: Deadline) -> LoadedModel:
        """Return a version, loading it unless it is there; others serve meanwhile."""
        failure = self._failures.get(version)
        if failure is not None and failure.is_younger_than(RETRY_SECONDS):
            raise ModelError(failure.sentence)
        loading = self._begin(version)
        wait([loading], timeout=deadline.remaining())
        if not loading.done():
            raise DeadlineError(
                f"version {version.name} is still being loaded: click again in a moment"
            )
        return loading.result()

    def _begin(self, version: Version) -> "Future[LoadedModel]":
        """Return what is or will be the version, loaded once in a thread of its own."""
        with self._lock:
            if version in self._loaded:
                self._loaded.move_to_end(version)
                there: Future[LoadedModel] = Future()
                there.set_result(self._loaded[version])
                return there
            loading = self._loading.get(version)
            if loading is None:
                loading = Future()
                arguments = (version, loading)
                threading.Thread(target=self._load_in_turn, args=arguments, daemon=True).start()
                self._loading[version] = loading  # once a thread could be had
            return loading

    def _load_in_turn(self, version: Version, loading: "Future[LoadedModel]") -> None:
        try:
            with self._turns:
                model = self._read(version)
        except Exception as error:
            self._end(version)
            loading.set_exception(error)
        else:
            self._end(version)
            loading.set_result(model)

    def _end(self, version: Version) -> None:
        with self._lock:
            del self._loading[version]

    def _read(self, version: Version) -> LoadedModel:
        started = time.monotonic()
        try:
            model = self._load_whole(version)
        except (ICMFormerError, OSError, RuntimeError, MemoryError, DeviceMemoryError) as error:
            raise ModelError(self._note_failure(version, error)) from error
        self._keep(model)
        milliseconds = 1000 * (time.monotonic() - started)
        logger.info(
            "loaded version=%s trained=%s ms=%d", version.name, version.trained, milliseconds
        )
        return model

    def _load_whole(self, version: Version) -> LoadedModel:
        try:
            return self._load(version)
        except (ICMFormerError, OSError):
            # Its files may have been altered or cleaned away since the pointer looked at them.
            if not self._pointer.look_again(version):
                raise
            return self._load(version)

    def _note_failure(self, version: Version, error: Exception) -> str:
        reason = str(error) or "there is too little memory"  # which Python says by nothing more
        sentence = f"version {version.name} cannot be loaded: {reason}"
        self._metrics.model_loads.labels("failed").inc()
        logger.error("load failed version=%s: %s", version.name, reason)
        with self._lock:
            of_files = isinstance(error, ICMFormerError | OSError)
            self._failures[version] = _Failure(time.monotonic(), sentence, of_files)
        return sentence

    def _keep(self, model: LoadedModel) -> None:
        with self._lock:
            self._failures.pop(model.version, None)
            self._loaded[model.version] = model
            held = sum(loaded.nbytes for loaded in self._loaded.values())
            while held > self._max_bytes and len(self._loaded) > 1:
                dropped, freed = self._loaded.popitem(last=False)
                held -= freed.nbytes
                logger.info("dropped version=%s from memory", dropped.name)
            self._metrics.model_loads.labels("loaded").inc()
            self._metrics.show_models({v.name: v.trained for v in self._loaded})
