"""A Label Studio with this backend already connected, on one machine, with one command."""

from ml_backend.demo.session import add_arguments, run

__all__ = ["add_arguments", "run"]
