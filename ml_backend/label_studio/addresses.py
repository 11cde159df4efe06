"""Addresses of http and https: where a connection goes, and what of them may be shown."""

from urllib3.util import parse_url

ADDRESS_RULE = "must be http:// or https://, a host, and a port up to 65535 if it needs one"


def origin(address: str) -> tuple[str, str, int] | None:
    r"""Return scheme, host and port of an http(s) address, None of anything else.

    They say where a connection goes, for which urllib3 reads the address: of `http://one\@other/`
    it takes the first host, Python's own parser the second.
    """
    try:
        parts = parse_url(address)
        scheme = parts.scheme or ""
        usual = {"http": 80, "https": 443}[scheme]
    except (KeyError, ValueError):
        return None
    return (scheme, parts.host, parts.port or usual) if parts.host else None


def shown_origin(address: str) -> str:
    """Return what of an http(s) address may stand in a log: logins and paths may be secret."""
    found = origin(address)
    return f"{found[0]}://{found[1]}:{found[2]}" if found else "no address"
