"""Who may talk to this backend: everyone, or whoever knows the login (RFC 7617); and who does.

Label Studio sends the login with /health, /setup, /predict, /versions and "start training", but
not with the webhooks of annotations; those carry it only once the connection step has put the
header into the webhook (`authorization_header`).
"""

import base64
import binascii
import hmac

from flask import Flask, g, request

from ml_backend.errors import LoginError

REALM = 'Basic realm="iCMFormer backend", charset="UTF-8"'


def authorization_header(user: str, password: str) -> str:
    """Return the value of the Authorization header that `require_login` accepts."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def require_login(app: Flask, credentials: tuple[str, str] | None, public: frozenset[str]) -> None:
    """Refuse every request without the login, with LoginError.

    `flask.g.may_know` says from then on whether a request to a public endpoint carries it.

    Args:
        app: the application to protect.
        credentials: user and password; None leaves the application open.
        public: endpoints that anyone may ask, such as liveness.
    """
    if credentials is None:
        return
    expected = _encodings(":".join(credentials))

    @app.before_request
    def check() -> None:
        given = _login_of(request.headers.get("Authorization", ""))
        # Compared with all of them every time, so that the time taken tells nothing.
        known = [hmac.compare_digest(given, login) for login in expected]
        g.may_know = any(known)
        if request.endpoint not in public and not g.may_know:
            raise LoginError(
                "this backend asks for a login, which it has as BASIC_AUTH_USER and "
                "BASIC_AUTH_PASS; in Label Studio, choose Basic Authentication for the model and "
                "give it there"
            )


def who() -> str:
    """Return the name to write into the history: the login's, if there is one."""
    login = request.authorization
    return (login.username if login else None) or "somebody without a login"


def _encodings(login: str) -> list[bytes]:
    """Return the bytes a client may send: browsers use UTF-8; requests (Label Studio) Latin-1."""
    try:
        return [login.encode(), login.encode("latin-1")]
    except UnicodeEncodeError:
        return [login.encode()]


def _login_of(header: str) -> bytes:
    """Return "user:password" of a Basic header, nothing of any other."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
