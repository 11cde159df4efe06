import json

import numpy as np
import pytest

from training.errors import ScoreCardError
from training.evaluation.noc import Interval, SampleScore, ScoreCard, iou


def _card(*curves, **settings):
    samples = [SampleScore(str(i), tuple(c), 0.5 * len(c), 0.05) for i, c in enumerate(curves)]
    return ScoreCard(tuple(samples), **settings)


PUBLISHED = _card(
    [0.5, 0.79, 0.86, 0.91], [0.95], [0.3] * 20, [0.3] * 19 + [0.93], [0.86, 0.7, 0.9]
)


def test_golden_iou(golden_misc):
    assert iou(golden_misc["clicker/gt"], golden_misc["clicker/pred"]) == golden_misc["iou/gt_pred"]


def test_golden_noc(golden_misc):
    thresholds = (0.80, 0.85, 0.90)
    np.testing.assert_allclose([PUBLISHED.noc(t) for t in thresholds], golden_misc["noc/noc"])
    spreads = [PUBLISHED.clicks_to_reach(t).std() for t in thresholds]
    np.testing.assert_allclose(spreads, golden_misc["noc/std"])
    assert [PUBLISHED.failures(t) for t in thresholds] == golden_misc["noc/over"].tolist()


def test_success_at_the_last_click_is_a_published_failure_but_was_reached():
    assert PUBLISHED.failures(0.9) == 2
    assert PUBLISHED.never_reached(0.9) == 1
    before = _card([0.3] * 18 + [0.93], [0.86] + [0.7] * 19)
    assert [before.failures(t) for t in (0.85, 0.9)] == [0, 1]
    assert [before.never_reached(t) for t in (0.85, 0.9)] == [0, 1]


@pytest.mark.parametrize(
    ("target", "mask", "expected"),
    [
        ([1, 1, 0, 0], [1, 0, 1, 0], 1 / 3),
        ([1, 1, -1, -1], [1, 1, 1, 0], 1.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
        ([0, -1, 0, 0], [0, 1, 0, 0], 1.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.0),
        ([1, 1, 0, 0], [0, 0, 0, 0], 0.0),
    ],
)
def test_iou(target, mask, expected):
    assert iou(np.int8([target]), np.array([mask], dtype=bool)) == expected


def test_curve_carries_the_last_value_forward():
    card = _card([0.9, 0.5], [0.1, 0.2, 0.3, 0.4], max_clicks=4)
    np.testing.assert_allclose(card.mean_ious(), [0.5, 0.35, 0.4, 0.45])


def test_seconds_per_click_weighs_clicks_not_samples():
    samples = (SampleScore("a", (0.1, 0.9), 1.0, 0.1), SampleScore("b", (0.9,), 2.0, 0.1))
    assert ScoreCard(samples).seconds_per_click() == 1.0


def test_refuses_thresholds_above_the_target_of_the_run():
    with pytest.raises(ScoreCardError, match=r"evaluate with a target IoU of 0\.95"):
        PUBLISHED.noc(0.95)
    with pytest.raises(ScoreCardError, match="unknown"):
        PUBLISHED.never_reached(0.95)
    assert _card([0.96], target_iou=0.95).noc(0.95) == 1


def test_needs_a_sample():
    with pytest.raises(ScoreCardError, match="at least one sample"):
        ScoreCard(())
    with pytest.raises(ScoreCardError, match="at least one click"):
        SampleScore("a", (), 0.0, 0.5)


def test_json_round_trip():
    card = _card([0.1, 1 / 3, 0.95], [0.7] * 7, max_clicks=7, target_iou=0.95)
    text = card.to_json()
    assert ScoreCard.from_json(text) == card
    assert len(text.splitlines()) == 4, "one line a sample"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", '{"format": "icmformer score card 1"}', '{"format": 2}']
)
def test_refuses_what_is_no_score_card(text):
    with pytest.raises(ScoreCardError):
        ScoreCard.from_json(text)


def test_refuses_unknown_fields_and_formats():
    fields = json.loads(_card([0.5]).to_json())
    with pytest.raises(ScoreCardError):
        ScoreCard.from_json(json.dumps({**fields, "format": "icmformer score card 2"}))
    with pytest.raises(ScoreCardError, match="colour"):
        ScoreCard.from_json(json.dumps({**fields, "colour": "red"}))


def test_splits_by_object_size():
    shares = {"speck": 0.0001, "cup": 0.05, "wall": 0.6, "door": 0.1}
    samples = tuple(SampleScore(name, (0.9,), 1.0, share) for name, share in shares.items())
    cards = ScoreCard(samples, max_clicks=5).by_object_size()
    names = {size: [s.name for s in card.samples] for size, card in cards.items()}
    assert names == {"small": ["speck"], "medium": ["cup"], "large": ["wall", "door"]}
    assert cards["small"].max_clicks == 5
    assert set(ScoreCard(samples[:1]).by_object_size()) == {"small"}


def test_of_a_single_image_the_interval_says_nothing():
    alone = ScoreCard(tuple(SampleScore(f"slide#{n}", (0.9,), 0.0, 0.1) for n in range(30)))
    assert alone.noc_interval(0.9) == Interval(1.0, 1.0, 20.0)


def test_the_interval_is_repeatable():
    assert PUBLISHED.noc_interval(0.9) == PUBLISHED.noc_interval(0.9)
    assert PUBLISHED.noc_interval(0.9).mean == PUBLISHED.noc(0.9)
