"""What of a training reaches its curves."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.loop.monitor import Monitor


@pytest.mark.parametrize(
    ("steps", "points"),
    [
        (5, [(20, 3.0)]),
        (20, [(80, 10.5)]),
        (25, [(80, 10.5), (100, 23.0)]),
    ],
)
def test_the_last_steps_are_in_the_curves_too(tmp_path, steps, points):
    monitor = Monitor(tmp_path, total=400, seen=0, silent=False)
    for step in range(1, steps + 1):
        monitor.step(4 * step, 1e-3, loss=torch.tensor(float(step)), iou=torch.tensor(0.5))
    monitor.close()

    curves = EventAccumulator(str(tmp_path / "curves")).Reload()
    assert [(point.step, point.value) for point in curves.Scalars("train/loss")] == points
    for name in ("iou", "learning_rate"):
        found = [point.step for point in curves.Scalars(f"train/{name}")]
        assert found == [seen for seen, _ in points]


def test_without_a_step_there_is_no_point(tmp_path):
    Monitor(tmp_path, total=400, seen=400, silent=False).close()

    assert not EventAccumulator(str(tmp_path / "curves")).Reload().Tags()["scalars"]
