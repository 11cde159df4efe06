"""Damaged masks to start from."""

import numpy as np
import pytest

from training.datasets.sample import EvaluationSample
from training.evaluation.classical import GrabCutBaseline
from training.evaluation.click_by_click import click_through
from training.evaluation.noc import iou
from training.evaluation.perturbed_masks import HIGHEST_IOU, LOWEST_IOU, StartFromMask, damaged


class Squares:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return EvaluationSample(f"square {index}", np.zeros((90, 120, 3), np.uint8), square())


def square():
    target = np.zeros((90, 120), dtype=np.int8)
    target[20:70, 30:90] = 1
    return target


@pytest.mark.parametrize("seed", range(20))
def test_the_damage_leaves_the_iou_of_davis_585(seed):
    mask = damaged(square(), np.random.default_rng(seed))

    assert LOWEST_IOU <= iou(square(), mask) <= HIGHEST_IOU


def test_the_damage_follows_from_the_seed():
    first, second, other = (StartFromMask(Squares(), seed)[0].initial_mask for seed in (1, 1, 2))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, StartFromMask(Squares(), 1)[1].initial_mask)


@pytest.mark.parametrize("pixels", [0, 1])
def test_what_cannot_be_damaged_a_little_stays_as_it_is(pixels):
    target = np.zeros((5, 5), dtype=np.int8)
    target[:pixels, 2] = 1

    assert np.array_equal(damaged(target, np.random.default_rng(0)), target == 1)


def test_clicking_starts_at_the_errors_of_the_mask():
    sample = StartFromMask(Squares(), 3)[0]
    wrong = sample.initial_mask != (sample.target == 1)

    step = next(click_through(GrabCutBaseline(), sample))

    assert wrong[int(step.click.y), int(step.click.x)]
