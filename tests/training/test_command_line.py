"""What the commands have in common."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.lost_output import printed_into_a_broken_pipe, printed_to_a_full_disk
from tests.training.shapes_recipe import a_recipe
from training import __main__ as command_line
from training import __version__
from training.__main__ import PROGRAM
from training.command_line import Program
from training.commands import learning_curve
from training.home_paths import given_path

ROOT = Path(__file__).parents[2]


def test_the_help_lists_the_commands_without_waiting_for_torch():
    command = [sys.executable, "-X", "importtime", "-m", "training", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert all(name in said.stdout for name in PROGRAM.commands)
    assert "torch" not in said.stderr


@pytest.mark.parametrize("package", ["training", "ml_backend"])
def test_each_program_tells_its_version(package):
    command = [sys.executable, "-m", package, "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == f"{package} {__version__}\n"


def test_a_terminal_that_lacks_letters_shows_question_marks():
    command = [sys.executable, "-m", "training", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    said = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (said.returncode, said.stderr) == (0, "")
    assert "COMMAND ?" in said.stdout


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(28, "No space left on device", "/data/state"), 1, "/data/state: No space left"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (OSError("it has gone"), 1, "it has gone"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (torch.OutOfMemoryError("CUDA out of memory."), 1, "the GPU has too little memory: keep"),
    ],
)
def test_what_is_no_fault_of_the_program_is_a_sentence(
    monkeypatch, capsys, error, status, sentence
):
    def fail(arguments):
        raise error

    monkeypatch.setattr(learning_curve, "run", fail)
    command = ["learning-curve", "--checkpoint", "a", "--domain", "b", "--output", "c"]
    monkeypatch.setattr("sys.argv", ["training", *command])

    assert command_line.main() == status
    assert capsys.readouterr().err.startswith(sentence)


def test_a_missing_recipe_is_named_without_what_may_be_left_out(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "train"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert capsys.readouterr().err.endswith("arguments are required: recipe\n")


@pytest.mark.parametrize(
    ("package", "command", "library", "advice"),
    [
        (
            "training",
            "convert-coco-lvis",
            "pydantic",
            "pip install 'PATH/TO/THE/PROJECT[training]'",
        ),
        (
            "ml_backend",
            "serve",
            "pydantic_settings",
            "folder: uv pip install '.[training,backend]'",
        ),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_extra_that_has_it(
    package, command, library, advice
):
    hidden = f"import sys; sys.modules[{library!r}] = None; from {package}.__main__ import main"
    program = [sys.executable, "-c", f"{hidden}; sys.exit(main())", command, "--help"]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)

    assert said.returncode == 1
    assert said.stderr.startswith(
        f"{library} is not installed: install this project with its extra"
    )
    assert said.stderr.endswith(f"{advice}\n")


@pytest.mark.parametrize("missing", ["of_a_test.absent", "numpy.absent", "winreg"])
def test_a_part_that_is_missing_is_an_error_of_our_own(tmp_path, monkeypatch, missing):
    commands = tmp_path / "of_a_test" / "commands"
    commands.mkdir(parents=True)
    (commands / "run.py").write_text(f"import {missing}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.argv", ["of_a_test", "run"])

    with pytest.raises(ModuleNotFoundError, match=missing):
        Program("of_a_test", "", {"run": ""}, "install it").main()


def test_output_that_nobody_reads_ends_a_command_quietly():
    done = printed_into_a_broken_pipe("training", "--help", unbuffered="")
    assert done == (141, "")


def test_output_that_cannot_be_written_is_a_sentence():
    done = printed_to_a_full_disk("training", "--help", unbuffered="")
    assert done == (1, "No space left on device\n")


def test_a_run_folder_that_cannot_be_made_is_named(shapes, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    recipe = command_line_recipe(shapes, tmp_path)
    arguments = ["train", str(recipe), f"run={tmp_path / 'file' / 'run'}"]
    monkeypatch.setattr("sys.argv", ["training", *arguments])

    assert command_line.main() == 1
    assert capsys.readouterr().err == f"{tmp_path / 'file' / 'run'}: Not a directory\n"


@pytest.mark.parametrize("command", PROGRAM.commands)
def test_a_tilde_in_an_argument_is_the_home_folder(monkeypatch, command):
    """`--data=~/photos` reaches the program as it is written."""
    monkeypatch.setenv("HOME", "/home/ann")
    parser = argparse.ArgumentParser()
    PROGRAM.module(command).add_arguments(parser)

    paths = [option for option in parser._actions if option.type in (Path, given_path)]

    assert [str(option.type("~/data")) for option in paths] == ["/home/ann/data"] * len(paths)
    assert paths or command == "cost"


def test_the_home_folder_of_nobody_is_an_impossible_argument(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "benchmark", "--output=~nobody-here/x"])

    with pytest.raises(SystemExit):
        command_line.main()

    assert "~nobody-here/x" in capsys.readouterr().err


def command_line_recipe(shapes, folder):
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(a_recipe(shapes, folder / "run").model_dump(mode="json")))
    return file
