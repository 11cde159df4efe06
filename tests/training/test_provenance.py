"""Where numbers come from, and what is not claimed."""

import shutil
import subprocess

import pytest

from training import __main__ as command_line
from training import provenance as module
from training.provenance import provenance


def test_numbers_know_where_they_come_from(monkeypatch):
    monkeypatch.setattr("sys.argv", [command_line.__file__, "cost", "a b"])
    where = provenance("cpu")

    assert where.command == "python -m training cost 'a b'"
    assert "cores" in where.hardware
    assert where.date.endswith("UTC")


@pytest.mark.parametrize(
    "arguments", [["/usr/lib/ipykernel_launcher.py", "-f", "kernel.json"], [""], []]
)
def test_no_command_is_made_up_where_none_was_run(monkeypatch, arguments):
    monkeypatch.setattr("sys.argv", arguments)

    assert provenance("cpu").command == "none, called from Python"


def git(folder, *arguments):
    names = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    done = subprocess.run(
        ["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_of_a_repository_around_an_installed_package_is_not_the_codes(
    monkeypatch, tmp_path
):
    installed = tmp_path / "theirs" / ".venv" / "training"
    installed.mkdir(parents=True)
    shutil.copy(module.__file__, installed / "provenance.py")
    git(tmp_path / "theirs", "init", "--quiet")
    git(tmp_path / "theirs", "commit", "--quiet", "--allow-empty", "--message", "theirs")
    monkeypatch.setattr(module, "__file__", str(installed / "provenance.py"))

    assert provenance("cpu").commit == "unknown"
    git(tmp_path / "theirs", "add", "--force", ".venv")
    git(tmp_path / "theirs", "commit", "--quiet", "--message", "vendored")
    assert provenance("cpu").commit == git(tmp_path / "theirs", "rev-parse", "HEAD")[:12]
