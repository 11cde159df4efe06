"""What is seen of a network while it trains."""

import numpy as np
import pytest

from icmformer import Predictor, build_model
from training.datasets.benchmarks import open_benchmark
from training.evaluation.click_by_click import click_through
from training.evaluation.noc import SampleScore, ScoreCard
from training.loop.validation import Look, Validation, ValidationOptions


def test_clicks_are_drawn_where_they_are(shapes):
    name = f"folder:{shapes.name}"
    options = ValidationOptions(data=shapes.parent, sets=(name,), objects=2, clicks=1, pictures=2)
    network = build_model("tiny").eval()

    look = Validation(options).look(network, 32, interrupt=lambda: None)

    assert look.pictures is not None
    assert look.pictures.shape == (2 * 240, 3 * 320, 3)
    sample = open_benchmark(name, shapes.parent)[0]
    click = next(click_through(Predictor.for_benchmark(network, (32, 32)), sample)).click
    green = np.abs(look.pictures[:240, :320].astype(int) - (0, 200, 60)).max(axis=2) < 20
    # 72 × 88 pixels are shown on 240 × 293, and the middle of one stays its middle.
    middle = np.array([click.y, click.x]) * 240 / 72 - 0.5
    assert np.argwhere(green).mean(axis=0) == pytest.approx(middle, abs=0.5)


def test_the_quality_is_clicks_to_85_percent_on_the_first_set():
    first, second = (
        ScoreCard((SampleScore("a", ious, 0.0, 0.1),)) for ious in ([0.8, 0.86, 0.95], [0.95])
    )
    assert Look({"first": first, "second": second}, None).quality() == -2
    better = ScoreCard((SampleScore("a", (0.85, 0.95), 0.0, 0.1),))
    assert Look({"first": better}, None).quality() > Look({"first": first}, None).quality()
