"""Only our own pages ask for changes, no frame shows them, and redirects stay at their site.

Nothing of an answer stays in a browser or a proxy.
"""

from urllib.parse import urlsplit

from flask import Response, request

from ml_backend.errors import ForeignSiteError


def refuse_other_sites() -> None:
    """Refuse changes that another site asks for with a visitor's browser and login.

    Raises:
        ForeignSiteError: if the browser says so. Programs say nothing and may pass.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    said = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign = said not in ("same-origin", "none") if said else False
    if not said and origin:
        foreign = _host(origin) != request.host
    if foreign:
        raise ForeignSiteError(
            "this was asked for by another site's page, and is not done; if it was this page, the "
            "proxy in front of it must pass the Host header on (docs/deployment.md)"
        )


def _host(origin: str) -> str | None:
    """Return host and port of an Origin header, None if it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def refuse_frames(response: Response) -> Response:
    """Keep our pages out of other sites' frames, where a visitor could be led to press a button."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        response.headers["X-Frame-Options"] = "DENY"
    return response


def keep_nothing(response: Response) -> Response:
    """Let no browser and no proxy keep what was annotated: others may use it after the visitor."""
    response.headers["Cache-Control"] = "no-store"
    return response


def redirect_to_paths(response: Response) -> Response:
    """Cut scheme and host off where a redirect leads.

    A proxy that ends TLS is asked for https and asks us for http: an address with that scheme would
    lead people past it.
    """
    if response.location is not None:
        whole = urlsplit(response.location)
        response.location = whole._replace(scheme="", netloc="").geturl()
    return response
