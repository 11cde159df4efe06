"""A fine-tuned network answers on images like those it learned, the one before it on others."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from icmformer import Click, Predictor, Segmentation, build_model, load_checkpoint, save_checkpoint
from icmformer.assembly import assemble
from icmformer.errors import CheckpointError, InputError
from icmformer.image_features import ImageFeatures
from icmformer.network_input import image_planes
from icmformer.region_of_interest import View
from icmformer.specialised import (
    Specialised,
    description,
    generalist_of,
    specialised_weights,
    specialist_of,
)

LARGE = 1000.0  # pixels: no window is too large for such objects
CLICKS = [Click(30, 30, True), Click(60, 40, False), Click(33, 35, True)]


def picture(bright, seed=0, size_hw=(72, 96)):
    rng = np.random.default_rng(seed)
    low = 150 if bright else 0
    return rng.integers(low, low + 100, (*size_hw, 3), dtype=np.uint8)


def described(network, image):
    view = View.of_whole(image.shape[:2], network.input_size)
    planes = image_planes(image, view, torch.device("cpu"))
    return description(network.encode_image(planes))


@pytest.fixture(params=["tiny", "tiny_swin"])
def network(request):
    """One that learned bright images."""
    torch.manual_seed(0)
    specialist, generalist = build_model(request.param).eval(), build_model(request.param).eval()
    familiar, unfamiliar = (
        torch.stack([described(specialist, picture(bright, seed)) for seed in (1, 2, 3)]).detach()
        for bright in (True, False)
    )
    weights = specialised_weights(specialist, generalist, familiar, unfamiliar, LARGE)
    return assemble(specialist.config, weights, "a test")


def probability(network, image, **settings):
    return Predictor(network, **settings).segment(image, CLICKS).probability


@pytest.mark.parametrize("size_hw", [(72, 96), (40, 300)], ids=["photo", "panorama"])
@pytest.mark.parametrize("bright", [True, False])
def test_the_network_that_fits_the_image_answers(network, bright, size_hw):
    image = picture(bright, seed=9, size_hw=size_hw)
    fitting, other = specialist_of(network), generalist_of(network)
    if not bright:
        fitting, other = other, fitting
    answer = probability(network, image)
    assert np.array_equal(answer, probability(fitting, image))
    assert Predictor(network).segment(image, CLICKS).is_by_generalist is not bright
    assert not np.array_equal(answer, probability(other, image))


@pytest.mark.parametrize("size_hw", [(72, 96), (40, 300)], ids=["photo", "panorama"])
def test_it_says_which_images_it_knows(network, size_hw):
    bright, dark = (picture(kind, seed=9, size_hw=size_hw) for kind in (True, False))
    assert Predictor(network).knows(bright)
    assert not Predictor(network).knows(dark)
    assert Predictor(specialist_of(network)).knows(dark)
    with pytest.raises(InputError, match="height, width, 3"):
        Predictor(network).knows(bright[..., 0])


@pytest.mark.parametrize("size", [None, (128, 128)])
@pytest.mark.parametrize("bright", [True, False])
def test_by_the_published_protocol_likewise(network, bright, size):
    image = picture(bright, seed=9)
    fitting = specialist_of(network) if bright else generalist_of(network)
    answer, expected = (
        Predictor.for_benchmark(one, size).segment(image, CLICKS).probability
        for one in (network, fitting)
    )
    assert np.array_equal(answer, expected)


@pytest.mark.parametrize("bright", [True, False])
def test_wherever_an_object_goes_on_from_the_answer_is_the_same(network, bright):
    image, predictor = picture(bright, seed=9), Predictor(network)
    at_once = predictor.segment(image, CLICKS)
    encoded = predictor.encode(image)
    first = predictor.segment(image, CLICKS[:1], encoded)
    elsewhere = Predictor(network).segment(image, CLICKS[:1])
    for before in (encoded, first, first.without_features(), elsewhere):
        after = predictor.segment(image, CLICKS, before)
        assert np.array_equal(after.probability, at_once.probability)


@pytest.mark.parametrize(
    ("bright", "at_home", "side"), [(True, False, 24), (False, False, 96), (False, True, 24)]
)
def test_where_objects_are_as_large_as_the_learned_ones_the_first_look_is_as_close(
    network, monkeypatch, bright, at_home, side
):
    """On images that it knows, and in its own project on all."""
    network.object_side.fill_(5)
    looked_at = []
    answer = Predictor._answer
    monkeypatch.setattr(
        Predictor, "_answer", lambda *seen: looked_at.append(seen[3]) or answer(*seen)
    )
    answer_to_one = Predictor(network, at_home=at_home).segment(picture(bright, 9), CLICKS[:1])
    assert answer_to_one.is_by_generalist is not bright
    assert max(looked_at[0].size_hw) == side


@pytest.mark.parametrize("bright", [True, False])
def test_a_mask_to_start_from_is_corrected_by_the_network_that_fits(network, bright):
    image = picture(bright, seed=9)
    drawn = np.zeros(image.shape[:2], bool)
    drawn[20:50, 20:50] = True
    fitting = specialist_of(network) if bright else generalist_of(network)
    answer, expected = (
        Predictor(one).segment(image, CLICKS[:1], Segmentation.from_mask(drawn)).probability
        for one in (network, fitting)
    )
    assert np.array_equal(answer, expected)


def test_it_is_chosen_once_an_image(network, monkeypatch):
    asked = []
    knows = Specialised.knows
    monkeypatch.setattr(Specialised, "knows", lambda *seen: asked.append(seen) or knows(*seen))
    predictor, image = Predictor(network), picture(False)
    start = predictor.encode(image)
    for count in (1, 2, 3):
        start = predictor.segment(image, CLICKS[:count], replace(start, features=None))
    assert len(asked) == 1


def test_an_encoded_image_is_taken_up_again_and_that_of_another_predictor_encoded_anew(network):
    predictor, image = Predictor(network), picture(False)
    start = predictor.encode(image)
    assert predictor.encode(image, start) is start
    elsewhere = Predictor(network)
    anew = elsewhere.encode(image, start)
    assert anew is not start
    assert elsewhere.encode(image, anew) is anew
    answers = [elsewhere.segment(image, CLICKS, one).probability for one in (start, anew)]
    assert np.array_equal(*answers)
    with pytest.raises(InputError, match="of another image"):
        predictor.encode(255 - image, start)


def features(values):
    return ImageFeatures((8, 8), torch.tensor(values)[None, None], None, ())


@pytest.mark.parametrize("others", [((), ()), ((500,), ()), ((), (500,))], ids=str)
def test_the_nearest_example_decides_with_some_favour_to_the_familiar(others):
    """However far away other examples are: a project may have two kinds of images."""
    network = build_model("tiny")
    channels = network.config.cross_dim
    familiar, unfamiliar = (
        torch.tensor([nearest, *far])[:, None].expand(-1, channels).float()
        for nearest, far in zip((0, 21), others, strict=True)
    )
    weights = specialised_weights(network, network, familiar, unfamiliar, LARGE)
    network = assemble(network.config, weights, "a test")
    assert network.knows(features([5.0] * channels))
    assert network.knows(features([10.9] * channels)), "10.9 from one and 10.1 from the other"
    assert not network.knows(features([11.1] * channels)), "11.1 from one and 9.9 from the other"


def test_at_any_size_of_a_benchmark_an_image_is_told_apart_at_that_of_the_examples():
    """Or its numbers would be those of another network than people are served with."""
    network = build_model("tiny").eval()
    fine = np.zeros((128, 128, 3), np.uint8)
    fine[::2] = 255  # lines, which at half the size are grey
    planes = torch.from_numpy(fine).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        unfamiliar = description(network.encode_image(planes))[None]
        weights = specialised_weights(
            network, network, described(network, fine)[None], unfamiliar, LARGE
        )
    network = assemble(network.config, weights, "a test")
    assert Predictor.for_benchmark(network, (128, 128)).knows(fine)


def test_an_image_that_was_learned_and_replayed_is_known():
    network = build_model("tiny")
    examples = torch.rand(3, network.config.cross_dim)
    weights = specialised_weights(network, network, examples, examples, LARGE)
    network = assemble(network.config, weights, "a test")
    assert network.knows(features(examples[1].tolist()))


def test_a_channel_counts_by_how_much_it_varies():
    """What varies a hundredfold says a hundredth: here the first channel, as the others agree."""
    network = build_model("tiny")
    quiet = [0.0] * (network.config.cross_dim - 2)
    examples = [torch.tensor([[loud, soft, *quiet]]) for loud, soft in ((0.0, 0.0), (100.0, 1.0))]
    weights = specialised_weights(network, network, *examples, LARGE)
    network = assemble(network.config, weights, "a test")
    assert network.knows(features([60.0, 0.1, *quiet]))
    assert not network.knows(features([40.0, 0.9, *quiet]))


def test_where_a_network_computes_in_bf16_its_images_are_described_in_float32():
    tokens = torch.rand(1, 64, 32).bfloat16()
    seen = description(ImageFeatures((8, 8), tokens, None, ()))
    torch.testing.assert_close(seen, tokens[0].float().mean(0))


def test_all_of_it_comes_back_from_disk(network, tmp_path):
    path = tmp_path / "both.safetensors"
    save_checkpoint(network, path)
    loaded = load_checkpoint(path)
    assert isinstance(loaded, Specialised)
    found, kept = loaded.state_dict(), network.state_dict()
    assert found.keys() == kept.keys()
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert not loaded.training


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("unfamiliar", None, "1 tensors are missing, the first is unfamiliar"),
        ("familiar", torch.tensor(1.0), "familiar has shape"),
        ("familiar", torch.zeros(0, 32), "familiar has shape"),
        ("unfamiliar", torch.zeros(2, 31), "unfamiliar has shape"),
        ("unfamiliar", torch.full((2, 32), torch.nan), "not finite"),
        ("object_side", None, "1 tensors are missing, the first is object_side"),
        ("object_side", torch.zeros(1), "object_side has shape"),
        ("generalist.head.classify.weight", None, "1 tensors are missing, the first is generalist"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path, name, tensor, sentence):
    one = build_model("tiny")
    examples = torch.zeros(2, one.config.cross_dim)
    weights = dict(specialised_weights(one, one, examples, examples, LARGE))
    if name not in weights:
        name = next(each for each in weights if each.startswith("generalist."))
    weights.pop(name)
    if tensor is not None:
        weights[name] = tensor
    with pytest.raises(CheckpointError, match=sentence):
        assemble(one.config, weights, "a file")


def test_the_specialist_alone_is_an_ordinary_network(network, tmp_path):
    alone = specialist_of(network)
    assert type(alone) is not Specialised
    assert not alone.training
    path = tmp_path / "alone.safetensors"
    save_checkpoint(alone, path)
    assert "familiar" not in safetensors.torch.load_file(path)
    assert specialist_of(alone) is alone
    assert generalist_of(alone) is alone
