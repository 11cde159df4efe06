"""A learning curve says what its numbers are."""

import json

from training.evaluation.noc import SampleScore, ScoreCard
from training.fine_tuning.learning_curve_report import Point, write_learning_curve


def card(*clicks: int) -> ScoreCard:
    """Return a card of three objects on two images, clicked so often by one annotator or two."""
    names = ["a#0.1", "a#0.2", "b#0.1"] * (len(clicks) // 3)
    scores = (
        SampleScore(name, ious=(0.5,) * (count - 1) + (0.9,), object_share=0.1, seconds=1.0)
        for name, count in zip(names, clicks, strict=True)
    )
    return ScoreCard(tuple(scores), 20, 0.9)


def test_the_numbers_are_explained_where_they_stand(tmp_path):
    points = [
        Point(10, {"held out": card(2, 2, 3, 2, 2, 3), "GrabCut": card(1, 1, 1)}),
        Point(0, {"held out": card(4, 4, 5, 4, 4, 5), "GrabCut": card(1, 1, 1)}),
    ]

    write_learning_curve(points, "nuclei", {"commit": "1234"}, tmp_path)

    text = (tmp_path / "learning_curve.md").read_text()
    assert text.splitlines()[2].startswith(
        "held out: 3 objects of 2 images, each clicked by 2 annotators; GrabCut: 3 objects of 2"
        " images, each clicked by 1 annotator. Mean clicks; in brackets"
    )
    assert "| 0 | 4.33 | 1.00 |\n| 10 | 2.33 (-46.2%; saved +2.00 to +2.00) | 1.00" in text
    numbers = json.loads((tmp_path / "learning_curve.json").read_text())
    assert numbers["clicked"]["GrabCut"] == "3 objects of 2 images, each clicked by 1 annotator"
