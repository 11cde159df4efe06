"""Command line of the backend: `python -m ml_backend COMMAND …`."""

import argparse
import importlib
import sys

from ml_backend.errors import BackendError
from training import __version__
from training.errors import TrainingError
from training.terminal import print_in_any_encoding

# Each module has add_arguments(parser) and run(arguments), which returns the exit status.
COMMANDS = {
    "serve": ("ml_backend.serve", "answer Label Studio"),
    "demo": ("ml_backend.demo", "Label Studio and this backend, connected, with sample images"),
    "work": ("ml_backend.work", "learn from what annotators accept, in the background"),
    "fine-tune": ("ml_backend.commands.fine_tune", "run a fine-tuning job here and now"),
    "versions": ("ml_backend.commands.versions", "list model versions and what is live"),
    "promote": ("ml_backend.commands.promote", "make a version live"),
    "rollback": ("ml_backend.commands.live", "go back to the version that was live before"),
    "pin": ("ml_backend.commands.live", "keep what is live until a person moves it"),
    "unpin": ("ml_backend.commands.live", "let better candidates go live again"),
    "reconcile": ("ml_backend.commands.reconcile", "compare samples with Label Studio"),
    "forget": ("ml_backend.commands.forget", "delete everything that is kept of a project"),
    "sweep": ("ml_backend.commands.sweep", "delete stored files that nothing needs any more"),
    "check-recipe": ("ml_backend.commands.check_recipe", "say whether the jobs' recipe works"),
    "run-job": ("ml_backend.run_job", "what the worker starts for each job"),
    "latency": ("ml_backend.latency", "measure how long clicks and webhooks take on this machine"),
    "diagnose": ("ml_backend.diagnose", "check a connection to Label Studio, say what is wrong"),
}


def main() -> int:
    """Run the command that is asked for; return the exit status."""
    print_in_any_encoding()
    parser = argparse.ArgumentParser(prog="python -m ml_backend", description=__doc__)
    parser.add_argument("--version", action="version", version=f"iCMFormer backend {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        # Only the module of the command that runs is imported: some are slow to import.
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in sys.argv[1:2]:
            importlib.import_module(module).add_arguments(subparser)
    arguments = parser.parse_args()
    try:
        status: int = importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
    except (BackendError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    except _error_of_the_network() as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _error_of_the_network() -> type[Exception]:
    # Importing it imports torch, which most commands do without.
    from icmformer.errors import ICMFormerError

    return ICMFormerError


if __name__ == "__main__":
    sys.exit(main())
