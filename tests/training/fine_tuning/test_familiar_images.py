"""Which images a fine-tuned network knows: those that look like the ones it learned."""

import numpy as np
import pytest
import torch

from icmformer import Predictor, build_model, load_checkpoint
from icmformer.specialised import description, generalist_of, specialist_of
from tests.training.disc_project import (
    PROJECT,
    accept,
    draw_data_set,
    fill,
    job,
    judge_with_few_clicks,
    options,
    quiet,
)
from training.datasets.accepted import AcceptedImages
from training.datasets.sample import AnnotatedImage, EvaluationSample
from training.fine_tuning import familiar_images, improvement, improvement_plan, trial
from training.fine_tuning.familiar_images import known_images, specialised
from training.fine_tuning.improvement import improve
from training.fine_tuning.promotion import Decision
from training.store.sample_files import SampleFiles
from training.store.samples import SampleStore
from training.store.snapshot import take_snapshot
from training.store.split import TRAINING

OBJECT = np.ones((48, 64), np.uint8)


def picture(name):
    """Return a bright one or a dark one, as its name says; others are slightly different."""
    rng = np.random.default_rng(sum(name.encode()))
    low = 150 if name.startswith("bright") else 0
    return rng.integers(low, low + 100, (48, 64, 3), dtype=np.uint8)


def learned(*names):
    return [AnnotatedImage(name, picture(name), OBJECT[..., None], ((0, 1),)) for name in names]


def judged(*names):
    return [
        EvaluationSample(name, picture(name.split("#")[0]), OBJECT.astype(np.int8))
        for name in names
    ]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    specialist, generalist = (build_model("tiny_swin", drop_path=0.9).train() for _ in range(2))
    bright, dark = learned("bright 1", "bright 2"), learned("dark 1", "dark 2")
    return specialised(specialist, generalist, bright, dark, lambda: None)


def test_three_quarters_of_the_objects_are_not_larger_than_it_says(network):
    """Their longer sides count, whatever the layer and whatever is ignored."""
    assert network.object_side == 64
    layers = np.zeros((48, 64, 2), np.int16)
    layers[0:4, 0:8, 0] = 1
    layers[10:22, 50:60, 0] = 2
    layers[2:44, 3:5, 1] = 1
    layers[40:48, 40:60, 1] = 2
    layers[30:40, 20:60, 0] = -1
    objects = ((0, 1), (0, 2), (1, 1), (1, 2))
    accepted = [AnnotatedImage("bright", picture("bright"), layers, objects), *learned("bright 2")]
    one = build_model("tiny")
    made = specialised(one, one, accepted, learned("dark"), lambda: None)
    assert made.object_side == np.quantile([8, 12, 42, 20, 64], 0.75)


def test_examples_are_described_as_images_look_that_are_clicked_on(network):
    predictor = Predictor(specialist_of(network), precision="fp32")
    for one, name in ((network.familiar[1], "bright 2"), (network.unfamiliar[0], "dark 1")):
        seen = predictor.encode(picture(name)).features.features
        torch.testing.assert_close(one, description(seen))


def test_of_many_images_some_of_all_kinds_are_examples(monkeypatch):
    """Or a job would describe a whole public data set, and every version bring that along."""
    monkeypatch.setattr(familiar_images, "MOST_EXAMPLES", 2)
    one, images = build_model("tiny"), learned("bright 1", "bright 2", "bright 3", "bright 4")
    made = specialised(one, one, images, images, lambda: None)
    chosen = specialised(one, one, images[::2], images[::2], lambda: None)
    assert torch.equal(made.familiar, chosen.familiar)
    assert torch.equal(made.unfamiliar, chosen.unfamiliar)


def test_images_are_counted_and_not_their_objects(network):
    objects = judged("bright 3#a", "bright 3#b", "dark 3#a", "bright 4#a", "dark 3#b", "dark 4")
    assert known_images(network, objects, lambda: None) == (2, 4)


def test_an_ordinary_network_leaves_no_image_to_another():
    assert known_images(build_model("tiny"), judged("dark 3#a"), lambda: None) is None


def test_describing_and_counting_can_be_stopped(network):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        specialised(network, network, learned("bright 3"), learned("dark 3"), stop)
    with pytest.raises(InterruptedError):
        known_images(network, judged("dark 3#a"), stop)


def test_a_job_shows_all_images_of_the_project_and_keeps_the_first_network(tmp_path, monkeypatch):
    """Also where it trains on few of them, shrunk, and the live version is one network alone."""
    monkeypatch.setattr(trial, "evaluate", trial.evaluate)  # for it to come back
    judge_with_few_clicks()
    decided = Decision("promote", ("as told",), None, None)
    monkeypatch.setattr(improvement, "decide", lambda *args: decided)
    monkeypatch.setattr(improvement_plan, "MOST_PARTS", 2)
    stores = fill(tmp_path)
    improve(job(tmp_path, 1), stores, options("steps=2"), quiet)
    assert stores.versions.live(PROJECT).version == 2
    accept(SampleStore(stores.database, stores.files), 99)
    retention = draw_data_set(tmp_path / "retention", range(500, 512))
    asked = options("steps=2", "max_side=64", retention=retention)
    improve(job(tmp_path, 2), stores, asked, quiet)
    first, made = (load_checkpoint(stores.versions.checkpoint(number)) for number in (1, 3))
    assert stores.versions.get(3).scores["trained_on"] == 2
    kept = generalist_of(made).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in first.state_dict().items())
    accepted = take_snapshot(stores.database, PROJECT).on_side(TRAINING)
    images = AcceptedImages(accepted, SampleFiles(stores.files))
    expected = specialised(specialist_of(made), first, images, images, lambda: None)
    assert torch.equal(made.familiar, expected.familiar)
    stores.database.close()
