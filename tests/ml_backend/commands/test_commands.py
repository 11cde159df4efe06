"""Commands for administrators: what they refuse, and how they print."""

import argparse
import contextlib
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from ml_backend.__main__ import main
from ml_backend.app import create_app
from ml_backend.commands import demo, diagnose, latency
from ml_backend.learning.job_folders import JobFolders
from ml_backend.learning.projects import ProjectNews
from tests.locking import locked_by_another_process
from tests.lost_output import printed_into_a_broken_pipe, printed_to_a_full_disk
from training.home_paths import given_path
from training.store.live_pointer import Mover
from training.store.model_versions import Candidate
from training.store.sweep import sweep
from training.store.version_decisions import choose, decline

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(settings, monkeypatch, capsys):
    monkeypatch.setenv("MODEL_DIR", str(settings.model_dir))
    monkeypatch.setenv("ICMFORMER_CHECKPOINT", str(settings.checkpoint))

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ml_backend", *arguments])
        status = main()
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def project(learning):
    """A project whose title no Latin letters can write, and whose Label Studio is away."""
    learning.projects.remember("3.170000", ProjectNews("点击 “masks”", "", "http://127.0.0.1:9"))


def as_a_program(settings, *arguments):
    environment = {"MODEL_DIR": str(settings.model_dir), "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("projects",), ("versions",), ("promote", "1"), ("rollback",), ("pin",), ("unpin",),
        ("sweep",), ("forget", "--project", "3"), ("fine-tune", "--project", "3"), ("reconcile",),
        ("run-job", "1", "w", "2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("database", ["", "sqlite:///{}/state.db"], ids=["here", "elsewhere"])
def test_a_forgotten_model_dir_is_refused_and_not_made(
    command, settings, tmp_path, monkeypatch, database, arguments
):
    monkeypatch.setenv("ICMFORMER_DATABASE_URL", database.format(tmp_path))
    status, out, err = command(*arguments)
    assert (status, out) == (1, "")
    assert f"MODEL_DIR {settings.model_dir} holds nothing that serve or work has kept" in err
    assert not settings.model_dir.exists()


@pytest.mark.usefixtures("project")
def test_a_terminal_that_lacks_letters_shows_question_marks(settings):
    done = as_a_program(settings, "forget", "--project", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("project 3 (?? ?masks?): ")


def test_such_a_terminal_shows_the_help_as_well(settings):
    done = as_a_program(settings, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "COMMAND ?" in done.stdout


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_is_lost_is_no_trace(settings, monkeypatch, unbuffered):
    monkeypatch.setenv("MODEL_DIR", str(settings.model_dir))
    done = printed_into_a_broken_pipe("ml_backend", "versions", unbuffered=unbuffered)
    assert done == (141, "")
    done = printed_to_a_full_disk("ml_backend", "versions", unbuffered=unbuffered)
    assert done == (1, "No space left on device\n")


def test_a_folder_that_cannot_be_made_is_named(command, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = command(
        "demo", "--data-dir", str(tmp_path / "file" / "demo"), "--label-studio", sys.executable
    )
    assert (status, err) == (1, f"{tmp_path / 'file' / 'demo'}: Not a directory\n")


def test_a_demo_without_label_studio_says_so_before_it_makes_anything(
    command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, _, err = command("demo")
    assert status == 1
    assert "make install" in err
    assert "--label-studio" in err
    assert list(tmp_path.iterdir()) == []


def test_a_demo_whose_data_another_one_uses_is_refused(command, tmp_path):
    with locked_by_another_process(tmp_path):
        status, _, err = command(
            "demo", "--data-dir", str(tmp_path), "--label-studio", sys.executable
        )
    assert status == 1
    assert err.startswith(f"A demo already runs with the data in {tmp_path}: stop it")


def test_other_users_cannot_look_into_the_folder_that_a_demo_makes(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = command(
            *("demo", "--data-dir", str(tmp_path / "demo")),
            *("--label-studio-port", port, "--label-studio", sys.executable),
        )
    assert status == 1
    assert port in err
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


def test_ctrl_c_is_a_word(command, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnose, "check_connection", interrupt)
    status, _, err = command("diagnose", "--project", "1", "--url", "http://127.0.0.1:9")
    assert (status, err) == (130, "interrupted\n")


@pytest.mark.usefixtures("project")
def test_a_job_that_is_interrupted_before_it_listens_is_given_back(command, learning, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(JobFolders, "make", interrupt)
    status, out, err = command("fine-tune", "--project", "3")
    assert (status, out) == (130, "")
    assert err == "job 1: stopped; the worker, or this command, will continue it\n"
    row = learning.jobs.get(1)
    assert (row.state, row.attempts) == ("waiting", 0)


@pytest.mark.usefixtures("project")
def test_a_job_that_runs_elsewhere_is_not_run_again_with_the_same_masks(command, learning):
    learning.jobs.request("3.170000", "Start training")
    learning.jobs.claim("worker")
    status, _, err = command("fine-tune", "--project", "3")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("job 1 of this project is running already, and nothing is new since it")
    assert len(learning.jobs.of_project("3.170000")) == 1


@pytest.mark.parametrize("command", [demo, latency])
def test_a_tilde_in_an_option_is_the_home_folder(monkeypatch, command):
    monkeypatch.setenv("HOME", "/home/ann")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    paths = [option for option in parser._actions if option.type in (Path, given_path)]
    assert paths
    assert [str(option.type("~/data")) for option in paths] == ["/home/ann/data"] * len(paths)


@pytest.mark.parametrize("port", ["0", "65536", "80800", "-1", "http"])
def test_a_port_that_no_computer_has_is_refused(command, capsys, port):
    with pytest.raises(SystemExit):
        command("demo", "--label-studio-port", port)
    assert "from 1 to 65535" in capsys.readouterr().err


@pytest.mark.usefixtures("project")
def test_versions_say_that_their_moments_are_utc(command, learning):
    _, out, _ = command("versions")
    made = learning.stores.versions.get(1).created_at
    assert f"  {made:%Y-%m-%d %H:%M}Z  " in out


@pytest.mark.usefixtures("learning")
def test_versions_are_told_while_another_process_writes(command, settings):
    with contextlib.ExitStack() as others:
        for name in ("state.db", "inbox.db"):
            other = sqlite3.connect(settings.model_dir / name, isolation_level=None)
            others.enter_context(contextlib.closing(other)).execute("BEGIN IMMEDIATE")
        status, out, _ = command("versions")
    assert status == 0
    assert "live" in out


@pytest.mark.usefixtures("project")
def test_versions_say_whose_weights_were_deleted(command, learning):
    versions = learning.stores.versions
    for origin in ("job 1", "job 2"):
        versions.publish(
            Candidate(origin, versions.checkpoint(1), project="3.170000", parent=1, verdict="keep")
        )
    sweep(learning.stores, newest_versions=1)
    _, out, _ = command("versions")
    lines = {line.split()[0]: line for line in out.splitlines()}
    marked = [
        number for number, line in lines.items() if line.endswith("not compared; weights deleted")
    ]
    assert marked == ["2"], out


@pytest.mark.usefixtures("project")
def test_versions_say_of_one_that_is_as_good_that_nothing_changed(command, learning):
    versions = learning.stores.versions
    same = {"held_out": {"live": 5.0, "candidate": 5.0, "share": 0.0004}}
    versions.publish(
        Candidate("job 1", versions.checkpoint(1), project="3.170000", parent=1, scores=same)
    )
    assert "5.00 to 5.00 clicks (+0.0%)" in command("versions")[1]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("reason", "words"),
    [(501 * "a", "has more than 500 letters"), ("\udcff", "is not valid Unicode")],
)
def test_a_reason_is_refused_by_command_as_over_rest(command, learning, reason, words):
    status, out, err = command("pin", "--reason", reason)
    assert (status, out, err) == (1, "", f'"reason" {words}\n')
    assert not learning.stores.versions.live("").pinned


@pytest.mark.usefixtures("project")
def test_commands_tell_what_waits_for_a_decision(command, learning):
    assert command("projects")[1].startswith("   3  点击 “masks”: 0 masks, serves ")
    assert "nothing waits for you" in command("projects")[1]
    versions = learning.stores.versions
    asked = {"parent": 1, "verdict": "ask", "scores": {"compared_with": 1}}
    for origin in ("job 1", "job 2"):
        versions.publish(Candidate(origin, versions.checkpoint(1), project="3.170000", **asked))
    told = command("projects")[1]
    assert "; version 3 waits for a decision; version 2 waits for a decision\n" in told
    assert command("versions")[1].count("; waits for a decision\n") == 2
    mover = Mover("ann", "")
    versions.move(partial(decline, project="3.170000", number=3, mover=mover))
    versions.move(partial(choose, project="3.170000", number=2, mover=mover))
    learning.projects.not_reconciled(learning.projects.named("3"), "deleted", is_gone=True)
    job = learning.jobs.request("3.170000", "asked")
    learning.jobs.claim("w", job)
    learning.jobs.fail(job, "w", "the disk is full")
    told = command("projects")[1]
    assert "; job 1 failed: the disk is full; Label Studio has it no more" in told
    assert "waits for a decision" not in told + command("versions")[1]


@pytest.mark.usefixtures("project")
def test_scripts_are_told_the_same_as_over_rest(command, settings):
    client = create_app(settings).test_client()
    for arguments, path in (
        (("projects",), "/api/projects"),
        (("versions", "--project", "3"), "/api/projects/3/versions"),
    ):
        status, out, _ = command(*arguments, "--json")
        assert (status, json.loads(out)) == (0, client.get(path).json)


@pytest.mark.usefixtures("project")
def test_a_comparison_is_told_once(command):
    status, out, err = command("reconcile")
    assert status == 1
    assert out.count("not compared") == 1
    assert "not compared" not in err
    status, out, err = command("reconcile", "--project", "")
    assert (status, out) == (1, ""), "a variable of a script that is not set"
    assert "has never been seen here" in err


def test_a_command_that_is_refused_closes_the_databases(command, learning, settings):
    learning.close()
    status, _, refused = command("versions", "--project", "77")
    assert (status, refused) == (1, "project 77 has never been seen here\n")
    opened = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in opened if path.startswith(str(settings.model_dir))]
