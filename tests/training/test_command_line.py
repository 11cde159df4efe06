"""What the commands have in common."""

import subprocess
import sys
from pathlib import Path

from training.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_help_lists_the_commands_without_waiting_for_torch():
    command = [sys.executable, "-X", "importtime", "-m", "training", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert all(name in said.stdout for name in COMMANDS)
    assert "torch" not in said.stderr
