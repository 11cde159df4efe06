"""A task → its image, wherever Label Studio keeps it; see `ml_backend.images.image_addresses`.

Decoded images are kept, so the second click downloads and decodes nothing; but not for ever: a file
may be replaced by one of the same size. One that is too old goes when the next is kept.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_backend.errors import (
    ImageHostError,
    ImageTurnError,
    LabelStudioError,
    SlowImageError,
    TaskImageError,
)
from ml_backend.images.image_addresses import (
    CLOUD,
    data_uri,
    image_address,
    own_path,
    refusal,
    short_key,
    shown,
)
from ml_backend.images.image_decoding import decode
from ml_backend.images.image_downloads import Downloads, FetchError
from ml_backend.images.image_limits import NOT_ASKED_AGAIN_SECONDS, ImageLimits
from ml_backend.images.image_wait import ImageWait
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.labeling_config import ImageTag
from ml_backend.label_studio.protocol import task_number
from ml_backend.recently_used import RecentlyUsed

_log = logging.getLogger(__name__)

RgbImage = NDArray[np.uint8]
_Key = tuple[str, str, str]

_NO_LOGIN = (
    ": logins for other sites, also the project's task data credentials, are not used here; upload "
    "the files or connect their storage to the project"
)
# Too many requests, or a proxy whose server is away: not what is wrong with a file.
_NOT_NOW = (429, 502, 503, 504)
KEPT_SECONDS = 3600.0
_FAILURES_BYTES = 1 << 20
# A file of half a megabyte may need most of a gigabyte while it is decoded; see deployment.md.
_DECODED_AT_ONCE = 2


@dataclass(frozen=True)
class _Wanted:
    """An image that somebody asks for, and how long that person still waits.

    In a hurry is who waits for less than an image may take.
    """

    address: str
    task_id: str
    label_studio: LabelStudio | None
    deadline: ImageWait
    is_in_a_hurry: bool

    @property
    def key(self) -> _Key:
        """What it is kept under."""
        # Cloud storage is resolved by task, so the same address may be another file elsewhere.
        owner = self.task_id if self.address.startswith(CLOUD) else ""
        here = self.label_studio.url if self.label_studio else ""
        return here, owner, short_key(self.address)


@dataclass(frozen=True)
class TaskImage:
    """A decoded image.

    Attributes:
        pixels: (H, W, 3) uint8 upright RGB, shared and not writeable.
        digest: SHA-256 of the file, so that what is remembered of one file is not taken for
            another's that has replaced it.
    """

    pixels: RgbImage
    digest: str

    @classmethod
    def decoded(cls, data: bytes, max_pixels: int) -> "TaskImage":
        """Decode a file; see `ml_backend.images.image_decoding.decode`."""
        pixels = decode(data, max_pixels)
        pixels.flags.writeable = False
        return cls(pixels, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class _Kept:
    """An image, and when it was fetched (`time.monotonic`)."""

    image: TaskImage
    fetched_at: float


@dataclass(frozen=True)
class _NotGiven:
    """Why an image did not come, and when that was known (`time.monotonic`)."""

    sentence: str
    failed_at: float


class TaskImages:
    """Loads images and keeps the recently used ones; thread-safe."""

    def __init__(
        self,
        limits: ImageLimits,
        cache_bytes: int,
        kept_seconds: float = KEPT_SECONDS,
        count: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """Start with nothing.

        Args:
            limits: what one image may cost.
            cache_bytes: how much memory decoded images may take together.
            kept_seconds: for how long an image is kept: its file may be replaced meanwhile.
            count: told of each image whether it was kept ("hit") or has to be fetched ("miss").
        """
        self._limits = limits
        self._downloads = Downloads(limits)
        self._cache_bytes = cache_bytes
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()
        self._kept: RecentlyUsed[_Key, _Kept] = RecentlyUsed(cache_bytes)
        self._not_given: RecentlyUsed[_Key, _NotGiven] = RecentlyUsed(_FAILURES_BYTES)
        self._loading: dict[_Key, Future[TaskImage]] = {}
        self._decoding = threading.BoundedSemaphore(_DECODED_AT_ONCE)
        self._count = count

    @property
    def nbytes(self) -> int:
        """Bytes of memory that kept images take."""
        return self._kept.nbytes

    def load(
        self,
        task: Mapping[str, Any],
        tag: ImageTag,
        label_studio: LabelStudio | None = None,
        *,
        shown_hw: tuple[int, int] | None = None,
        painted_hw: tuple[int, int] | None = None,
        seconds: float | None = None,
    ) -> TaskImage:
        """Return a task's image.

        Args:
            task: as Label Studio serialises it, with `id` and `data`.
            tag: says which of the data is the image.
            label_studio: for images that it keeps; None where only others are served.
            shown_hw: height and width with which the annotator's browser shows it, if known. What
                is kept with another size is fetched anew: the file may have been replaced.
            painted_hw: height and width that its masks were painted on, if known. What is kept with
                another size is fetched anew as well, and returned whatever its size is then.
            seconds: how long somebody waits for it, where that is shorter than the limits.

        Raises:
            TaskImageError: if there is no image or it cannot be used; the text names task, address
                and problem. An ImageHostError if its server is away, silent or too slow, also if
                that was so a moment ago: then nobody waits for it again; an ImageTurnError if
                others were read before it.
            LabelStudioError: if Label Studio cannot be reached or refuses the token, so that no
                other image would come either.
        """
        address = image_address(task, tag)
        deadline = self._downloads.deadline(seconds)
        is_in_a_hurry = seconds is not None and seconds < self._limits.total_seconds
        wanted = _Wanted(address, str(task.get("id")), label_studio, deadline, is_in_a_hurry)
        try:
            self._forget_other_size(wanted.key, shown_hw or painted_hw)
            image = self._kept_or_loaded(wanted)
            _check_size(image.pixels, shown_hw)
            return image
        except TaskImageError as error:
            raise type(error)(
                f"task {task_number(task)}, image {shown(address)!r}: {error}"
            ) from error

    def _kept_or_loaded(self, wanted: "_Wanted") -> TaskImage:
        """Return the image from memory, or load it once for all who ask meanwhile."""
        while True:
            loading, mine = self._begin(wanted.key)
            if mine:
                return self._load(wanted, loading)
            try:
                return loading.result(timeout=wanted.deadline.remaining())
            except (FutureTimeoutError, SlowImageError):
                # Whoever loads it may have had less time.
                wanted.deadline.check()

    def _begin(self, key: _Key) -> tuple[Future[TaskImage], bool]:
        """Return what will be the image, and whether the caller is the one to load it."""
        result: Future[TaskImage] = Future()
        with self._lock:
            kept = self._kept.get(key)
            if kept and not self._is_old(kept):
                self._count("hit")
                result.set_result(kept.image)
                return result, False
            failed = self._not_given.get(key)
            if failed and time.monotonic() - failed.failed_at < NOT_ASKED_AGAIN_SECONDS:
                raise ImageHostError(failed.sentence)
            self._count("miss")
            loading = self._loading.setdefault(key, result)
        return loading, loading is result

    def _load(self, wanted: "_Wanted", result: Future[TaskImage]) -> TaskImage:
        key = wanted.key
        try:
            with wanted.deadline:
                image = self._decoded(self._fetch(wanted), wanted.deadline)
            self._keep(key, image)
            result.set_result(image)
        except BaseException as error:
            self._note_failure(wanted, error)
            result.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._loading[key]
        return image

    def _decoded(self, data: bytes, deadline: ImageWait) -> TaskImage:
        """Decode a file when it is its turn, unless nobody waits for it any more by then."""
        deadline.turn(self._decoding)
        try:
            return TaskImage.decoded(data, self._limits.max_pixels)
        finally:
            self._decoding.release()

    def _note_failure(self, wanted: _Wanted, error: BaseException) -> None:
        is_hurry = isinstance(error, SlowImageError) and wanted.is_in_a_hurry
        is_of_others = isinstance(error, ImageTurnError)
        if isinstance(error, ImageHostError) and not (is_hurry or is_of_others):
            sentence = str(error)
            with self._lock:
                failed = _NotGiven(sentence, time.monotonic())
                self._not_given.put(wanted.key, failed, len(sentence))

    def _forget_other_size(self, key: _Key, size_hw: tuple[int, int] | None) -> None:
        with self._lock:
            kept = self._kept.get(key)
            if kept and size_hw not in (None, kept.image.pixels.shape[:2]):
                self._kept.drop(key)

    def _keep(self, key: _Key, image: TaskImage) -> None:
        nbytes = image.pixels.nbytes
        if nbytes > self._cache_bytes > 0:
            _log.warning("image of %d bytes is larger than the whole cache", nbytes)
        with self._lock:
            self._kept.drop_those(self._is_old)
            self._kept.put(key, _Kept(image, time.monotonic()), nbytes)

    def _is_old(self, kept: _Kept) -> bool:
        return time.monotonic() - kept.fetched_at >= self._kept_seconds

    def _fetch(self, wanted: "_Wanted") -> bytes:
        address, label_studio, deadline = wanted.address, wanted.label_studio, wanted.deadline
        if address.startswith("data:"):
            deadline.make_room(len(address))
            return data_uri(address, self._limits.max_bytes)
        path = own_path(address, wanted.task_id)
        if path is None and not (label_studio and label_studio.is_here(address)):
            return self._from_elsewhere(address, deadline)
        if label_studio is None:
            raise TaskImageError(
                "it is kept by Label Studio, whose address is unknown here: set LABEL_STUDIO_URL "
                "and LABEL_STUDIO_API_KEY"
            )
        whole = address if path is None else f"{label_studio.url}{path}"
        if not label_studio.is_here(whole):
            raise TaskImageError(f"its address leads out of Label Studio's own, {label_studio.url}")
        return self._from_label_studio(whole, label_studio, deadline)

    def _from_elsewhere(self, address: str, deadline: ImageWait) -> bytes:
        try:
            return self._downloads.fetch(address, deadline)
        except FetchError as error:
            hint = _NO_LOGIN if error.status == 401 else ""
            raise _as_error(error, f"its server does not give it: {error}{hint}") from error

    def _from_label_studio(
        self, address: str, label_studio: LabelStudio, deadline: ImageWait
    ) -> bytes:
        try:
            return self._with_token(address, label_studio, deadline)
        except FetchError as error:
            if not label_studio.is_here(error.address):
                raise _as_error(error, f"the cloud storage does not give it: {error}") from error
            if not error.connected:
                raise label_studio.unreachable(error.__cause__ or error) from error
            if error.status is None:
                raise ImageHostError(f"Label Studio does not finish sending it: {error}") from error
            if error.status == 401:
                raise LabelStudioError(label_studio.refusal(401), 401) from error
            if error.status in _NOT_NOW:
                away = f"Label Studio at {label_studio.url} answers {error.status}"
                raise LabelStudioError(away, error.status) from error
            before, upload, name = address.partition("/data/upload/")
            if error.status == 404 and upload:
                # An installation that keeps uploads in a cloud storage serves them here only.
                return self._from_label_studio(
                    f"{before}/storage-data/uploaded/?filepath=upload/{name}",
                    label_studio,
                    deadline,
                )
            raise TaskImageError(refusal(error.status, address)) from error

    def _with_token(self, address: str, label_studio: LabelStudio, deadline: ImageWait) -> bytes:
        """Fetch with the token of the moment; one that is refused is renewed once."""
        header = label_studio.tokens.header(deadline)
        try:
            return self._downloads.fetch(address, deadline, authorization=header)
        except FetchError as error:
            if error.status != 401 or not label_studio.tokens.forget(header):
                raise
        header = label_studio.tokens.header(deadline)
        return self._downloads.fetch(address, deadline, authorization=header)


def _as_error(error: FetchError, sentence: str) -> TaskImageError:
    is_away = error.status is None or error.status in _NOT_NOW
    return ImageHostError(sentence) if is_away else TaskImageError(sentence)


def _check_size(image: RgbImage, shown_hw: tuple[int, int] | None) -> None:
    if shown_hw not in (None, image.shape[:2]):
        (height, width), (shown_height, shown_width) = image.shape[:2], shown_hw
        raise TaskImageError(
            f"the file has {width}x{height} pixels, but the annotator sees "
            f"{shown_width}x{shown_height}: reload the task; if that does not help, the browser "
            "turns the image another way, so store it upright"
        )
