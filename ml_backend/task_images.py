"""A task → its image, wherever Label Studio keeps it.

| task data                                            | fetched from                             |
|------------------------------------------------------|------------------------------------------|
| `/data/upload/…` (uploaded)                          | Label Studio, with the token             |
| `…/data/local-files/?d=…` (local files storage)      | Label Studio, with the token             |
| `s3://…`, `gs://…`, `azure-blob://…` (cloud storage) | where Label Studio's presign sends us    |
| `https://…`                                          | there, without a token                   |
| `data:image/png;base64,…`                            | the address itself                       |

Decoded images are kept, so the second click downloads and decodes nothing.
"""

import base64
import binascii
import hashlib
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from ml_backend.errors import LabelStudioError, TaskImageError
from ml_backend.image_decoding import decode
from ml_backend.image_downloads import Downloads, FetchError, ImageLimits
from ml_backend.label_studio import LabelStudio
from ml_backend.labeling_config import LabelingConfig

_log = logging.getLogger(__name__)

RgbImage = NDArray[np.uint8]
_Key = tuple[str, str, str]

_CLOUD = ("s3:", "gs:", "azure-blob:")
# Only Label Studio serves these paths. It writes them behind the address browsers use, which need
# not be the one it has from here, so what counts is the path.
_OWN_PATH = re.compile(
    r"/data/upload/\d+/[0-9a-f]{8}-|/data/local-files/?\?d=|/storage-data/uploaded/?\?filepath="
)
_SHOWN_CHARACTERS = 150


class TaskImages:
    """Loads images and keeps the recently used ones; thread-safe.

    Attributes:
        lookups: how often an image was kept ("hit") or had to be fetched ("miss").
    """

    def __init__(self, limits: ImageLimits, cache_bytes: int) -> None:
        """Start with nothing.

        Args:
            limits: what one image may cost.
            cache_bytes: how much memory decoded images may take together.
        """
        self._limits = limits
        self._downloads = Downloads(limits)
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, RgbImage] = OrderedDict()
        self._bytes = 0
        self._loading: dict[_Key, Future[RgbImage]] = {}
        self.lookups = {"hit": 0, "miss": 0}

    @property
    def nbytes(self) -> int:
        """Bytes of memory that kept images take."""
        return self._bytes

    def load(
        self,
        task: Mapping[str, Any],
        config: LabelingConfig,
        label_studio: LabelStudio | None = None,
    ) -> RgbImage:
        """Return a task's image.

        Args:
            task: as Label Studio serialises it, with `id` and `data`.
            config: says which of the data is the image.
            label_studio: for images that it keeps; None where only others are served.

        Returns:
            (H, W, 3) uint8 upright RGB, shared and not writeable.

        Raises:
            TaskImageError: if there is no image or it cannot be used; the text names task, address
                and problem.
            LabelStudioError: if Label Studio cannot be reached or refuses the token, so that no
                other image would come either.
        """
        address = _address(task, config)
        # Cloud storage is resolved by task, so the same address may be another file elsewhere.
        owner = str(task.get("id")) if address.startswith(_CLOUD) else ""
        key = (label_studio.url if label_studio else "", owner, _short_key(address))
        try:
            return self._kept_or_loaded(key, address, str(task.get("id")), label_studio)
        except TaskImageError as error:
            shown = address[:_SHOWN_CHARACTERS]
            raise TaskImageError(f"task {task.get('id')}, image {shown!r}: {error}") from error

    def clear(self) -> None:
        """Forget all images."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _kept_or_loaded(
        self, key: _Key, address: str, task_id: str, label_studio: LabelStudio | None
    ) -> RgbImage:
        """Return the image from memory, or load it once for all who ask meanwhile."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.lookups["hit"] += 1
                return self._kept[key]
            self.lookups["miss"] += 1
            loading = self._loading.get(key)
            if loading is None:
                mine = self._loading[key] = Future()
        if loading is not None:
            return loading.result()
        try:
            data = self._fetch(address, task_id, label_studio)
            image = decode(data, self._limits.max_pixels)
            image.flags.writeable = False
            self._keep(key, image)
            mine.set_result(image)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._loading[key]
        return image

    def _keep(self, key: _Key, image: RgbImage) -> None:
        if image.nbytes > self._cache_bytes:
            if self._cache_bytes:
                _log.warning("image of %d bytes is larger than the whole cache", image.nbytes)
            return
        with self._lock:
            self._kept[key] = image
            self._bytes += image.nbytes
            while self._bytes > self._cache_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _fetch(self, address: str, task_id: str, label_studio: LabelStudio | None) -> bytes:
        if address.startswith("data:"):
            return _data_uri(address, self._limits.max_bytes)
        path = _own_path(address, task_id)
        if path is None and not (label_studio and label_studio.is_here(address)):
            return self._from_elsewhere(address)
        if label_studio is None:
            raise TaskImageError(
                "it is kept by Label Studio, whose address is unknown here: set LABEL_STUDIO_URL "
                "and LABEL_STUDIO_API_KEY"
            )
        return self._from_label_studio(
            address if path is None else f"{label_studio.url}{path}", label_studio
        )

    def _from_elsewhere(self, address: str) -> bytes:
        try:
            return self._downloads.fetch(address)
        except FetchError as error:
            raise TaskImageError(f"its server does not give it: {error}") from error

    def _from_label_studio(self, address: str, label_studio: LabelStudio) -> bytes:
        try:
            return self._with_token(address, label_studio)
        except FetchError as error:
            if not label_studio.is_here(error.address):
                raise TaskImageError(f"the cloud storage does not give it: {error}") from error
            if not error.connected:
                raise label_studio.unreachable(error) from error
            if error.status is None:
                raise TaskImageError(f"Label Studio does not finish sending it: {error}") from error
            if error.status == 401:
                raise LabelStudioError(label_studio.refusal(401), 401) from error
            before, upload, name = address.partition("/data/upload/")
            if error.status == 404 and upload:
                # An installation that keeps uploads in a cloud storage serves them here only.
                return self._from_label_studio(
                    f"{before}/storage-data/uploaded/?filepath=upload/{name}", label_studio
                )
            raise TaskImageError(_refusal(error.status, address)) from error

    def _with_token(self, address: str, label_studio: LabelStudio) -> bytes:
        """Fetch with the token of the moment; one that is refused is renewed once."""
        header = label_studio.tokens.header()
        try:
            return self._downloads.fetch(address, authorization=header)
        except FetchError as error:
            if error.status != 401 or not label_studio.tokens.forget(header):
                raise
        return self._downloads.fetch(address, authorization=label_studio.tokens.header())


def _address(task: Mapping[str, Any], config: LabelingConfig) -> str:
    data = task.get("data")
    address = config.image_address(data) if isinstance(data, Mapping) else None
    if not isinstance(address, str) or not address.strip():
        raise TaskImageError(
            f"task {task.get('id')} has no image address under {config.image_key!r} in its data"
        )
    return address.strip()


def _short_key(address: str) -> str:
    """Stand in for an address that holds a whole image."""
    if len(address) <= 1000:
        return address
    return hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()


def _own_path(address: str, task_id: str) -> str | None:
    """Return the path under which Label Studio serves an address, None if it is not its own."""
    if address.startswith(_CLOUD):
        encoded = base64.urlsafe_b64encode(address.encode("utf-8", "replace")).decode()
        return f"/tasks/{quote(task_id)}/presign/?fileuri={encoded}"
    own = _OWN_PATH.search(address)
    if own:
        return address[own.start() :]
    if address.startswith(("upload/", "/upload/")):
        return f"/data/{address.lstrip('/')}"
    if address.startswith("/"):
        return address
    if not address.startswith(("http://", "https://")):
        raise TaskImageError(
            "this kind of address is not served: use uploads, a storage connected in Label Studio, "
            "or https://"
        )
    return None


def _refusal(status: int, address: str) -> str:
    if status == 404 and "/presign/" in address:
        return (
            "Label Studio finds no storage for it (404): connect the cloud storage to the project "
            "under Settings > Cloud Storage"
        )
    if status == 404:
        return "Label Studio does not have the file (404)"
    if status == 403 and "/data/local-files" in address:
        return (
            "Label Studio does not give out local files (403): start it with "
            "LOCAL_FILES_SERVING_ENABLED=true"
        )
    if status == 403:
        return (
            "Label Studio does not let the token's owner see it (403): use a token of a member of "
            "the project's organisation"
        )
    return f"Label Studio answers {status}"


def _data_uri(address: str, max_bytes: int) -> bytes:
    head, comma, body = address.partition(",")
    if not comma:
        raise TaskImageError("the data: address has no comma before its data")
    # Three bytes of an image are four letters; percent-encoding takes up to three a byte.
    if len(body) > max_bytes * 3:
        raise TaskImageError(f"the data: address is over the limit of {max_bytes / 1e6:g} MB")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4))
        except binascii.Error as error:
            raise TaskImageError("the data: address is not base64") from error
    return data
