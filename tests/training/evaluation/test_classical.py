"""GrabCut as a baseline that answers the same clicks."""

import numpy as np
import pytest

from icmformer.clicks import Click
from icmformer.segmentation import Segmentation
from training.clicks.annotator import CentreAnnotator
from training.datasets.sample import EvaluationSample
from training.evaluation.classical import GrabCutBaseline
from training.evaluation.click_by_click import evaluate
from training.evaluation.noc import iou


@pytest.fixture
def red_square():
    rng = np.random.default_rng(7)
    image = np.full((60, 80, 3), (40, 90, 160), dtype=np.float64)
    target = np.zeros((60, 80), dtype=np.int8)
    target[15:45, 25:55] = 1
    image[target == 1] = (200, 50, 40)
    noisy = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    return EvaluationSample("red square", noisy, target)


def test_a_square_of_another_colour_takes_one_click(red_square):
    click = CentreAnnotator().next_click(red_square.target, np.zeros((60, 80), bool), [])

    mask = GrabCutBaseline().segment(red_square.image, [click]).mask

    assert iou(red_square.target, mask) > 0.95


def test_the_result_does_not_depend_on_what_is_remembered(red_square):
    clicks = [Click(40, 30, True), Click(5, 5, False), Click(30, 20, True)]
    baseline = GrabCutBaseline()

    at_once = baseline.segment(red_square.image, clicks)
    one_by_one = None
    for count in (1, 2, 3):
        one_by_one = baseline.segment(red_square.image, clicks[:count], one_by_one)

    assert np.array_equal(at_once.mask, one_by_one.mask)
    assert at_once.clicks == tuple(clicks)


def test_a_negative_click_removes_what_was_there(red_square):
    start = Segmentation.from_mask(np.ones((60, 80)))

    mask = GrabCutBaseline().segment(red_square.image, [Click(5, 5, False)], start).mask

    assert not mask[5, 5]
    assert iou(red_square.target, mask) > 0.95


def test_without_clicks_the_mask_to_start_from_is_returned(red_square):
    start = Segmentation.from_mask(red_square.target == 1)

    assert GrabCutBaseline().segment(red_square.image, [], start) is start
    assert not GrabCutBaseline().segment(red_square.image, []).mask.any()


def test_an_image_of_four_pixels_is_no_reason_to_fail():
    image = np.zeros((2, 2, 3), dtype=np.uint8)

    assert GrabCutBaseline().segment(image, [Click(0.5, 0.5, True)]).mask.all()


def test_it_is_measured_like_a_network(red_square):
    card = evaluate(GrabCutBaseline(), [red_square], target_iou=0.95)
    (score,) = card.samples

    assert len(score.ious) == 1
