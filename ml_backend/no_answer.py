"""Why a server did not answer, in words that lead to what can be done about it."""

import requests


def reason(error: BaseException) -> str:
    """Return why no answer came, as a part of a sentence."""
    if not isinstance(error, requests.exceptions.SSLError):
        return type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "its certificate is not trusted here: give the file of the authority that signed it as "
            "REQUESTS_CA_BUNDLE"
        )
    return "it does not speak TLS there: is it http://, or another port?"
