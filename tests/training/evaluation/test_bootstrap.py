"""Intervals of means over objects cover what they promise, also where images hold many."""

import numpy as np
import pytest
from scipy import special

from training.evaluation.bootstrap import interval_over_images

ANY = (-np.inf, np.inf)


def test_objects_of_one_image_count_as_one_observation():
    of_image = np.random.default_rng(3).normal(size=10)
    saved = np.repeat(of_image, 20)
    together = interval_over_images(saved, [f"{n // 20}#{n}" for n in range(200)], ANY)
    once = interval_over_images(of_image, [str(n) for n in range(10)], ANY)
    assert together == pytest.approx(once)
    alone = interval_over_images(saved, [str(n) for n in range(200)], ANY)
    assert together[0] < alone[0] < alone[1] < together[1]


def test_the_names_of_images_may_hold_the_separator():
    saved = np.repeat([4, -3, 2], 20)
    slides = [f"slide #{n // 20}#0.{n}" for n in range(60)]
    plain = [f"{n // 20}#{n}" for n in range(60)]
    assert interval_over_images(saved, slides, ANY) == interval_over_images(saved, plain, ANY)


def test_a_single_image_says_nothing_of_others():
    assert interval_over_images(np.array([1, 2, 3]), ["a#1", "a#2", "a#3"], (-19, 19)) == (-19, 19)


@pytest.mark.parametrize(("images", "objects"), [(20, 600), (60, 300), (80, 80)])
def test_the_interval_covers_the_mean_as_often_as_it_says(images, objects):
    rng = np.random.default_rng(0)
    of_image = np.arange(objects) % images
    names = [f"{image}#{number}" for number, image in enumerate(of_image)]
    hits = 0
    for seed in range(300):
        clicks = rng.geometric(0.3, size=objects) + rng.normal(size=images)[of_image]
        low, high = interval_over_images(clicks, names, (0, np.inf), draws=300, seed=seed)
        hits += low <= 1 / 0.3 <= high
    assert 0.91 < hits / 300 < 0.99


@pytest.mark.parametrize(("images", "objects"), [(2, 20), (3, 12), (5, 20), (8, 40), (20, 60)])
def test_what_is_no_better_is_seldom_called_better_or_worse(images, objects):
    """Under the null, with effects of images and of objects, at most the 5 % that are promised."""
    rng = np.random.default_rng(0)
    of_image = np.arange(objects) % images
    names = [str(image) for image in of_image]
    saved = rng.normal(size=(2000, images))[:, of_image]
    saved += 1.5 * rng.normal(size=saved.shape)
    ends = np.array([interval_over_images(row, names, ANY, 1000) for row in np.round(saved)])
    assert np.mean(ends[:, 0] > 0) < 0.05
    assert np.mean(ends[:, 1] < 0) < 0.05


@pytest.mark.parametrize("objects", [(10, 10), (3, 5, 12), (2, 4, 6, 8), (1, 2, 4, 5, 8)])
def test_of_a_few_images_too_the_interval_covers_the_mean(objects):
    rng = np.random.default_rng(0)
    of_image = np.repeat(np.arange(len(objects)), objects)
    names = [f"{image}#{number}" for number, image in enumerate(of_image)]
    saved = rng.normal(size=(2000, len(objects)))[:, of_image]
    saved += 2 * rng.normal(size=saved.shape)
    low, high = interval_over_images(saved.T, names, ANY)
    assert 0.9 < np.mean((low <= 0) & (high >= 0)) < 0.97


def test_it_ends_where_values_do():
    low, high = interval_over_images(np.array([[18, 1], [-16, 3]]), ["a", "b"], (-19, 19))
    np.testing.assert_allclose(low, [-19, 2 - special.stdtrit(1, 0.975)])
    np.testing.assert_allclose(high, [19, 2 + special.stdtrit(1, 0.975)])


def test_with_many_images_the_interval_is_the_plain_percentile_interval():
    values = np.random.default_rng(1).normal(size=2000)
    low, high = interval_over_images(values, [str(n) for n in range(2000)], ANY, 4000)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.05)


@pytest.mark.parametrize("images", [6, 8, 10])
def test_with_few_normal_values_the_interval_is_nearly_students(images):
    values = special.ndtri((np.arange(images) + 0.5) / images)
    names = [str(n) for n in range(images)]
    low, high = interval_over_images(values, names, ANY, 20_000)
    error = values.std(ddof=1) / np.sqrt(images)
    assert 0.95 < (high - low) / (2 * special.stdtrit(images - 1, 0.975) * error) <= 1


def test_of_five_images_the_interval_is_students():
    values = np.arange(5)
    low, high = interval_over_images(values, list("abcde"), ANY)
    error = values.std(ddof=1) / np.sqrt(5)
    assert high - low == pytest.approx(2 * special.stdtrit(4, 0.975) * error)


@pytest.mark.parametrize("slides", [2, 20], ids=["Student's", "resampled"])
def test_the_mean_is_of_objects_not_of_images(slides):
    values = np.tile(np.repeat([1, 0], [90, 10]), slides)
    names = [f"{n // 100}{'ab'[n % 100 >= 90]}#{n}" for n in range(100 * slides)]
    low, high = interval_over_images(values, names, ANY)
    assert low < 0.9 < high
    assert high - low < 2 / np.sqrt(slides)


def test_each_column_of_curves_has_an_interval_of_its_own():
    curves = np.random.default_rng(2).random((30, 4))
    names = [f"{number // 3}#{number}" for number in range(30)]
    low, high = interval_over_images(curves, names, (0, 1))
    alone = [interval_over_images(column, names, (0, 1)) for column in curves.T]
    np.testing.assert_allclose(np.stack([low, high], axis=1), alone)
