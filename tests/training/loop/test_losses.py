"""The normalized focal loss against values of the original implementation."""

import numpy as np
import pytest
import torch

from training.loop.losses import (
    dice_loss,
    drift_loss,
    mean_iou,
    normalized_focal_loss,
    segmentation_loss,
)
from training.loop.recipe import Loss


@pytest.fixture(scope="module")
def made():
    """Logits, labels and labels with ignored pixels, by the fixture's formula."""
    rng = np.random.Generator(np.random.PCG64(11))
    logits = np.float32(3 * rng.standard_normal((3, 1, 64, 64)))
    label = (rng.random((3, 1, 64, 64)) < 0.3).astype(np.float32)
    ignored = rng.random((3, 1, 64, 64)) < 0.1
    with_ignored = np.where(ignored, -1, label).astype(np.float32)
    with_ignored[2] = np.where(ignored[2], -1, 0)
    return {"logits": logits, "plain": label, "ignore": with_ignored}


@pytest.mark.parametrize("case", ["plain", "ignore"])
def test_values_and_gradients_are_the_originals(golden_misc, made, case):
    logits = torch.tensor(made["logits"], requires_grad=True)

    losses = normalized_focal_loss(logits, torch.tensor(made[case]))
    losses.mean().backward()

    expected = golden_misc[f"nfl/{case}/per_sample"]
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-5)
    np.testing.assert_allclose(logits.grad.norm(), golden_misc[f"nfl/{case}/grad_norm"], rtol=1e-5)
    np.testing.assert_allclose(
        logits.grad[:, :, ::8, ::8], golden_misc[f"nfl/{case}/grad_stride8"], atol=1e-9, rtol=1e-4
    )


@pytest.mark.parametrize("case", ["plain", "ignore"])
def test_in_double_precision(golden_misc, made, case):
    logits = torch.tensor(made["logits"], dtype=torch.float64)

    losses = normalized_focal_loss(logits, torch.tensor(made[case]))

    np.testing.assert_allclose(losses, golden_misc[f"nfl/{case}/per_sample_f64"], rtol=1e-12)


def test_extreme_logits(golden_misc):
    values = [-200.0, -20, 0, 20, 200, -200, 200, 5]
    logits = torch.tensor(values).view(1, 1, 1, 8).requires_grad_()
    labels = torch.tensor([0.0, 0, 1, 1, 1, 1, 0, -1]).view(1, 1, 1, 8)

    losses = normalized_focal_loss(logits, labels)
    losses.mean().backward()

    np.testing.assert_allclose(losses.detach(), golden_misc["nfl/extreme/value"], rtol=1e-6)
    np.testing.assert_allclose(logits.grad, golden_misc["nfl/extreme/grad"], atol=1e-8)


def test_nothing_but_ignored_pixels(golden_misc):
    losses = normalized_focal_loss(torch.zeros(1, 1, 4, 4), -torch.ones(1, 1, 4, 4))

    np.testing.assert_array_equal(losses, golden_misc["nfl/all_ignored/value"])


def test_labels_may_be_small_integers(made):
    logits, labels = torch.tensor(made["logits"]), torch.tensor(made["ignore"])

    as_floats = normalized_focal_loss(logits, labels)

    torch.testing.assert_close(normalized_focal_loss(logits, labels.to(torch.int8)), as_floats)


def test_alpha_weighs_the_objects_pixels_and_the_rest_the_others():
    logits, labels = torch.randn(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    labels[1] = 0

    halves, third = (normalized_focal_loss(logits, labels, alpha=alpha) for alpha in (0.5, 0.3))

    torch.testing.assert_close(third / halves, torch.tensor([0.6, 1.4]))


def test_dice_is_near_0_for_the_truth_and_near_1_for_its_opposite():
    labels = torch.zeros(1, 1, 32, 32)
    labels[:, :, 8:24, 8:24] = 1
    sure = 40 * (labels - 0.5)

    assert dice_loss(sure, labels).item() < 1e-3
    assert dice_loss(-sure, labels).item() > 0.99


def test_dice_leaves_ignored_pixels_out():
    labels = torch.zeros(1, 1, 8, 8)
    labels[:, :, :4] = 1
    ignored = labels.clone()
    ignored[:, :, 4:] = -1
    logits = torch.full((1, 1, 8, 8), 20.0)

    assert dice_loss(logits, labels).item() > 0.3
    assert dice_loss(logits, ignored).item() < 1e-3


def test_a_recipe_weighs_the_losses(made):
    logits, labels = torch.tensor(made["logits"]), torch.tensor(made["ignore"])
    focal = normalized_focal_loss(logits, labels, alpha=0.3, gamma=1.0).mean()
    dice = dice_loss(logits, labels).mean()

    found = segmentation_loss(logits, labels, Loss(alpha=0.3, gamma=1.0, dice=0.5))

    torch.testing.assert_close(found, focal + 0.5 * dice)


def test_mean_iou_counts_half_of_the_object_as_half():
    labels = torch.zeros(2, 1, 8, 8, dtype=torch.int8)
    labels[:, :, :4] = 1
    logits = torch.where(labels > 0, 5.0, -5.0)
    logits[1, :, :2] = -5

    assert mean_iou(logits, labels).item() == pytest.approx(0.75)


def test_mean_iou_leaves_ignored_pixels_out_and_takes_nothing_for_nothing_as_right():
    logits, labels = torch.full((2, 1, 8, 8), -5.0), torch.zeros(2, 1, 8, 8)
    labels[0, :, :4] = 1
    logits[0] = 5
    labels[0, :, 4:] = -1

    assert mean_iou(logits, labels).item() == 1


def disc(size, column):
    rows, columns = np.mgrid[:size, :size]
    inside = (rows - size / 2) ** 2 + (columns - column) ** 2 < (size / 8) ** 2
    return torch.from_numpy(inside.astype(np.float32))[None, None]


def test_drift_is_none_between_equal_answers_and_whole_between_strangers():
    logits = torch.randn(2, 1, 16, 16, requires_grad=True)
    drift = drift_loss(logits, torch.sigmoid(logits.detach()))
    drift.sum().backward()
    assert not drift.any()
    assert not logits.grad.any()

    left, right = disc(64, 16), disc(64, 48)
    assert drift_loss(40 * right - 20, left).item() == pytest.approx(1, abs=0.01)
    empty = drift_loss(torch.full((1, 1, 8, 8), -40.0), torch.zeros(1, 1, 8, 8))
    assert empty.item() == pytest.approx(0, abs=1e-6)


def test_drift_does_not_depend_on_the_size_of_the_object():
    small, large = (drift_loss(40 * disc(n, n / 2) - 20, disc(n, n * 0.55)) for n in (64, 512))
    assert small.item() == pytest.approx(large.item(), rel=0.15)
