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
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ml_backend.deadline import Deadline
from ml_backend.errors import LabelStudioError

# Access tokens are replaced this early, so that none expires on its way.
MARGIN_SECONDS = 60.0
USUAL_LIFETIME_SECONDS = 300.0
TOKEN_RULE = "must be ASCII letters, digits and signs without blanks: copy the token again"


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

        Raises:
            LabelStudioError: if no header can hold the key.
        """
        self._key = api_key.strip()
        if not fits_a_header(self._key):
            raise LabelStudioError(
                f"the token for Label Studio cannot be sent: LABEL_STUDIO_API_KEY {TOKEN_RULE}"
            )
        self._exchange = exchange
        self._lock = threading.Lock()
        self._access = ""
        self._usable_until = 0.0
        self._exchanging: Future[str] | None = None  # what will be the access token
        self.kind = kind_of(self._key)

    def header(self, deadline: Deadline | None = None) -> str:
        """Return the value of the Authorization header, "" without a token.

        Args:
            deadline: how long to wait for an exchange, which then goes on for those who ask next.
                Without one it takes as long as it may.

        Raises:
            LabelStudioError: if Label Studio does not exchange the personal access token.
            Exception: the deadline's own, if nobody waits any more.
        """
        if self.kind is TokenKind.NONE:
            return ""
        if self.kind is TokenKind.LEGACY:
            return f"Token {self._key}"
        if self.kind is TokenKind.ACCESS:
            return f"Bearer {self._key}"
        return f"Bearer {self._current(deadline)}"

    def forget(self, header: str) -> bool:
        """Drop an access token that was refused; return whether asking again may give another."""
        with self._lock:
            if self.kind is TokenKind.PERSONAL and header == f"Bearer {self._access}":
                self._access = ""
        return self.kind is TokenKind.PERSONAL

    def _current(self, deadline: Deadline | None) -> str:
        # One thread exchanges while all others wait for what it gets, be it a refusal: thirty that
        # each waited for a silent Label Studio, one after the other, would wait for minutes.
        with self._lock:
            if self._access and time.monotonic() < self._usable_until:
                return self._access
            exchanging = self._exchanging
            if exchanging is None:
                exchanging = self._exchanging = Future()
                arguments = (exchanging,)
                threading.Thread(target=self._exchange_key, args=arguments, daemon=True).start()
        while deadline is not None and not exchanging.done():
            wait([exchanging], timeout=deadline.remaining())
            deadline.check()
        return exchanging.result()

    def _exchange_key(self, result: "Future[str]") -> None:
        try:
            _refuse_expired(self._key)
            access = self._exchange(self._key)
        except Exception as error:
            with self._lock:
                self._exchanging = None
            result.set_exception(error)
            return
        with self._lock:
            self._access, self._exchanging = access, None
            self._usable_until = time.monotonic() + _lifetime(access) - MARGIN_SECONDS
        result.set_result(access)


def fits_a_header(token: str) -> bool:
    """Return whether a header can hold a token: requests quotes one that does not fit."""
    return token.isascii() and token.isprintable() and " " not in token


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
        day = datetime.fromtimestamp(expires, UTC).date()
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
