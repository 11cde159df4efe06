"""What the address of a task's image means: who serves it, and what of it may be shown.

| task data                                            | served by                                |
|------------------------------------------------------|------------------------------------------|
| `/data/upload/…` (uploaded)                          | Label Studio, with the token             |
| `…/data/local-files/?d=…` (local files storage)      | Label Studio, with the token             |
| `s3://…`, `gs://…`, `azure-blob://…` (cloud storage) | where Label Studio's presign sends us    |
| `https://…`                                          | there, without a token                   |
| `data:image/png;base64,…`                            | the address itself                       |
"""

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ml_backend.errors import TaskImageError
from ml_backend.label_studio.labeling_config import ImageTag
from ml_backend.label_studio.protocol import task_number
from ml_backend.short_text import shortened

CLOUD = ("s3:", "gs:", "azure-blob:")
# Only Label Studio serves these paths. It writes them behind the address browsers use, which need
# not be the one it has from here, so what counts is the path; a query may hold anything.
_OWN_PATH = re.compile(
    r"^[^?#]*?"
    r"(/data/upload/\d+/[0-9a-f]{8}-|/data/local-files/?\?d=|/storage-data/uploaded/?\?filepath=)"
)
# Where a host would stand, all up to the last @ is taken for a login unless it reads as a host and
# a port: passwords hold any letter. A plain name may hold an @ as well.
_LOGIN = re.compile(
    r"""
    (?! (?: file:/// | (?!//) ) [^:?\#]* (?: [?\#] | $ ) )                 # no plain name
    ( (?: [a-z][a-z0-9+.-]* : (?=/) )?+ /*+ )                             # https://
    (?! (?: \[ [^@\]]* \] | [^@:/?\#]* ) (?: : \d+ )? (?: [/?\#] | $ ) )  # no host:8080/
    ( .* ) @
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_SHOWN_CHARACTERS = 150
_PIECE_CHARACTERS = 1 << 14


def image_address(task: Mapping[str, Any], image: ImageTag) -> str:
    """Return the address that a task's data hold.

    Raises:
        TaskImageError: if they hold none, or one that is too long.
    """
    try:
        return _address(task.get("data"), image)
    except TaskImageError as error:
        raise TaskImageError(f"task {task_number(task)} {error}") from error


def _address(data: Any, image: ImageTag) -> str:
    address = image.address(data) if isinstance(data, Mapping) else None
    key = shortened(image.key)
    if isinstance(address, list):
        raise TaskImageError(
            f"has a list under {key!r} in its data, but one image is labelled in a task: import "
            f'each as a task, or choose one in the labelling configuration by value="${key}[0]"'
        )
    if not isinstance(address, str) or not address.strip():
        raise TaskImageError(f"has no image address under {key!r} in its data")
    return address.strip()


def shown(address: str) -> str:
    """Return as much of an address as may stand in a log: signatures and logins are secrets.

    Of a data: address, the pixels are left out.
    """
    if address.startswith("data:"):
        head, comma, _ = address.partition(",")
        return f"{head[:_SHOWN_CHARACTERS]}{comma and ',…'}"
    named = _without_login(address)
    # Of Label Studio's own paths some name the file in their query, which is no secret.
    own = _OWN_PATH.search(named)
    mark = re.compile("[?#&]" if own else "[?#]").search(named, own.end() if own else 0)
    if mark:
        return f"{named[: min(mark.start(), _SHOWN_CHARACTERS)]}{mark[0]}…"
    return named[:_SHOWN_CHARACTERS]


def _without_login(address: str) -> str:
    login = _LOGIN.match(address)
    if login is None:
        return address
    # The last @ ends the login, or stands in a query that is a secret, too.
    is_clear = re.search("[?#]", login[2]) is None
    return f"{login[1]}…{address[login.end() - 1 :] if is_clear else ''}"


def short_key(address: str) -> str:
    """Stand in for an address that holds a whole image."""
    if len(address) <= 1000:
        return address
    return hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()


def own_path(address: str, task_id: str) -> str | None:
    """Return the path under which Label Studio serves an address, None if it is not its own.

    Raises:
        TaskImageError: if nobody is known to serve this kind of address, or it is none.
    """
    if address.startswith(CLOUD):
        encoded = base64.urlsafe_b64encode(address.encode("utf-8", "replace")).decode()
        return f"/tasks/{quote(task_id, safe='')}/presign/?fileuri={encoded}"
    own = _OWN_PATH.search(address)
    if own:
        return address[own.start(1) :]
    if address.startswith(("upload/", "/upload/")):
        return f"/data/{address.lstrip('/')}"
    if address.startswith("//"):
        raise TaskImageError("it says neither http nor https: write https:// in front of the host")
    if address.startswith("/"):
        return address
    if not address.lower().startswith(("http://", "https://")):
        raise TaskImageError(
            "this kind of address is not served: use uploads, a storage connected in Label Studio, "
            "or https://"
        )
    try:
        urlsplit(address)
    except ValueError as error:
        raise TaskImageError("this is no address: correct it in the task's data") from error
    return None


def refusal(status: int, address: str) -> str:
    """Say what it means that Label Studio answered an image's address with this status."""
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


def data_uri(address: str, max_bytes: int) -> bytes:
    """Return the file that a data: address holds.

    Raises:
        TaskImageError: if it is malformed or too large.
    """
    head, comma, body = address.partition(",")
    if not comma:
        raise TaskImageError("the data: address has no comma before its data")
    too_large = f"the data: address is over the limit of {max_bytes / (1 << 20):g} MB"
    # Before anything is decoded. Three bytes of an image are four letters; percent-encoding takes
    # up to three a byte.
    if len(body) > max_bytes * 3:
        raise TaskImageError(too_large)
    data = _unquoted(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4))
        except binascii.Error as error:
            raise TaskImageError("the data: address is not base64") from error
    if len(data) > max_bytes:
        raise TaskImageError(too_large)
    return data


def _unquoted(text: str) -> bytes:
    """Decode percent-encoding in pieces: for a while, each escape takes 75 times its size."""
    data = io.BytesIO()
    start = 0
    while start < len(text):
        end = start + _PIECE_CHARACTERS
        cut = text.find("%", end - 2, end)  # an escape has three characters
        end = end if cut < 0 else cut
        data.write(unquote_to_bytes(text[start:end].encode("utf-8", "replace")))
        start = end
    return data.getvalue()
