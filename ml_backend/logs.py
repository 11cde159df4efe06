"""How log lines look; called by entry points only, never by an import."""

import logging
import sys
import time

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class OneLine(logging.Formatter):
    """Writes line breaks in a message as two letters: labels and addresses come from outside.

    Moments are in UTC, as on the pages.
    """

    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; the trace of an unforeseen error, which follows, keeps its own."""
        return super().formatMessage(record).replace("\r", r"\r").replace("\n", r"\n")


def write_logs(level: str) -> None:
    """Send every record to standard error, one event a line.

    Args:
        level: of our own records. Libraries stay at WARNING: label-studio-ml would log whole
            requests, tokens included, at DEBUG.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("ml_backend", "training", "icmformer"):
        logging.getLogger(package).setLevel(level)
