import numpy as np
import pytest

from icmformer.guided_filter import following_edges

RADIUS, EPSILON = 4, 1e-4


def _halves(column, size=(40, 60)):
    """Draw an image that is dark left of a column and bright from there on."""
    image = np.full((*size, 3), (40, 60, 50), dtype=np.uint8)
    image[:, column:] = (200, 180, 210)
    return image


def _ramp(column, size=(40, 60)):
    """Return an answer that goes over from background to object around a column."""
    steps = np.clip((np.arange(size[1]) - column + 0.5) / 12 + 0.5, 0, 1)
    return np.tile(steps.astype(np.float32), (size[0], 1))


@pytest.mark.parametrize("column", [29, 30, 32])
def test_an_outline_moves_to_the_edge_beside_it(column):
    answer = following_edges(_ramp(column), _halves(30))
    outline = (answer > 0.49).argmax(axis=1)
    assert (outline == 30).all()


def test_where_the_image_shows_no_edge_the_outline_stays():
    answer = following_edges(_ramp(30), np.full((40, 60, 3), 120, dtype=np.uint8))
    assert abs((answer > 0.49).argmax(axis=1) - 30).max() <= 1


def test_what_the_network_is_sure_of_stays():
    probability = np.where(_ramp(30) > 0.5, np.float32(0.99), np.float32(0.01))
    assert following_edges(probability, _halves(26)) is probability
    probability[20, 30] = 0.5
    answer = following_edges(probability, _halves(26))
    assert (answer != probability).sum() <= 1
    assert probability[20, 30] == 0.5, "as it was"


def _by_least_squares(probability, image):
    """The filter as its paper defines it: a ridge regression in the window of every pixel."""
    height, width = probability.shape

    def windows(plane):
        widths = ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))[: plane.ndim]
        padded = np.pad(plane, widths, mode="symmetric")
        side = 2 * RADIUS + 1
        return lambda row, column: padded[row : row + side, column : column + side]

    colour_at, value_at = windows(image.astype(np.float64) / 255), windows(probability)
    slopes, intercepts = np.zeros((height, width, 3)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            colours = colour_at(row, column).reshape(-1, 3)
            values = value_at(row, column).ravel()
            covariance = np.cov(colours.T, bias=True) + EPSILON * np.eye(3)
            with_values = ((colours - colours.mean(0)) * (values - values.mean())[:, None]).mean(0)
            slopes[row, column] = np.linalg.solve(covariance, with_values)
            intercepts[row, column] = values.mean() - slopes[row, column] @ colours.mean(0)
    slope_at, intercept_at = windows(slopes), windows(intercepts)
    answer = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            slope = slope_at(row, column).reshape(-1, 3).mean(0)
            answer[row, column] = (
                slope @ (image[row, column] / 255) + intercept_at(row, column).mean()
            )
    sure = (probability <= 0.02) | (probability >= 0.98)
    return np.where(sure, probability, np.clip(answer, 0, 1))


@pytest.mark.parametrize("rows", [slice(0, 30), slice(11, 13), slice(0, 2)])
def test_it_is_the_filter_of_the_paper_where_the_network_is_unsure(rows):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (30, 24, 3), dtype=np.uint8)
    probability = np.zeros((30, 24), dtype=np.float32)
    probability[rows, 5:20] = random.random(probability[rows, 5:20].shape)
    expected = _by_least_squares(probability, image)
    np.testing.assert_allclose(following_edges(probability, image), expected, atol=2e-3)
