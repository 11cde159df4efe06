"""Every failure becomes one sentence; stack traces go to the log and nowhere else.

The sentence is JSON, and a page where people are.

Label Studio shows an administrator nothing of a failed answer but the reason phrase of its status
line ("Reason: 422 Client Error: <phrase> for url …"), so the sentence is sent there as well.
"""

import logging
import re

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from icmformer.errors import ICMFormerError
from ml_backend.auth import REALM
from ml_backend.errors import UNFORESEEN, BackendError, LoginError
from ml_backend.metrics import Metrics
from ml_backend.web.rendered_pages import PAGES, rendered
from training.errors import DatabaseError, FileStoreError, OvertakenError, TrainingError

logger = logging.getLogger(__name__)

LONGEST_REASON = 500
# Whoever reaches this address, logged in or not, may cause these: they say nothing of the backend.
_ANYBODYS = (401, 404)
_UNSPEAKABLE = re.compile(r"[^\x20-\x7e\xa0-\xff]")


def answer_errors(app: Flask, metrics: Metrics) -> None:
    """Install the handlers that turn exceptions into answers."""

    @app.errorhandler(BackendError)
    @app.errorhandler(TrainingError)
    @app.errorhandler(ICMFormerError)
    def ours(error: Exception) -> Response:
        status = status_of(error)
        # Of two who decide at a time, one is meant to be refused.
        if status not in _ANYBODYS and not isinstance(error, OvertakenError):
            metrics.errors.labels(type(error).__name__).inc()
        logger.warning("%s: %s", _refused(), error)
        answer = _answer(status, str(error))
        if isinstance(error, LoginError):
            answer.headers["WWW-Authenticate"] = REALM
        return answer

    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> Response:
        sentence = error.description or error.name
        if isinstance(error, RequestEntityTooLarge):  # the one that real annotators may meet
            sentence = refusal_of_size(error, metrics)
        return _answer_of_http(error, sentence)

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        metrics.errors.labels("unforeseen").inc()
        logger.exception("unforeseen %s", type(error).__name__)
        return _answer(500, UNFORESEEN)


def refusal_of_size(error: RequestEntityTooLarge, metrics: Metrics) -> str:
    """Count and log a body that is too large; return the sentence."""
    most = current_app.config["MAX_CONTENT_LENGTH"] >> 20
    sentence = f"the request body is larger than {most} MB (ICMFORMER_MAX_BODY_MB)"
    metrics.errors.labels(type(error).__name__).inc()
    logger.warning("%s: %s", _refused(), sentence)
    return sentence


def _refused() -> str:
    """Say what was refused to whom, for the log."""
    return f"refused {request.method} {request.path} to {request.remote_addr}"


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error that one of the three packages raised on purpose."""
    if isinstance(error, BackendError):
        return error.status
    if isinstance(error, (DatabaseError, FileStoreError)):  # they come back
        return 503
    return 422 if isinstance(error, ICMFormerError) else 409


def _answer_of_http(error: HTTPException, sentence: str) -> Response:
    answer = _answer(error.code or 500, sentence)
    # Werkzeug knows which methods are allowed, and the like.
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _answer(status: int, sentence: str) -> Response:
    if request.path == "/" or f"{request.path}/".startswith(f"{PAGES}/"):
        response = rendered("refused.html", sentence=sentence)
    else:
        response = jsonify(error=sentence)
    # The protocol allows no line breaks and only what is printed of Latin-1 there.
    words = " ".join(sentence.split())[:LONGEST_REASON]
    response.status = f"{status} {_UNSPEAKABLE.sub('?', words)}"
    return response
