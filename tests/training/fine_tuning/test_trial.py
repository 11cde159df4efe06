from functools import partial

import numpy as np
import pytest
import torch

from icmformer import Predictor, build_model, load_checkpoint, save_checkpoint
from tests.training.disc_project import disc
from training.clicks.annotator import several_annotators
from training.datasets.sample import EvaluationSample
from training.fine_tuning import trial
from training.fine_tuning.trial import Exercise, run_trial


def discs(count):
    drawn = [disc(number) for number in range(count)]
    return [
        EvaluationSample(f"image {number}#disc", image, mask.astype(np.int8))
        for number, (image, mask) in enumerate(drawn)
    ]


def files(folder):
    return {"held_out": folder / "held_out.json", "retention": folder / "retention.json"}


def same_ious(one, other):
    return all(
        [sample.ious for sample in mine.samples] == [sample.ious for sample in theirs.samples]
        for mine, theirs in ((one[side], other[side]) for side in ("held_out", "retention"))
    )


@pytest.mark.parametrize(
    ("objects", "tries", "annotators"),
    [(1, 60, 4), (15, 60, 4), (16, 60, 3), (30, 60, 2), (31, 60, 1), (61, 60, 1)],
)
def test_few_objects_are_clicked_by_several_annotators(objects, tries, annotators):
    exercise = Exercise.of_tries([None] * objects, tries)
    assert exercise.annotators == annotators
    assert len(exercise) == objects * annotators


def test_a_trial_scores_every_object_once_an_annotator(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "evaluate", partial(trial.evaluate, max_clicks=3))
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), tmp_path / "network.safetensors")
    held_out, retention = Exercise(discs(2), 3), Exercise(discs(3)[2:], 1)
    progress, sides = [], []

    def predictor(side):
        sides.append(side)
        return Predictor(load_checkpoint(tmp_path / "network.safetensors"))

    def run(report):
        return run_trial(
            predictor,
            {"held_out": held_out, "retention": retention},
            files(tmp_path),
            "judging the candidate",
            report,
        )

    scores = run(lambda *told: progress.append(told))
    assert sides == ["held_out", "retention"]
    names = [sample.name for sample in scores["held_out"].samples]
    assert names == ["image 0#disc", "image 1#disc"] * 3
    assert [sample.name for sample in scores["retention"].samples] == ["image 2#disc"]
    assert list(dict.fromkeys(progress)) == [
        ("judging the candidate", done, 7) for done in range(8)
    ]
    assert len(progress) > 2 * 7, "before each click, too"
    tries = [sample.ious for sample in scores["held_out"].samples]
    assert len(set(tries[::2])) == 3, "each clicks elsewhere"
    assert run(pytest.fail) == scores, "what is kept is not clicked again"
    for damaged in (b"[[", b"\xff"):
        progress.clear()
        (tmp_path / "retention.json").write_bytes(damaged)
        assert same_ious(run(lambda *told: progress.append(told)), scores)
        assert progress[-1] == ("judging the candidate", 1, 1), "only what was damaged"

    def clicked_by(predictor):
        cards = [
            trial.evaluate(predictor, held_out.objects, annotator=annotator)
            for annotator in several_annotators(held_out.annotators)
        ]
        return [sample.ious for card in cards for sample in card.samples]

    network = load_checkpoint(tmp_path / "network.safetensors")
    assert tries == clicked_by(Predictor(network)), "as people are served"
    assert tries != clicked_by(Predictor.for_benchmark(network))
    at_once = held_out.judge(Predictor(network), target_iou=0.0).samples
    assert {len(sample.ious) for sample in at_once} == {1}, "nothing is left to be clicked for"


def test_a_trial_without_objects(tmp_path):
    told = (pytest.fail, {}, files(tmp_path), "judging the candidate", pytest.fail)
    assert run_trial(*told) == {}
    assert not any(file.exists() for file in files(tmp_path).values())
