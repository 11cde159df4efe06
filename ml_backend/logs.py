"""How log lines look; called by entry points only, never by an import."""

import logging
import re
import sys
import time

from ml_backend.short_text import shortened

LONGEST_LINE = 2000
PACKAGES = ("ml_backend", "training", "icmformer")
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# What begins a line, or steers the terminal that shows it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class OneLine(logging.Formatter):
    """Cuts long lines, and writes control characters as escapes: labels come from outside.

    Moments are in UTC, as on the pages.
    """

    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; the trace of an unforeseen error, which follows, keeps its own."""
        return _CONTROLS.sub(_escape, shortened(super().formatMessage(record), LONGEST_LINE))


def _escape(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()


def write_logs(level: str) -> None:
    """Send every record to standard error, one event a line.

    Args:
        level: of our own records. Libraries stay at WARNING: label-studio-ml would log whole
            requests, tokens included, at DEBUG; urllib3 at ERROR: it would warn of odd headers with
            the whole address, signature included, and what matters our own errors say.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
