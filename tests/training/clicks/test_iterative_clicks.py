"""Where the next training click may fall, against the original implementation."""

import numpy as np
import pytest

from training.clicks.initial_clicks import EMPTY, NEGATIVE, POSITIVE
from training.clicks.iterative_clicks import add_click, find_corrections, place_click


def find_correction(labels, answer):
    return find_corrections(labels[None], answer[None])[0]


@pytest.mark.parametrize("sample", [0, 1])
def test_candidates_and_sign_are_the_originals(golden_misc, sample):
    labels, answer = (
        golden_misc["train_next/gt"][sample, 0],
        golden_misc["train_next/pred"][sample, 0],
    )

    correction = find_correction(labels, answer)

    assert correction.positive == golden_misc[f"train_next/is_positive_{sample}"]
    found = {tuple(place) for place in np.argwhere(correction.candidates())}
    assert found == {tuple(place) for place in golden_misc[f"train_next/cand_{sample}"]}


def test_clicks_are_uniform_over_the_candidates(golden_misc):
    correction = find_correction(
        golden_misc["train_next/gt"][0, 0], golden_misc["train_next/pred"][0, 0]
    )
    rng = np.random.default_rng(0)
    counts = np.zeros(correction.depth.shape)

    for _ in range(30_000):
        counts[place_click(correction, "inner_half", rng)] += 1

    inside = counts[correction.candidates()]
    assert inside.sum() == 30_000
    # Chi-square with 149 degrees of freedom: mean 149, standard deviation 17.
    assert ((inside - 200) ** 2 / 200).sum() == pytest.approx(149, abs=70)


def test_the_papers_placement_mixes_centre_and_border():
    labels = np.zeros((41, 41), np.int8)
    labels[10:31, 10:31] = 1
    correction = find_correction(labels, np.zeros((41, 41)))
    rng = np.random.default_rng(0)

    places = [place_click(correction, "centre_and_border", rng) for _ in range(2000)]

    centres = [place for place in places if place == (20, 20)]
    borders = [place for place in places if place != (20, 20)]
    assert len(centres) / 2000 == pytest.approx(0.5, abs=0.05)
    depths = np.array([correction.depth[place] for place in borders])
    assert depths.min() > 0
    assert depths.max() <= correction.depth.max() / 2


def test_ignored_pixels_are_in_no_error():
    nothing_known = np.full((9, 9), -1, np.int8)

    correction = find_correction(nothing_known, np.ones((9, 9)))

    assert place_click(correction, "inner_half", np.random.default_rng(0)) is None


def test_an_outline_of_ignored_pixels_does_not_draw_the_click_from_an_error():
    labels = np.full((100, 100), -1, np.int8)
    labels[:20], labels[30:70, 30:70] = 0, 1
    answer = np.where(labels == 0, 0.1, 0.9)
    answer[30:33, 30:60] = 0.1

    correction = find_correction(labels, answer)

    assert correction.positive
    row, column = place_click(correction, "inner_half", np.random.default_rng(0))
    assert 30 <= row < 33
    assert 30 <= column < 60


def test_a_perfect_answer_gets_no_click():
    labels = np.zeros((9, 9), np.int8)
    labels[2:5, 2:5] = 1
    correction = find_correction(labels, labels.astype(float))

    assert place_click(correction, "inner_half", np.random.default_rng(0)) is None


def test_clicks_fill_their_slots_from_the_end():
    labels = np.zeros((9, 9), np.int8)
    labels[2:5, 2:5] = 1
    slots = np.full((2, 24, 2), EMPTY, np.int16)
    missing = find_correction(labels, np.zeros((9, 9)))
    surplus = find_correction(np.zeros((9, 9)), np.ones((9, 9)))

    add_click(slots, missing, 1, (3, 3))
    add_click(slots, surplus, 2, (4, 4))
    add_click(slots, surplus, 3, None)

    # The original writes click k into slot 24-k of 24 positive, 48-k of all slots.
    np.testing.assert_array_equal(slots[POSITIVE, 23], (3, 3))
    np.testing.assert_array_equal(slots[NEGATIVE, 22], (4, 4))
    assert (slots == EMPTY).sum() == 2 * 46


def test_samples_of_a_batch_do_not_touch_each_other():
    rng = np.random.default_rng(0)
    labels, answers = rng.random((2, 7, 23, 31)) > 0.4

    together = find_corrections(labels, answers)

    for label, answer, correction in zip(labels, answers, together, strict=True):
        alone = find_correction(label, answer)
        assert correction.positive == alone.positive
        np.testing.assert_array_equal(correction.depth, alone.depth)


@pytest.mark.parametrize("placement", ["inner_half", "centre_and_border"])
def test_an_error_of_one_pixel_is_clicked_wherever_clicks_are_placed(placement):
    labels = np.zeros((9, 9), np.int8)
    labels[4, 5] = 1
    correction = find_correction(labels, np.zeros((9, 9)))
    rng = np.random.default_rng(0)
    assert {place_click(correction, placement, rng) for _ in range(20)} == {(4, 5)}
