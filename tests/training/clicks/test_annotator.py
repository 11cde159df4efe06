import numpy as np

from icmformer.clicks import from_row_column
from training.clicks.annotator import CentreAnnotator, JitteredAnnotator, deepest_error


def _click_on(target, masks):
    """Rows (positive, row, column, index) of the successive clicks on these predictions."""
    clicks = []
    for mask in masks:
        clicks.append(CentreAnnotator().next_click(target, mask, clicks))
    return [[c.positive, c.y - 0.5, c.x - 0.5, i] for i, c in enumerate(clicks)]


def test_golden_sequence(golden_misc):
    target, predicted = golden_misc["clicker/gt"], golden_misc["clicker/pred"]
    nothing, everything = np.zeros_like(predicted), np.ones_like(predicted)
    masks = [nothing, predicted, predicted, predicted, nothing, everything, target == 1]
    expected = golden_misc["clicker/seq_zero_pr_pr_pr_zero_ones_perfect"]
    assert _click_on(target, masks) == expected.tolist()


def test_golden_square(golden_misc):
    target = np.zeros((20, 20), dtype=np.int8)
    target[5:15, 5:15] = 1
    masks = [np.zeros((20, 20), dtype=bool)] * 4
    assert _click_on(target, masks) == golden_misc["clicker/square_seq"].tolist()


def test_golden_tie_asks_for_a_negative_click(golden_misc):
    target, mask = np.zeros((20, 20), dtype=np.int8), np.zeros((20, 20), dtype=bool)
    target[:10, :10] = 1
    mask[10:, 10:] = True
    assert _click_on(target, [mask] * 3) == golden_misc["clicker/tie_seq"].tolist()


def test_golden_distances_are_exact(golden_misc):
    target, predicted = golden_misc["clicker/gt"], golden_misc["clicker/pred"]
    positive, depth = deepest_error(target, predicted & (target != 0), [])
    assert positive
    np.testing.assert_allclose(depth, golden_misc["clicker/fn_dt_mask0"], rtol=0, atol=1e-6)
    assert abs(depth.max() - golden_misc["clicker/fn_dt_mask0_max"]) < 1e-6


def test_distances_are_roots_of_whole_numbers_so_that_ties_are_ties():
    depth = deepest_error(np.ones((57, 83), dtype=np.int8), np.zeros((57, 83), dtype=bool), [])[1]
    np.testing.assert_array_equal(depth, np.sqrt(np.rint(depth**2)))
    rows = np.minimum(np.arange(1, 58), np.arange(57, 0, -1))[:, None]
    columns = np.minimum(np.arange(1, 84), np.arange(83, 0, -1))
    np.testing.assert_array_equal(depth, np.minimum(rows, columns))


def test_perfect_prediction_gets_a_negative_click_in_the_corner():
    target = np.eye(5, dtype=np.int8)
    assert CentreAnnotator().next_click(target, target == 1, []) == from_row_column(0, 0, False)


def test_ignored_pixels_are_no_error():
    target = np.full((9, 9), -1, dtype=np.int8)
    target[4, 4] = 1
    first = CentreAnnotator().next_click(target, np.zeros((9, 9), dtype=bool), [])
    assert first == from_row_column(4, 4, True)
    after = CentreAnnotator().next_click(target, np.ones((9, 9), dtype=bool), [first])
    assert after == from_row_column(0, 0, False), "nothing but ignored pixels is superfluous"


def test_jittered_clicks_stay_inside_the_error_and_prefer_its_middle():
    target = np.zeros((40, 60), dtype=np.int8)
    target[10:31, 20:51] = 1
    nothing = np.zeros(target.shape, dtype=bool)
    clicks = [JitteredAnnotator(seed).next_click(target, nothing, []) for seed in range(300)]
    assert all(c.positive and target[int(c.y), int(c.x)] == 1 for c in clicks)
    depth = deepest_error(target, nothing, [])[1]
    depths = np.array([depth[int(c.y), int(c.x)] for c in clicks])
    inside = depth[target == 1]
    expected = (inside * inside).sum() / inside.sum()
    assert abs(depths.mean() - expected) < 4 * inside.std() / np.sqrt(300)
    assert len(set(clicks)) > 150


def test_jittered_clicks_repeat_and_depend_on_seed_and_turn():
    target = np.ones((30, 30), dtype=np.int8)
    nothing = np.zeros((30, 30), dtype=bool)
    first = JitteredAnnotator(seed=1).next_click(target, nothing, [])
    assert first == JitteredAnnotator(seed=1).next_click(target, nothing, [])
    assert first != JitteredAnnotator(seed=2).next_click(target, nothing, [])
    assert first != JitteredAnnotator(seed=1).next_click(target, nothing, [first])


def test_where_a_jittered_click_fell_says_nothing_about_the_next():
    target = np.ones((30, 30), dtype=np.int8)
    nothing = np.zeros((30, 30), dtype=bool)
    moved = []
    for seed in range(5):
        first = JitteredAnnotator(seed).next_click(target, nothing, [])
        second = JitteredAnnotator(seed).next_click(target, nothing, [first])
        moved.append(abs(second.y - first.y))
    assert max(moved) > 3


def test_jittered_annotator_has_nothing_to_correct():
    target = np.ones((4, 4), dtype=np.int8)
    click = JitteredAnnotator().next_click(target, target == 1, [])
    assert click == from_row_column(0, 0, False)


def test_objects_of_one_shape_are_clicked_at_different_places():
    one, other = np.zeros((2, 24, 24), dtype=np.int8)
    one[2:10, 2:10] = 1
    other[9:17, 7:15] = 1
    nothing = np.zeros((24, 24), dtype=bool)
    offsets = set()
    for seed in range(5):
        first, second = (JitteredAnnotator(seed).next_click(t, nothing, []) for t in (one, other))
        offsets.add((second.y - first.y, second.x - first.x))
    assert offsets != {(7, 5)}
