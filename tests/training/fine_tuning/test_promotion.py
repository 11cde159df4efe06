from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import ScoreCardError
from training.evaluation.noc import SampleScore, ScoreCard
from training.fine_tuning.promotion import Comparison, Policy, compare, decide


def card(clicks, per_image=4, max_clicks=20):
    """A score card whose samples reach an IoU of 0.9 with exactly these numbers of clicks."""
    return ScoreCard(
        tuple(
            SampleScore(f"{n // per_image}#{n}", (0.5,) * (c - 1) + (0.9,), 1.0, 0.1)
            for n, c in enumerate(clicks)
        ),
        max_clicks=max_clicks,
    )


def both(before, after, **options):
    return Comparison(card(before, **options), card(after, **options))


def spread(mean, count=40):
    """Numbers of clicks around a mean, the same easy and hard objects for every mean."""
    return [max(1, round(mean + 2 * np.sin(n))) for n in range(count)]


POLICY = Policy(threshold=0.85, max_retention_loss=0.02, min_objects=20, min_images=5)
SAME = both(spread(5), spread(5))


@pytest.mark.parametrize(
    ("held_out", "retention", "verdict", "words"),
    [
        pytest.param(both(spread(6), spread(4)), SAME, "promote", "fewer clicks", id="better"),
        pytest.param(both(spread(6), spread(6)), SAME, "keep", "not shown", id="equal"),
        pytest.param(both(spread(4), spread(6)), SAME, "keep", "more clicks", id="worse"),
        pytest.param(
            both(spread(6, 40), [*spread(6, 38), 1, 1]), SAME, "keep", "not shown",
            id="better by luck on one image",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5), spread(6)), "keep", "forgot too much",
            id="better here, worse elsewhere",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5, 100), [*spread(5, 99), 11]), "promote",
            "retention set is kept", id="a little worse elsewhere",
        ),
        pytest.param(
            both(spread(6), spread(4)), both([10] * 100, [*[10] * 9, 11] * 10, per_image=10),
            "promote", "retention set is kept", id="surely worse elsewhere, by one percent",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5, 40), [*spread(5, 38), 9, 9]), "ask",
            "may have forgotten too much", id="perhaps worse elsewhere",
        ),
        pytest.param(
            both(spread(6, 12), spread(4, 12)), SAME, "ask", "12 held-out objects of 3 images",
            id="too few objects",
        ),
        pytest.param(
            both(spread(6), spread(4), per_image=20), SAME, "ask", "40 held-out objects of 2",
            id="many objects on too few images",
        ),
        pytest.param(
            both(spread(4, 12), spread(9, 12), per_image=2), SAME, "keep", "more clicks",
            id="few objects, and clearly worse",
        ),
        pytest.param(
            both(spread(4, 12), spread(9, 12)), SAME, "ask", "12 held-out objects of 3 images",
            id="seemingly worse on too few images",
        ),
        pytest.param(
            both([5] * 12, [*[5] * 11, 6], per_image=2), SAME, "ask", "on 12 held-out objects",
            id="perhaps worse on too few objects",
        ),
        pytest.param(
            both([5, 4, 3], [5, 4, 4], per_image=3), SAME, "ask",
            "saved -0.33, 95 % -19.00 to +19.00), but on 3 held-out objects of 1 image only",
            id="of one image nothing follows",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5, 12), spread(9, 12)), "ask",
            "may have forgotten too much", id="seemingly worse on few other images",
        ),
        pytest.param(
            both(spread(6, 12), spread(4, 12)), both(spread(5), spread(9)), "keep", "forgot",
            id="few objects, and forgot",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5, 16), spread(5, 16)), "ask",
            "seems kept: ", id="kept on too few other images to tell",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5), spread(5), per_image=20), "ask",
            "40 objects of 2 images only", id="many other objects on too few images",
        ),
        pytest.param(
            both(spread(6, 20), spread(4, 20)), both(spread(5, 20), spread(5, 20)), "promote",
            "fewer clicks", id="just enough objects on just enough images",
        ),
        pytest.param(
            both(spread(6), spread(4)), both([10] * 100, [*[10] * 6, *[11] * 4] * 10, per_image=10),
            "keep", "forgot too much", id="surely worse elsewhere, by four percent",
        ),
        pytest.param(
            both(spread(6), spread(4)), both([10] * 100, [*[10] * 8, 11, 11] * 10, per_image=10),
            "promote", "retention set is kept", id="worse elsewhere by exactly what it may be",
        ),
        pytest.param(
            both(spread(6), spread(4)), both(spread(5, 20), spread(9, 20)), "keep", "forgot",
            id="surely forgot, on just enough other images",
        ),
        pytest.param(
            both(spread(4, 20), spread(9, 20)), SAME, "keep", "needs more clicks",
            id="surely worse, on just enough images",
        ),
        pytest.param(None, SAME, "ask", "no accepted object", id="nothing held out"),
        pytest.param(
            both(spread(6), spread(4)), None, "ask", "has no object to judge by",
            id="nothing in the retention set to judge by",
        ),
    ],
)  # fmt: skip
def test_verdicts(held_out, retention, verdict, words):
    decision = decide(held_out, retention, POLICY)
    assert decision.verdict == verdict
    assert words in " ".join(decision.reasons)


@pytest.mark.parametrize(("after", "verdict"), [(6, "promote"), (7, "keep")])
def test_what_may_be_forgotten_is_a_share_of_the_clicks_before(after, verdict):
    policy = replace(POLICY, max_retention_loss=0.5)
    elsewhere = both([4] * 40, [after] * 40)
    assert decide(both(spread(6), spread(4)), elsewhere, policy).verdict == verdict


def test_the_decision_says_how_much():
    decision = decide(both([6] * 40, [3] * 40), SAME, POLICY)
    assert decision.held_out.share == pytest.approx(0.5)
    assert "6.00 → 3.00 clicks (-50.0%" in decision.reasons[0]
    assert (decision.held_out.objects, decision.held_out.images) == (40, 10)


def test_the_same_cards_give_the_same_decision():
    held_out = both(spread(6), spread(5.4))
    assert decide(held_out, SAME, POLICY) == decide(held_out, SAME, POLICY)


def test_images_may_have_the_separator_in_their_names():
    renamed = [
        replace(one, samples=tuple(replace(s, name=f"scan #{s.name}") for s in one.samples))
        for one in (SAME.live, SAME.candidate)
    ]
    assert compare(Comparison(*renamed), 0.85).images == 10


def test_an_object_that_several_annotators_click_is_one_object():
    once = both(spread(6, 12), spread(5, 12))
    before, after = (
        replace(card, samples=card.samples * 3) for card in (once.live, once.candidate)
    )
    assert compare(Comparison(before, after), 0.85) == compare(once, 0.85)


def test_cards_about_different_objects_are_refused():
    with pytest.raises(ScoreCardError, match="not about the same objects"):
        compare(Comparison(card([3] * 8), card([3] * 9)), 0.85)
    for limits in ((20, 10), (10, 20)):
        with pytest.raises(ScoreCardError, match="different numbers of clicks"):
            compare(Comparison(*(card([3] * 8, max_clicks=limit) for limit in limits)), 0.85)


clicks = st.lists(st.integers(1, 20), min_size=24, max_size=24)


@given(clicks, clicks)
def test_a_candidate_that_needs_more_clicks_on_average_never_goes_live(before, after):
    decision = decide(both(before, after), SAME, POLICY)
    if np.mean(after) >= np.mean(before):
        assert decision.verdict != "promote"


@given(clicks, clicks)
def test_of_two_models_at_most_one_is_better(before, after):
    verdicts = [
        decide(both(*pair), SAME, POLICY).verdict for pair in ((before, after), (after, before))
    ]
    assert verdicts.count("promote") <= 1


def test_the_policy_says_to_which_iou_clicks_are_counted():
    """Where outlines are uncertain, a candidate may be better to 75 % and equal to 85 %."""

    def clicked(loose, tight):
        ious = [[0.5] * (loose - 1) + [0.8] * (tight - loose) + [0.9] for _ in range(40)]
        samples = [
            SampleScore(f"{number // 4}#{number % 4}", tuple(values), 0.0, 0.1)
            for number, values in enumerate(ious)
        ]
        return ScoreCard(tuple(samples), 20, 0.9)

    held_out = Comparison(clicked(5, 9), clicked(2, 9))
    assert decide(held_out, SAME, replace(POLICY, threshold=0.75)).verdict == "promote"
    assert decide(held_out, SAME, POLICY).verdict == "keep"
