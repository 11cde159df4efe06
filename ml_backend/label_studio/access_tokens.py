"""The three kinds of token Label Studio knows, and the header each goes into.

| token | looks like | sent as | lives |
|---|---|---|---|
| legacy | 40 hexadecimal letters | `Token <it>` | for ever; switched off in new installations |
| personal access | JWT, `token_type` "refresh" | exchanged for an access token | years |
| access | JWT, `token_type` "access" | `Bearer <it>` | 300 seconds |

A personal access token sent as it is gets a 401: it may only be exchanged, at /api/token/refresh/.
"""

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from ml_backend.errors import LabelStudioError

# Access tokens are replaced this early, so that none expires on its way.
MARGIN_SECONDS = 60.0
USUAL_LIFETIME_SECONDS = 300.0


class TokenKind(Enum):
    """What a key is, in the words of Label Studio's pages."""

    NONE = "no token"
    LEGACY = "legacy token"
    PERSONAL = "personal access token"
    ACCESS = "access token"


class AccessTokens:
    """Turns an API key into the Authorization header of the moment; thread-safe."""

    def __init__(self, api_key: str, exchange: Callable[[str], str]) -> None:
        """Prepare a key.

        Args:
            api_key: any kind of token; "" for none.
            exchange: asks Label Studio for an access token in return for a personal one.
        """
        self._key = api_key.strip()
        self._exchange = exchange
        self._lock = threading.Lock()
        self._access = ""
        self._usable_until = 0.0
        self._failure: LabelStudioError | None = None  # of the last exchange that failed
        self.kind = kind_of(self._key)

    def header(self) -> str:
        """Return the value of the Authorization header, "" without a token.

        Raises:
            LabelStudioError: if Label Studio does not exchange the personal access token.
        """
        if self.kind is TokenKind.NONE:
            return ""
        if self.kind is TokenKind.LEGACY:
            return f"Token {self._key}"
        if self.kind is TokenKind.ACCESS:
            return f"Bearer {self._key}"
        return f"Bearer {self._current()}"

    def forget(self, header: str) -> bool:
        """Drop an access token that was refused; return whether asking again may give another."""
        with self._lock:
            if self.kind is TokenKind.PERSONAL and header == f"Bearer {self._access}":
                self._access = ""
        return self.kind is TokenKind.PERSONAL

    def _current(self) -> str:
        known = self._failure
        # One thread exchanges while the others wait for what it gets, be it a refusal: thirty that
        # each waited for a silent Label Studio, one after the other, would wait for minutes.
        with self._lock:
            if not self._access or time.monotonic() >= self._usable_until:
                failure = self._failure
                if failure is not None and failure is not known:
                    raise LabelStudioError(str(failure), failure.answered)
                self._exchange_key()
            return self._access

    def _exchange_key(self) -> None:
        _refuse_expired(self._key)
        try:
            self._access = self._exchange(self._key)
        except LabelStudioError as error:
            self._failure = error
            raise
        self._usable_until = time.monotonic() + _lifetime(self._access) - MARGIN_SECONDS


def kind_of(api_key: str) -> TokenKind:
    """Tell the kinds apart by their form; only Label Studio knows whether a token is valid."""
    if not api_key:
        return TokenKind.NONE
    claims = _claims(api_key)
    if claims is None:
        return TokenKind.LEGACY
    return TokenKind.ACCESS if claims.get("token_type") == "access" else TokenKind.PERSONAL


def _claims(token: str) -> dict[str, Any] | None:
    """Return what a JWT says about itself, unverified; None if the text is no JWT.

    One without its signature counts: Label Studio's pages show only that much of an older token.
    """
    parts = token.split(".")
    if len(parts) not in (2, 3):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def _refuse_expired(token: str) -> None:
    expires = (_claims(token) or {}).get("exp")
    if isinstance(expires, int | float) and expires < time.time():
        day = datetime.fromtimestamp(expires, timezone.utc).date()
        raise LabelStudioError(
            f"the personal access token expired on {day}: create a new one in Label Studio under "
            "Account & Settings > Personal Access Token and set it as LABEL_STUDIO_API_KEY"
        )


def _lifetime(access_token: str) -> float:
    """Return the seconds a token was issued for; clocks of two machines need not agree."""
    claims = _claims(access_token) or {}
    expires, issued = claims.get("exp"), claims.get("iat")
    if isinstance(expires, int | float) and isinstance(issued, int | float):
        return float(expires - issued)
    return USUAL_LIFETIME_SECONDS
