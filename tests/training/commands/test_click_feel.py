import numpy as np
import pytest
import torch
from PIL import Image

from icmformer import Predictor, build_model, load_checkpoint, save_checkpoint
from icmformer.clicks import from_row_column
from icmformer.segmentation import Segmentation
from training.__main__ import main
from training.commands.click_feel import count_specks, effect_of_change, object_effects, table
from training.datasets.benchmarks import open_benchmark
from training.datasets.sample import EvaluationSample


def _square(top, left, side, size=100):
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_correction_where_it_was_asked_for():
    target = _square(20, 20, 40)
    before = _square(20, 20, 40)
    before[20:30, 20:60] = False
    near, repaired, spoiled = effect_of_change(
        target.astype(np.int8), before, target, from_row_column(25, 40, True)
    )
    assert (near, repaired, spoiled) == (1, 0, 0)


def test_what_lies_around_the_error_is_near():
    target = _square(20, 20, 40).astype(np.int8)
    before = target == 1
    before[20:30, 20:60] = False
    after = before.copy()
    after[18:20, 20:60] = True  # nearer than 0.15 times the square root of the object's area
    effect = effect_of_change(target, before, after, from_row_column(25, 40, True))
    assert effect == (1, 0, 0)


def test_a_correction_that_breaks_something_far_away():
    target = _square(20, 20, 40).astype(np.int8)
    before = target == 1
    before[20:30, 20:60] = False
    after = (target == 1) | _square(90, 90, 10)
    near, repaired, spoiled = effect_of_change(target, before, after, from_row_column(25, 40, True))
    assert near == pytest.approx(400 / 500)
    assert repaired == 0
    assert spoiled == pytest.approx(100 / 1600)


def test_a_correction_that_mends_another_error_too():
    target = _square(20, 20, 40).astype(np.int8)
    before = target == 1
    before[20:25, 20:60] = before[55:60, 20:60] = False
    after = target == 1
    near, repaired, spoiled = effect_of_change(target, before, after, from_row_column(22, 40, True))
    assert near == pytest.approx(0.5)
    assert repaired == pytest.approx(200 / 1600)
    assert spoiled == 0


def test_pixels_that_do_not_count_do_not_change():
    target = _square(20, 20, 40).astype(np.int8)
    before = target == 1
    before[20:30, 20:60] = False
    target[80:] = -1
    after = (target == 1) | _square(90, 90, 10)
    assert effect_of_change(target, before, after, from_row_column(25, 40, True))[0] == 1


def test_specks_are_small_parts_and_pinholes():
    mask = _square(10, 10, 40)
    assert count_specks(mask, []) == 0
    mask[80:82, 80:82] = True
    mask[30, 30] = False
    assert count_specks(mask, []) == 2
    mask |= _square(60, 60, 15)  # a part that is large enough to be meant
    assert count_specks(mask, []) == 2


def test_what_reaches_the_border_is_no_pinhole():
    mask = np.ones((1000, 1000), dtype=bool)
    assert count_specks(mask, []) == 0
    mask[0, 0] = mask[500, -3:] = False
    assert count_specks(mask, []) == 0
    mask[500, 500] = False
    assert count_specks(mask, []) == 1


def test_what_was_clicked_is_no_speck():
    mask = _square(10, 10, 40)
    mask[80, 80] = True
    mask[30, 30] = False
    part, hole = (80, 80), (30, 30)

    assert count_specks(mask, [from_row_column(*part, True)]) == 1
    assert count_specks(mask, [from_row_column(*part, True), from_row_column(*hole, False)]) == 0
    # Clicks of the other sign did not ask for them.
    assert count_specks(mask, [from_row_column(*part, False), from_row_column(*hole, True)]) == 2


class Disobedient:
    """Answers the first click with nothing and every other one with everything."""

    def segment(self, image, clicks, previous=None):
        mask = np.full(image.shape[:2], len(clicks) > 1)
        return Segmentation(mask.astype(np.float32), tuple(clicks))


def test_clicks_that_are_not_obeyed():
    target = _square(20, 20, 40).astype(np.int8)
    sample = EvaluationSample("a", np.zeros((100, 100, 3), dtype=np.uint8), target)
    first, second, third = object_effects(Disobedient(), sample, max_clicks=3)
    assert first.positive_inside == 0
    assert np.isnan(first.negative_outside)
    assert second.positive_inside == 1
    assert third.negative_outside == 0
    assert np.isnan(third.near)  # nothing changed
    last_row = table([[first, second, third], [first]]).splitlines()[-1]
    assert last_row.startswith("| 3 | 1 | 0.160 | 100.0% | 0.0% | 0.00 | - |")


def test_the_network_alone_reads_davis_at_the_size_of_benchmarks(tmp_path, monkeypatch, capsys):
    torch.manual_seed(2)  # of a network whose masks are neither everything nor nothing
    path, data = tmp_path / "large.safetensors", tmp_path / "DAVIS"
    save_checkpoint(build_model("tiny", input_size=(448, 448)), path)
    picture = np.random.default_rng(0).integers(0, 255, (60, 70, 3), dtype=np.uint8)
    mask = 255 * _square(20, 20, 30)[:60, :70].astype(np.uint8)
    for file, pixels in (("img/a.jpg", picture), ("gt/a.png", mask)):
        (data / file).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(data / file)
    arguments = f"--checkpoint {path} --data {tmp_path} --max-clicks 1 DAVIS"
    monkeypatch.setattr("sys.argv", f"training click-feel {arguments}".split())

    assert main() == 0

    (sample,) = open_benchmark("DAVIS", tmp_path)
    at_448, at_672 = (
        table([object_effects(predictor, sample, max_clicks=1)])
        for predictor in (
            Predictor.for_benchmark(load_checkpoint(path), (size, size)) for size in (448, 672)
        )
    )
    assert at_448 != at_672
    assert f"DAVIS, the network alone:\n\n{at_672}" in capsys.readouterr().out


def test_the_command(tmp_path, monkeypatch, capsys):
    save_checkpoint(build_model("tiny"), tmp_path / "tiny.safetensors")
    for kind, value in (("images", 90), ("masks", 0)):
        (tmp_path / "own" / kind).mkdir(parents=True)
        picture = np.full((48, 64), value, dtype=np.uint8)
        picture[10:30, 10:40] += 1
        Image.fromarray(picture).save(tmp_path / "own" / kind / "a.png")
    monkeypatch.setattr(
        "sys.argv",
        f"training click-feel --checkpoint {tmp_path}/tiny.safetensors folder:own"
        " --max-clicks 2".split(),
    )
    monkeypatch.chdir(tmp_path)
    assert main() == 0
    printed = capsys.readouterr().out
    assert "folder:own, as served:" in printed
    assert "folder:own, the network alone:" in printed
    assert "| 2 | 1 |" in printed
    titles = printed[printed.index("| mIoU |") :].split("\n")[0].strip("| ").split(" | ")
    for title in titles[1:]:
        assert f"\n{title}  " in printed, "every column is explained"
