"""The whole command on a tiny GrabCut: a tiny network and the classical method, side by side."""

import json
import os
import re
import shutil

import cv2
import pytest

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from training import __main__ as command_line
from training.datasets.benchmarks import open_benchmark
from training.errors import BenchmarkError
from training.evaluation.benchmark_runs import Protocol, Run, measure
from training.evaluation.classical import GrabCutBaseline
from training.evaluation.contestants import Checkpoint
from training.evaluation.noc import ScoreCard


class DyingContestant(Checkpoint):
    def segmenter(self, dataset):
        os._exit(1)


def scores_of(folder, contestant):
    (path,) = folder.glob(f"samples/{contestant}*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_two_contestants_give_a_table_a_json_and_a_page(benchmark, checkpoint, capsys):
    folder = benchmark(
        *("GrabCut", "--checkpoint", str(checkpoint), "--baseline", "grabcut"),
        *("--max-clicks", "4", "--pictures", "1"),
    )

    table = capsys.readouterr().out
    assert re.search(r"data set +n +NoC80 +NoC85 +NoC90 +NoC95 +≥4@85", table)
    assert re.search(r"^tiny +GrabCut +3 ", table, re.MULTILINE)
    assert re.search(r"^GrabCut \(classical\) +GrabCut +3 +1\.00 +1\.00 ", table, re.MULTILINE)

    report = json.loads((folder / "report.json").read_text())
    assert [result["name"] for result in report["results"]] == ["tiny", "GrabCut (classical)"]
    tiny, classical = (result["data sets"]["GrabCut"] for result in report["results"])
    assert len(tiny["mean IoU after each click"]) == 4
    assert classical["NoC"]["0.90"]["mean"] == 1
    assert classical["NoF"] == {"0.85": 0, "0.90": 0}
    assert report["provenance"]["command"].startswith("python -m training benchmark --data")

    page = (folder / "report.html").read_text()
    assert "Published, trained on COCO+LVIS" in page
    assert page.count("<svg") == 1
    curves = (folder / "figures" / "GrabCut.svg").read_text()
    assert curves.startswith("<svg")
    assert "GrabCut (classical)" in curves
    assert page.count("data:image/jpeg;base64,") >= 6
    # It works offline: nothing is fetched from anywhere.
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_scores_that_were_kept_say_where_they_come_from(benchmark, capsys):
    arguments = ("GrabCut", "--baseline", "grabcut", "--pictures", "0")
    folder = benchmark(*arguments, "--every", "2")
    (path,) = folder.glob("samples/*.jsonl")
    here = scores_of(folder, "GrabCut")[0]["origin"]
    path.write_text(path.read_text().replace(here, "commit 1234, another machine"))
    capsys.readouterr()

    benchmark(*arguments)

    kept = "2 scores of GrabCut (classical): commit 1234, another machine"
    assert f"kept from before: {kept}" in capsys.readouterr().out
    (result,) = json.loads((folder / "report.json").read_text())["results"]
    assert result["scores from"] == {"commit 1234, another machine": 2, here: 1}
    assert kept in (folder / "report.html").read_text()


def test_a_run_that_was_killed_goes_on_where_it_stopped(benchmark, checkpoint):
    arguments = ("GrabCut", "--checkpoint", str(checkpoint), "--max-clicks", "2", "--pictures", "0")
    folder = benchmark(*arguments)
    (path,) = folder.glob("samples/*.jsonl")
    header, first, second, third = path.read_text().splitlines(keepends=True)
    marked = first.replace('"name": "square0"', '"name": "kept"')
    path.write_text(header + marked + second[: len(second) // 2])

    benchmark(*arguments)

    names = [score["name"] for score in scores_of(folder, "tiny")]
    assert names == ["kept", "square1", "square2"]
    again = scores_of(folder, "tiny")[2]
    assert again["ious"] == json.loads(third)["ious"]


def test_other_weights_of_one_name_are_measured_beside_those_before(benchmark, tmp_path):
    path = tmp_path / "sbd" / "latest.safetensors"
    path.parent.mkdir()
    arguments = ("GrabCut", "--checkpoint", str(path), "--max-clicks", "1", "--pictures", "0")
    save_checkpoint(build_model("tiny"), path)
    folder = benchmark(*arguments)
    (first,) = folder.glob("samples/sbd_latest_* on GrabCut.jsonl")
    measured = first.read_text().replace('"name": "square0"', '"name": "kept"')
    first.write_text(measured)

    benchmark(*arguments)
    assert first.read_text() == measured, "of equal weights nothing is measured again"

    save_checkpoint(build_model("tiny"), path)
    benchmark(*arguments)
    assert first.read_text() == measured
    assert len(list(folder.glob("samples/sbd_latest_* on GrabCut.jsonl"))) == 2


def test_every_third_sample_first_and_all_of_them_later(benchmark, capsys):
    folder = benchmark("GrabCut", "--baseline", "grabcut", "--every", "3")
    assert [score["index"] for score in scores_of(folder, "GrabCut")] == [0]
    assert (
        "not comparable with published numbers: GrabCut: 1 of 50 objects" in capsys.readouterr().out
    )

    benchmark("GrabCut", "--baseline", "grabcut")

    assert [score["index"] for score in scores_of(folder, "GrabCut")] == [0, 1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:2], lines[2] + lines[3]],
        lambda lines: [*lines[:3], "\0" * 40],
        lambda lines: [*lines[:2], '{"index": 1}', *lines[3:]],
        lambda lines: [*lines[:2], "[]", "7", '"x"', *lines[3:]],
        lambda lines: [*lines[:3], lines[3][:40]],
    ],
)
def test_damaged_scores_are_measured_again(benchmark, damage):
    folder = benchmark("GrabCut", "--baseline", "grabcut")
    (file,) = (folder / "samples").glob("*.jsonl")
    whole = scores_of(folder, "GrabCut")
    file.write_text("\n".join(damage(file.read_text().splitlines())))

    benchmark("GrabCut", "--baseline", "grabcut")

    again = scores_of(folder, "GrabCut")
    by_index = {score["index"]: score["ious"] for score in again}
    assert by_index == {score["index"]: score["ious"] for score in whole}
    assert len(again) == len(whole)


@pytest.mark.parametrize("content", [b"", b"\n", b"[1]\n", b"half", b"\xff\xfe\n"])
def test_a_file_that_holds_no_results_is_refused(benchmark, data, monkeypatch, capsys, content):
    folder = benchmark("GrabCut", "--baseline", "grabcut")
    (file,) = (folder / "samples").glob("*.jsonl")
    file.write_bytes(content)
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(folder)]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1
    assert "is damaged or holds no results of a benchmark" in capsys.readouterr().err


def test_results_of_other_settings_are_not_mixed(benchmark, data, tmp_path, monkeypatch, capsys):
    folder = benchmark("GrabCut", "--baseline", "grabcut", "--target-iou", "0.9")
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(folder)]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    assert "target_iou = 0.9, now it is 0.95; choose another --output" in capsys.readouterr().err


def test_results_of_other_files_are_not_mixed(benchmark, data, tmp_path, monkeypatch, capsys):
    folder = benchmark("GrabCut", "--baseline", "grabcut")
    image = next((data / "GrabCut" / "data_GT").iterdir())
    image.write_bytes(image.read_bytes() + b"!")
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(folder)]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    said = capsys.readouterr().err
    assert "was measured when GrabCut had other files; choose another --output" in said


def test_damaged_images_are_named_before_anything_is_clicked(data, tmp_path, monkeypatch, capsys):
    images = sorted((data / "GrabCut" / "data_GT").iterdir())
    for image in images[1:]:
        image.write_bytes(image.read_bytes()[:50])
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    sentence = "is not a readable image; the file may be damaged (1 more cannot be used either)"
    assert f"{images[1]} {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_as_served_does_not_stand_unmarked_beside_published_rows(
    benchmark, checkpoint, data, monkeypatch, capsys
):
    weights = ("--checkpoint", str(checkpoint), "--as-served")
    benchmark("GrabCut", *weights, "--max-clicks", "1", "--pictures", "0")
    assert (
        "tiny as served: it looks closer, tidies its masks and sees no mirror image"
        in capsys.readouterr().out
    )

    command = ["benchmark", "--data", str(data), *weights, "--input-size", "64"]
    monkeypatch.setattr("sys.argv", ["training", *command])
    assert command_line.main() == 1
    assert "drop --input-size" in capsys.readouterr().err


@pytest.mark.slow
def test_checkpoints_come_before_data_sets_or_after_them(benchmark, checkpoint, data):
    other = shutil.copy(checkpoint, checkpoint.with_name("other.safetensors"))
    shutil.copy(checkpoint.with_suffix(".json"), other.with_suffix(".json"))
    weights = ("--checkpoint", str(checkpoint), "GrabCut", "--checkpoint", str(other))
    folder = benchmark(*weights, "--every", "3", "--max-clicks", "1", "--pictures", "0")
    assert len(scores_of(folder, "tiny")) == len(scores_of(folder, "other")) == 1


def test_two_processes_find_what_one_finds(benchmark, checkpoint):
    arguments = ("GrabCut", "--checkpoint", str(checkpoint), "--max-clicks", "3", "--pictures", "0")
    alone = scores_of(benchmark(*arguments, output="alone"), "tiny")
    shared = scores_of(benchmark(*arguments, "--processes", "2", output="shared"), "tiny")

    assert sorted((score["index"], score["ious"]) for score in shared) == [
        (score["index"], score["ious"]) for score in alone
    ]


@pytest.mark.slow
def test_a_process_that_dies_is_answered_with_a_sentence(checkpoint, data, tmp_path):
    run = Run(
        DyingContestant("dying", checkpoint), "GrabCut", open_benchmark("GrabCut", data), "",
        Protocol(),
    )  # fmt: skip

    with pytest.raises(BenchmarkError, match=r"a process died.*repeat the command to go on"):
        measure(run, tmp_path, 2, "here")


@pytest.mark.slow
def test_weights_that_change_meanwhile_end_it_in_other_processes_too(checkpoint, data, tmp_path):
    path = tmp_path / "latest.safetensors"
    for file in (path, path.with_suffix(".json")):
        shutil.copy(checkpoint.with_suffix(file.suffix), file)
    run = Run(
        Checkpoint("latest", path), "GrabCut", open_benchmark("GrabCut", data), "", Protocol()
    )
    run.header()
    save_checkpoint(build_model("tiny"), path)

    with pytest.raises(BenchmarkError, match=r"latest\.safetensors has changed since"):
        measure(run, tmp_path, 2, "here")


def test_what_becomes_of_the_pictures_costs_no_numbers(data, tmp_path, monkeypatch, capsys):
    def change(*_):
        raise BenchmarkError("has changed since")

    monkeypatch.setattr("training.commands.benchmark._gallery", change)
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 1

    assert "has changed since" in capsys.readouterr().err
    assert "Measured here" in (tmp_path / "out" / "report.html").read_text()


def test_weights_that_are_gone_once_they_were_measured_cost_no_numbers(
    benchmark, checkpoint, tmp_path, monkeypatch
):
    path = tmp_path / "latest.safetensors"
    files = path, path.with_suffix(".json")
    for file in files:
        shutil.copy(checkpoint.with_suffix(file.suffix), file)

    def measure_and_clean(*arguments):
        measured = measure(*arguments)
        for file in files:
            file.unlink()
        return measured

    monkeypatch.setattr("training.commands.benchmark.measure", measure_and_clean)
    arguments = ("--checkpoint", str(path), "--max-clicks", "1", "--pictures", "0")
    folder = benchmark("GrabCut", *arguments)

    (result,) = json.loads((folder / "report.json").read_text())["results"]
    assert result["description"].startswith("latest.safetensors: vit, 0.1 M parameters")


def test_pictures_end_at_90_percent_whatever_is_measured(benchmark):
    folder = benchmark("GrabCut", "--baseline", "grabcut", "--target-iou", "1")

    page = (folder / "report.html").read_text()
    assert "IoU@20" in page
    captions = re.findall(r"(\d+) clicks?, IoU (0\.\d+|1\.0+)", page)
    assert captions
    assert all(float(iou) >= 0.9 for _, iou in captions)


def test_an_interrupted_run_says_how_to_go_on(data, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(GrabCutBaseline, "segment", interrupt)
    command = ["--baseline", "grabcut", "--data", str(data), "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["training", "benchmark", *command])

    assert command_line.main() == 130

    assert "interrupted; what was measured is kept" in capsys.readouterr().err


def test_other_ways_to_click_are_marked_as_not_comparable(benchmark):
    folder = benchmark(
        *("GrabCut", "--baseline", "grabcut", "--pictures", "0"),
        *("--annotator", "jitter", "--start-from-mask", "--seed", "3"),
    )

    report = json.loads((folder / "report.json").read_text())
    reasons = " ".join(report["not comparable with published numbers because"])
    assert "misses the centre" in reasons
    assert "damaged mask" in reasons
    assert "Not comparable with published numbers" in (folder / "report.html").read_text()


def test_a_folder_of_ones_own_needs_no_data_folder(data, tmp_path, monkeypatch, capsys):
    own = tmp_path / "own"
    own.mkdir()
    (data / "GrabCut/data_GT").rename(own / "images")
    (own / "masks").mkdir()
    for mask in (data / "GrabCut/boundary_GT").iterdir():
        ids = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) // 255
        cv2.imwrite(str(own / "masks" / f"{mask.stem}.png"), ids)
    command = ["--baseline", "grabcut", "--max-clicks", "1", "--pictures", "0"]
    command = ["training", "benchmark", *command, "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*command, f"folder:{own}"])
    assert command_line.main() == 0
    assert f"folder:{own}" in capsys.readouterr().out

    monkeypatch.setattr("sys.argv", command)
    assert command_line.main() == 1
    assert "which data sets? Give --data" in capsys.readouterr().err


def test_the_scores_in_the_folder_make_a_score_card(benchmark):
    folder = benchmark("GrabCut", "--baseline", "grabcut", "--pictures", "0")

    scores = scores_of(folder, "GrabCut")
    for score in scores:
        del score["index"], score["origin"]
    text = json.dumps(
        {
            "format": "icmformer score card 1",
            "max_clicks": 20,
            "target_iou": 0.95,
            "samples": scores,
        }
    )

    assert ScoreCard.from_json(text).noc(0.9) == 1
