"""Why a server did not answer, in words that lead to what can be done about it."""

import requests
from urllib3.exceptions import MaxRetryError

_OF_TLS = {
    "mismatch": "its certificate is for another name: use that one in the address",
    "expired": "its certificate has expired",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here: give the file of the "
    "authority that signed it as REQUESTS_CA_BUNDLE",
    "WRONG_VERSION_NUMBER": "it does not speak TLS there: is it http://, or another port?",
}


def reason(error: BaseException) -> str:
    """Return why no answer came, as a part of a sentence."""
    said = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        known = [words for sign, words in _OF_TLS.items() if sign in said]
        return known[0] if known else f"TLS fails{_cause(error)}"
    # What requests raises for a file of certificates that is not there.
    if "CA certificate bundle" in said:
        return f"{said} (REQUESTS_CA_BUNDLE)"
    return type(error).__name__


def _cause(error: requests.exceptions.SSLError) -> str:
    """Return what went wrong without the address around it, whose query may be a signature."""
    cause = error.args[0] if error.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    return f": {cause}" if cause else ""
