import pickle

import numpy as np
import pytest

from icmformer.clicks import rows_columns
from icmformer.predictor import Predictor
from icmformer.segmentation import Segmentation
from tests import golden_loops
from tests.golden_loops import LOOPS
from tests.toy_network import ToyNetwork
from training.clicks.annotator import JitteredAnnotator
from training.datasets.sample import EvaluationSample
from training.evaluation.click_by_click import click_through, evaluate
from training.evaluation.noc import iou


@pytest.mark.parametrize("name", LOOPS)
def test_golden_loop(name):
    golden, loop = golden_loops.load(name), LOOPS[name]
    predictor = loop.predictor(ToyNetwork())
    sample = EvaluationSample("toy", golden_loops.image(), golden_loops.target())
    steps = list(click_through(predictor, sample, max_clicks=8, target_iou=0.99))
    places = rows_columns([step.click for step in steps])
    recorded = golden["clicks"]
    np.testing.assert_array_equal([step.click.positive for step in steps], recorded[:, 0])
    np.testing.assert_array_equal(places, recorded[:, 1:3])
    np.testing.assert_array_equal(np.float32([step.iou for step in steps]), golden["ious"])


class OneRowAClick:
    """Answers with the first rows of the image, one more for every click."""

    def segment(self, image, clicks, previous=None):
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[: len(clicks)] = True
        return Segmentation(mask.astype(np.float32), tuple(clicks))


def _sample(rows, name="a", **more):
    target = np.zeros((20, 10), dtype=np.int8)
    target[:rows] = 1
    return EvaluationSample(name, np.zeros((20, 10, 3), dtype=np.uint8), target, **more)


def test_stops_at_the_target_iou():
    sample = _sample(rows=10)
    sample.target[15:] = -1
    (score,) = evaluate(OneRowAClick(), [sample], target_iou=0.9).samples
    np.testing.assert_allclose(score.ious, np.arange(1, 10) / 10)
    assert score.object_share == 0.5
    assert score.seconds > 0
    (small,) = evaluate(OneRowAClick(), [_sample(rows=2)], max_clicks=1).samples
    assert small.object_share == 0.1


def test_gives_up_after_the_maximum_of_clicks():
    (score,) = evaluate(OneRowAClick(), [_sample(rows=20)], max_clicks=4).samples
    assert len(score.ious) == 4


def test_at_least_one_click_even_if_the_initial_mask_is_perfect():
    sample = _sample(rows=3, initial_mask=_sample(rows=3).target == 1)
    (first, *_) = click_through(OneRowAClick(), sample)
    assert rows_columns([first.click]).tolist() == [[0, 0]]
    assert not first.click.positive, "nothing is missing"


def test_initial_mask_is_corrected_rather_than_replaced():
    image, target = golden_loops.image(), golden_loops.target()
    too_large = np.zeros(target.shape, dtype=bool)
    too_large[40:240, 80:300] = True
    sample = EvaluationSample("davis-585", image, target, initial_mask=too_large)
    predictor = Predictor.for_benchmark(ToyNetwork())
    first = next(click_through(predictor, sample))
    assert not first.click.positive, "the largest error is superfluous area"
    scratch = next(click_through(predictor, EvaluationSample("davis", image, target)))
    assert first.segmentation.region != scratch.segmentation.region
    assert first.iou == iou(target, first.segmentation.mask)


def test_evaluates_all_samples_in_order_and_says_so():
    seen = []
    dataset = [_sample(rows=rows, name=f"rows {rows}") for rows in (2, 5, 18)]
    card = evaluate(OneRowAClick(), dataset, max_clicks=10, progress=seen.append)
    assert [sample.name for sample in card.samples] == ["rows 2", "rows 5", "rows 18"]
    assert tuple(seen) == card.samples
    assert card.clicks_to_reach(0.9).tolist() == [2, 5, 10]


def test_other_processes_can_evaluate():
    image, target = golden_loops.image(), golden_loops.target()
    job = (
        Predictor.for_benchmark(ToyNetwork()),
        EvaluationSample("toy", image, target),
        JitteredAnnotator(seed=3),
    )
    copied = pickle.loads(pickle.dumps(job))
    scores = [
        evaluate(predictor, [sample], max_clicks=2, annotator=annotator).samples[0]
        for predictor, sample, annotator in (job, copied)
    ]
    assert scores[0].ious == scores[1].ious
