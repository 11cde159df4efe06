"""Command line of the backend: `python -m ml_backend COMMAND …`."""

import argparse
import importlib
import sys
from types import ModuleType

from ml_backend.errors import BackendError
from training import __version__
from training.exit_status import exit_status
from training.terminal import print_in_any_encoding

# Each is in a module of ml_backend.commands, with add_arguments(parser) and run(arguments), which
# returns the exit status.
COMMANDS = {
    "serve": ("serve", "answer Label Studio"),
    "demo": ("demo", "Label Studio and this backend, connected, with sample images"),
    "work": ("work", "learn from what annotators accept, in the background"),
    "fine-tune": ("fine_tune", "run a fine-tuning job here and now"),
    "versions": ("versions", "list model versions and what is live"),
    "promote": ("promote", "make a version live"),
    "rollback": ("live", "go back to the version that was live before"),
    "pin": ("live", "keep what is live until a person moves it"),
    "unpin": ("live", "let better candidates go live again"),
    "reconcile": ("reconcile", "compare samples with Label Studio"),
    "forget": ("forget", "delete everything that is kept of a project"),
    "sweep": ("sweep", "delete stored files that nothing needs any more"),
    "check-recipe": ("check_recipe", "say whether the jobs' recipe works"),
    "run-job": ("run_job", "what the worker starts for each job"),
    "latency": ("latency", "measure how long clicks and webhooks take on this machine"),
    "diagnose": ("diagnose", "check a connection to Label Studio, say what is wrong"),
}


def main() -> int:
    """Run the command that is asked for; return the exit status."""
    print_in_any_encoding()
    return exit_status(_run, BackendError)


def _run() -> int:
    parser = argparse.ArgumentParser(prog="python -m ml_backend", description=__doc__)
    parser.add_argument("--version", action="version", version=f"iCMFormer backend {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        # Only the module of the command that runs is imported: some are slow to import.
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in sys.argv[1:2]:
            _module(name).add_arguments(subparser)
    arguments = parser.parse_args()
    status: int = _module(arguments.command).run(arguments)
    return status


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"ml_backend.commands.{COMMANDS[command][0]}")


if __name__ == "__main__":
    sys.exit(main())
