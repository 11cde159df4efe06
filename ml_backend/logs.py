"""How log lines look; called by entry points only, never by an import."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def write_logs(level: str) -> None:
    """Send every record to standard error, one event a line.

    Args:
        level: of our own records. Libraries stay at WARNING: label-studio-ml would log whole
            requests, tokens included, at DEBUG.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("ml_backend", "training", "icmformer"):
        logging.getLogger(package).setLevel(level)
