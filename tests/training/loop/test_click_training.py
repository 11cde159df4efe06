"""Iterative clicks inside the forward pass, and what they must not touch."""

import itertools

import numpy as np
import pytest
import torch

from icmformer import build_model
from training.clicks.initial_clicks import EMPTY, POSITIVE
from training.clicks.iterative_clicks import place_click
from training.loop import click_training
from training.loop.click_training import ClickTraining
from training.loop.losses import normalized_focal_loss


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 255, (2, 3, 64, 64), dtype=np.uint8))
    labels = torch.zeros(2, 1, 64, 64, dtype=torch.int8)
    labels[:, :, 16:48, 16:48] = 1
    slots = torch.full((2, 2, 24, 2), EMPTY, dtype=torch.int16)
    slots[:, POSITIVE, 0] = 32
    return images, labels, slots, [5, 6]


def network(name="tiny_swin", **overrides):
    torch.manual_seed(0)
    return build_model(name, head_dropout=0.0, **overrides).train()


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def drawn(model, clicks):
    """The disks of (2, P, 2) clicks as the predictor has them drawn."""
    used = clicks[:, :, 0] != EMPTY
    signs = np.broadcast_to([[True], [False]], used.shape)
    return model.click_maps(clicks[used].astype(float), signs[used], (64, 64))


def test_clicks_are_drawn_by_the_network(batch):
    images, labels, slots, indices = batch
    rng = np.random.default_rng(0)
    # Corners and borders included: the disks are cut there.
    slots[:, :, :9] = torch.from_numpy(rng.choice([0, 1, 30, 62, 63], (2, 2, 9, 2)))
    model = network(click_radius=7)
    training = ClickTraining(model, "inner_half", 0)

    maps = training(images, labels, slots, indices, 0).click_maps

    for found, clicks in zip(maps, slots.numpy(), strict=True):
        torch.testing.assert_close(found, drawn(model, clicks), rtol=0, atol=0)
    model.click_maps_of_batch = lambda positions, size_hw: torch.ones(len(positions), 2, *size_hw)
    assert training(images, labels, slots, indices, 0).click_maps.all()


def test_without_rounds_it_is_the_network(batch):
    images, labels, slots, indices = batch
    model = network()

    logits = ClickTraining(model, "inner_half", 0)(images, labels, slots, indices, 0).logits

    maps = torch.stack([drawn(model, clicks) for clicks in slots.numpy()])
    expected = model(images.float() / 255, maps, torch.zeros(2, 1, 64, 64))
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)


def test_rounds_add_clicks_and_feed_the_raw_probability_back(batch):
    images, labels, slots, indices = batch
    model = network()
    seen = []
    fuse = model.fuse

    def watched(features, click_maps, previous_mask):
        logits = fuse(features, click_maps, previous_mask)
        seen.append((click_maps, previous_mask, logits))
        return logits

    model.fuse = watched
    answer = ClickTraining(model, "inner_half", 0)(images, labels, slots, indices, 2)

    for told, happened in zip(answer, (seen[-1][2], *seen[-1][:2]), strict=True):
        torch.testing.assert_close(told, happened, rtol=0, atol=0)
    clicks = [maps.sum().item() for maps, _, _ in seen]
    assert clicks[0] < clicks[1] < clicks[2]
    assert not seen[0][1].any()
    for (_, _, logits), (_, previous, _) in itertools.pairwise(seen):
        torch.testing.assert_close(previous, torch.sigmoid(logits))
    assert (slots == EMPTY).sum() == 2 * 2 * 24 * 2 - 4  # the batch itself is left alone


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_those_of_the_last_pass(batch, name, autocast):
    """Half-precision weights cached by passes without gradients would swallow them."""
    images, labels, slots, indices = batch
    model = network(name)
    training = ClickTraining(model, "inner_half", 0)
    last = {}
    fuse = training.model.fuse

    def watched(features, click_maps, previous_mask):
        last.update(maps=click_maps, previous=previous_mask)
        return fuse(features, click_maps, previous_mask)

    training.model.fuse = watched
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = training(images, labels, slots, indices, 3).logits
    normalized_focal_loss(logits, labels).mean().backward()
    found = gradients(model)

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(images.float() / 255, last["maps"], last["previous"])
    normalized_focal_loss(logits, labels).mean().backward()

    expected = gradients(model)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        # In half precision, gradients that two casts of a weight collect are rounded apart.
        error = (found[key] - gradient).norm() / (gradient.norm() + 1e-6)
        assert error < (0.05 if autocast else 1e-4), key


def test_passes_without_gradient_are_free_of_chance(batch):
    images, labels, slots, indices = batch
    model = network(drop_path=0.5)
    training = ClickTraining(model, "inner_half", 0)
    previous = []
    fuse = training.model.fuse

    def watched(features, click_maps, previous_mask):
        previous.append(previous_mask)
        return fuse(features, click_maps, previous_mask)

    training.model.fuse = watched
    for _ in range(2):
        training(images, labels, slots, indices, 1)

    torch.testing.assert_close(previous[1], previous[3], rtol=0, atol=0)
    assert model.training


def test_iterative_clicks_depend_on_the_sample_alone(batch):
    images, labels, slots, indices = batch
    training = ClickTraining(network(), "inner_half", 0)

    both = training(images, labels, slots, indices, 2).logits
    second = training(images[1:], labels[1:], slots[1:], indices[1:], 2).logits

    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-5)


def test_every_click_of_every_sample_is_another_draw(batch, monkeypatch):
    draws = set()

    def watched(correction, placement, rng):
        draws.add(str(rng.bit_generator.state))
        return place_click(correction, placement, rng)

    monkeypatch.setattr(click_training, "place_click", watched)
    ClickTraining(network(), "inner_half", 0)(*batch, 3)
    assert len(draws) == 3 * 2
