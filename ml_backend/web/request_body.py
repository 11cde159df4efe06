"""The body of a request, all of it or none."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


def request_body() -> bytes:
    """Return the body.

    Raises:
        RequestEntityTooLarge: if it is larger than allowed. Of one that comes in chunks nobody
            knows the size before, and Werkzeug ends it at the limit as if there were no more.
    """
    body = request.get_data()
    if request.content_length is None and len(body) == request.max_content_length:
        raise RequestEntityTooLarge
    return body
