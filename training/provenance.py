"""The birth certificate of a number: command, commit, hardware, date."""

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from.

    Attributes:
        command: that made them; it says so where none did, as in a notebook.
        commit: of the code, marked if files were changed since; "unknown" outside a checkout.
        hardware: processor and, where used, GPU.
        software: versions that matter.
        date: in UTC, to the minute.
    """

    command: str
    commit: str
    hardware: str
    software: str
    date: str

    def place(self) -> str:
        """Return where and when in one line, without the command."""
        return f"commit {self.commit}, {self.hardware}, {self.software}, {self.date.split()[0]}"


def provenance(device: str) -> Provenance:
    """Describe this process.

    Args:
        device: on which it computes, such as "cpu" or "cuda".
    """
    return Provenance(
        command=_command(),
        commit=_commit(),
        hardware=_hardware(device),
        software=f"Python {platform.python_version()}, PyTorch {torch.__version__}",
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _command() -> str:
    program, *arguments = sys.argv or [""]
    if Path(program).resolve() != Path(__file__).with_name("__main__.py").resolve():
        return "none, called from Python"
    return shlex.join(["python", "-m", "training", *arguments])


def _commit() -> str:
    try:
        # An installed package may lie within the repository of somebody else.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def _hardware(device: str) -> str:
    cores = f"{os.cpu_count()} cores of {_processor()}"
    if torch.device(device).type != "cuda":
        return cores
    return f"{torch.cuda.get_device_name(device)}; {cores}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
