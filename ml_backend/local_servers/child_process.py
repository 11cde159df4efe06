"""A program that a command starts, watches and stops, together with everything it started."""

import fcntl
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from ml_backend.errors import LocalServerError
from ml_backend.settings import child_environment

# A company's proxy must not stand between programs of this machine that ask each other.
PAST_PROXIES = {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_LAST_WORDS = 15  # lines


class ChildProcess:
    """One running program in a process group of its own, writing into its own log file.

    Beside the log, a file named .pid holds its process id. It is locked for as long as the program
    runs, and with it what it forked, even where who started it is killed; see `left_running`.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """Start `command`.

        Args:
            name: what messages call the program.
            command: program and arguments.
            environment: variables on top of those of this process.
            log: file that receives the output; a former one is replaced.

        Raises:
            LocalServerError: the program does not exist or may not be run.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("wb") as output, log.with_suffix(".pid").open("wb", 0) as lock:
                with suppress(OSError):  # a file system that knows no locks
                    # Unlike lockf, the program inherits it.
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._process = subprocess.Popen(
                    list(command),
                    env=child_environment(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # its own group: Ctrl-C reaches only the command, which then stops everything
                    # in order, and stopping the group also reaches the workers of the program
                    start_new_session=True,
                    pass_fds=(lock.fileno(),),
                )
                with suppress(OSError):  # a full disk; the program runs
                    lock.write(str(self._process.pid).encode())
        except OSError as error:
            raise LocalServerError(f"{name} cannot be started: {error}") from error

    @property
    def running(self) -> bool:
        """Whether the program is still there."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once `ready()` is true.

        Raises:
            LocalServerError: the program ended first, or `seconds` passed.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise LocalServerError(f"{self.name} ended while starting. {self._last_words()}")
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"{self.name} did not answer within {seconds:.0f} s. {self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise LocalServerError if the program has ended by itself."""
        if not self.running:
            code = self._process.returncode
            raise LocalServerError(f"{self.name} ended with status {code}. {self._last_words()}")

    def stop(self) -> None:
        """End the program and all it started: politely first, by force after the grace."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        # what is still in the group outlived its leader
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _last_words(self) -> str:
        with self.log.open(errors="replace") as text:
            tail = "".join(deque(text, maxlen=_LAST_WORDS)).rstrip()
        return f"The end of {self.log}:\n{tail}"


def left_running(folder: Path) -> dict[str, str]:
    """Return the process ids of programs that still run, by the names of their logs.

    Args:
        folder: where the logs are; nobody starts a program there meanwhile, so that what runs was
            left by a command that was killed.
    """
    found = {}
    for path in sorted(folder.glob("*.pid")):
        with path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found[path.stem] = lock.read() or "?"
            except OSError:
                continue  # a file system that knows no locks
    return found


def direct_session() -> requests.Session:
    """Return a session for programs of this machine, whatever proxy the environment names."""
    session = requests.Session()
    session.trust_env = False
    return session


def answers(address: str, timeout: float) -> bool:
    """Return whether a program of this machine says at an address that all is well.

    Args:
        address: is asked directly, whatever proxy the environment names.
        timeout: seconds to wait for the answer.
    """
    with direct_session() as session:
        try:
            return session.get(address, timeout=timeout).ok
        except requests.RequestException:
            return False
