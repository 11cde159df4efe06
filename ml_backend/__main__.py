"""Command line of the backend: `python -m ml_backend COMMAND …`."""

import sys

from ml_backend.errors import BackendError
from training.command_line import Program

PROGRAM = Program(
    "ml_backend",
    __doc__,
    {
        "serve": "answer Label Studio",
        "demo": "Label Studio and this backend, connected, with sample images",
        "work": "learn from what annotators accept, in the background",
        "fine-tune": "run a fine-tuning job here and now",
        "projects": "list projects and what waits for a person",
        "versions": "list model versions and what is live",
        "promote": "make a version live",
        "rollback": "go back to the version that was live before",
        "pin": "keep what is live until a person moves it",
        "unpin": "let better candidates go live again",
        "reconcile": "compare samples with Label Studio",
        "forget": "delete everything that is kept of a project",
        "sweep": "delete stored files that nothing needs any more",
        "check-recipe": "say whether the jobs' recipe works",
        "run-job": "what the worker starts for each job",
        "latency": "measure how long clicks and webhooks take on this machine",
        "diagnose": "check a connection to Label Studio, say what is wrong",
    },
    # pip finds no Flask, see pyproject.toml
    "install this project with its extras, in its folder: uv pip install '.[training,backend]'",
    modules={"rollback": "live", "pin": "live", "unpin": "live"},
    errors=(BackendError,),
)


def main() -> int:
    """Run the command that is asked for; return the exit status."""
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
