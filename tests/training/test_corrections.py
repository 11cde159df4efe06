"""Samples that start from a mask which is nearly right."""

import numpy as np
import pytest
from pydantic import ValidationError

from training.augmentation import ObjectCrop, ScaleAndCrop
from training.corrections import Corrections
from training.datasets.image_folder import ImageFolder
from training.datasets.mixture import Mixture, Part
from training.object_sampling import ObjectSampling
from training.sample_stream import SampleStream, Sampling
from training.training_clicks import EMPTY, NEGATIVE, POSITIVE


def disk(radius=30, size=128):
    rows, columns = np.mgrid[:size, :size] - size // 2
    return (rows**2 + columns**2 < radius**2).astype(np.int8)


def overlap(labels, start):
    mask, truth = start > 127, labels == 1
    return (mask & truth).sum() / (mask | truth).sum()


def stream(dataset, **corrections):
    options = Sampling(
        augmentation=ObjectCrop(box_least=8),
        min_object_area=20,
        corrections=Corrections(**corrections),
    )
    return SampleStream(Mixture([Part(dataset, 1, ObjectSampling())], 0), options, seed=0)


def test_the_mask_resembles_the_object_and_is_seldom_right():
    options, rng = Corrections(share=1), np.random.default_rng(0)

    ious = [overlap(disk(), options.begin(disk(), 24, rng)[0]) for _ in range(100)]

    assert np.median(ious) > 0.8
    assert np.mean([iou < 0.97 for iou in ious]) > 0.5


def test_a_wider_bend_leaves_less_of_the_object():
    def median(bend):
        options, rng = Corrections(share=1, bend=bend, most_clicks=1), np.random.default_rng(0)
        return np.median([overlap(disk(), options.begin(disk(), 24, rng)[0]) for _ in range(50)])

    assert median((0.3, 0.4)) < median((0.1, 0.2)) < median((0.01, 0.02))


def test_clicks_lie_on_their_side_and_all_but_the_last_are_obeyed():
    options, rng = Corrections(share=1), np.random.default_rng(0)
    labels = disk()
    labels[:, :20] = -1

    disobeyed, clicks = 0, 0
    for _ in range(100):
        start, slots = options.begin(labels, 24, rng)
        unanswered = 0
        for sign, wanted in ((POSITIVE, 1), (NEGATIVE, 0)):
            places = slots[sign][slots[sign, :, 0] != EMPTY]
            assert (labels[tuple(places.T)] == wanted).all()
            unanswered += int(((start[tuple(places.T)] > 127) != wanted).sum())
            clicks += len(places)
        # Blurring can undo an answer of a few pixels, so a second one is let pass now and then.
        disobeyed += unanswered > 1
    assert clicks > 200
    assert disobeyed < 10


def test_slots_are_not_exceeded():
    options, rng = Corrections(share=1, most_clicks=8), np.random.default_rng(0)

    counts = {int((options.begin(disk(), 2, rng)[1][..., 0] != EMPTY).sum()) for _ in range(50)}

    assert counts == {1, 2}


def test_the_share_of_such_samples(shapes):
    def starting(share):
        dataset = stream(ImageFolder(shapes), share=share)
        return np.mean([dataset[index, 64][4].any() for index in range(100)])

    assert 0.3 < starting(0.5) < 0.7
    assert starting(1.0) > 0.9


def test_a_sample_depends_on_its_number_alone(shapes):
    first, second = (stream(ImageFolder(shapes), share=0.7) for _ in range(2))
    expected = [first[index, 64] for index in range(6)]

    for index in reversed(range(6)):
        for found, wanted in zip(second[index, 64], expected[index], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_close_ups_show_a_piece_of_the_outline_only(shapes):
    def visible(close_up):
        dataset = stream(ImageFolder(shapes), share=1, close_up=close_up, window=(0.3, 0.4))
        return [dataset[index, 64][2] == 1 for index in range(60)]

    close, far = visible(1.0), visible(0.0)

    def cut_off(mask):
        return mask[[0, -1]].any() or mask[:, [0, -1]].any()

    assert np.mean([cut_off(mask) for mask in close]) > 0.9
    assert np.mean([cut_off(mask) for mask in close]) > np.mean([cut_off(mask) for mask in far])
    # A piece of the outline: something of the object is seen, and something else.
    assert np.mean([0 < mask.mean() < 1 for mask in close]) > 0.9


def test_views_of_the_paper_have_no_corrections():
    with pytest.raises(ValidationError, match="corrections need the augmentation object_crop"):
        Sampling(augmentation=ScaleAndCrop(), corrections=Corrections(share=0.5))
