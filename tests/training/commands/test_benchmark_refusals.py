"""What the benchmark command refuses, and says before anything is measured."""

import re

import pytest

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from training import __main__ as command_line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["GrabCut"], "give --checkpoint, --baseline, or both"),
        (["Berkeley", "--baseline", "grabcut"], "expected 100 images in .*Berkeley"),
        (["--checkpoint", "missing.safetensors"], "missing.safetensors: cannot be read"),
        (["--checkpoint", "a.onnx", "GrabCut"], "a.onnx is no file of weights, .* how other"),
        (
            ["--checkpoint", "a.pth", "b.pth"],
            "b.pth is no data set: write --checkpoint before each",
        ),
        (
            ["--as-served", "--checkpoint", "a.pth", "--checkpoint", "a as served.pth"],
            "two rows would be called 'a as served': rename the file of one",
        ),
    ],
)
def test_what_cannot_be_run_is_answered_with_a_sentence(
    data, tmp_path, monkeypatch, capsys, arguments, sentence
):
    command = ["--data", str(data), "--output", str(tmp_path / "out"), *arguments]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    assert re.search(sentence, capsys.readouterr().err)


def test_what_a_network_cannot_read_is_said_before_others_are_measured(
    data, checkpoint, tmp_path, monkeypatch, capsys
):
    other = tmp_path / "other.safetensors"  # its windows suit 448 pixels, not DAVIS's 672
    save_checkpoint(build_model("tiny", input_size=(448, 448), window_size=8), other)
    weights = ["--checkpoint", str(checkpoint), "--checkpoint", str(other)]
    command = ["--data", str(data), "--output", str(tmp_path / "out"), *weights]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command, "GrabCut", "DAVIS"])

    assert command_line.main() == 1

    assert "cannot read DAVIS at 672 x 672 pixels: choose an --input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--device=cuda:99", "torch cannot compute on 'cuda:99'"),
        ("--device=abacus", "torch cannot compute on 'abacus'"),
        ("--input-size=axb", "axb is not of the form 448 or 448x672"),
        ("--target-iou=3", "3 is not a number above 0"),
        ("--every=0", "0 is not a whole number from 1"),
    ],
)
def test_an_impossible_option_is_answered_with_a_sentence(monkeypatch, capsys, option, sentence):
    monkeypatch.setattr("sys.argv", ["training", "benchmark", "--data", ".", option])

    with pytest.raises(SystemExit):
        command_line.main()

    assert sentence in capsys.readouterr().err


def test_a_data_folder_without_benchmarks_is_answered_with_their_names(
    tmp_path, monkeypatch, capsys
):
    command = ["--data", str(tmp_path), "--baseline", "grabcut"]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    assert "none of GrabCut, Berkeley, SBD, DAVIS, COCO_MVal" in capsys.readouterr().err
