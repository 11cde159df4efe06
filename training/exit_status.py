"""How a command ends: with an exit status, and a sentence where others have a trace."""

import os
import select
import signal
import sys
from collections.abc import Callable

from training.errors import TrainingError

# Both as a shell says it of a program that the signal ended.
INTERRUPTED = 128 + signal.SIGINT
UNREAD = 128 + signal.SIGPIPE
_NO_MEMORY = (
    "the GPU has too little memory: keep other programs off it, or compute less at once: `train` "
    "goes on with a higher optimization.accumulate, `learning-curve` takes a recipe with a smaller "
    "batch_size"
)


def exit_status(command: Callable[[], int], *errors: type[Exception]) -> int:
    """Run a command; return its exit status, or that of what went wrong, which is said.

    A command that has more to say than that it was interrupted raises KeyboardInterrupt with it.

    Args:
        command: what was asked for.
        errors: what it raises on purpose, besides the errors of this package and of icmformer.
    """
    expected: tuple[type[Exception], ...] = (TrainingError, *errors)
    try:
        return _printed(command)
    except expected as error:
        return _said(str(error), 1)
    except OSError as error:
        # A folder that cannot be written, a full disk: what is at fault here is not the program.
        is_unread = isinstance(error, BrokenPipeError) and _nobody_reads()
        _forget_what_is_unprinted()
        return UNREAD if is_unread else _said(_in_a_sentence(error), 1)
    except KeyboardInterrupt as interruption:
        return _said(str(interruption) or "interrupted", INTERRUPTED)
    except Exception as error:
        sentence = _of_the_network(error)
        if sentence is None:
            raise
        return _said(sentence, 1)


def _printed(command: Callable[[], int]) -> int:
    """Run a command, and notice whether all that it prints has arrived."""
    try:
        return command()
    finally:
        _flush()


def _forget_what_is_unprinted() -> None:
    """Drop what cannot be printed: Python would try once more when it ends, and complain."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nobody_reads() -> bool:
    """Whether what is printed goes into a pipe that was closed, as in `versions | head -1`.

    A process of ours that died breaks a pipe as well.
    """
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return bool(output.poll(0))


def _flush() -> None:
    if sys.stdout is not None:  # which may be closed from the beginning
        sys.stdout.flush()


def _said(sentence: str, status: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return status


def _in_a_sentence(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _of_the_network(error: Exception) -> str | None:
    # Importing it imports torch, which takes seconds, and which many commands do without.
    from icmformer.devices import is_out_of_memory
    from icmformer.errors import ICMFormerError

    if isinstance(error, ICMFormerError):
        return str(error)
    return _NO_MEMORY if is_out_of_memory(error) else None
