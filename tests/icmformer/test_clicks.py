"""Clicks live on a plane, disks on a grid; the two meet in one file."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icmformer.clicks import (
    Click,
    click_slots,
    disk_maps,
    from_row_column,
    rows_columns,
)
from icmformer.errors import InputError
from tests.golden_networks import GOLDEN

coordinates = st.floats(-12, 60, width=32)


def drawn(positions: np.ndarray, positive: np.ndarray, size_hw: tuple[int, int]) -> torch.Tensor:
    return disk_maps(click_slots(positions, positive), size_hw, 5)[0]


def test_centre_of_the_first_pixel_is_row_zero_column_zero() -> None:
    assert rows_columns([Click(x=0.5, y=0.5, positive=True)]).tolist() == [[0.0, 0.0]]
    assert from_row_column(3, 7, positive=False) == Click(x=7.5, y=3.5, positive=False)


def test_no_clicks_have_no_positions_and_empty_maps() -> None:
    assert rows_columns([]).shape == (0, 2)
    nothing = drawn(rows_columns([]), np.zeros(0, dtype=bool), (4, 6))
    assert nothing.tolist() == np.zeros((2, 4, 6)).tolist()


@given(st.integers(0, 500), st.integers(0, 500), st.booleans())
def test_pixel_indices_survive_the_way_there_and_back(row: int, column: int, sign: bool) -> None:
    assert rows_columns([from_row_column(row, column, sign)]).tolist() == [[row, column]]


def test_a_disk_inside_the_grid_has_81_pixels() -> None:
    positive, negative = drawn(np.array([[15, 20]]), np.array([True]), (40, 50))
    assert positive.sum() == 81
    assert positive[10:21, 20].all()
    assert negative.sum() == 0


@given(st.lists(st.tuples(coordinates, coordinates, st.booleans()), max_size=4))
def test_disks_are_what_their_definition_says(clicks: list[tuple[float, float, bool]]) -> None:
    positions = np.array([click[:2] for click in clicks]).reshape(-1, 2)
    positive = np.array([click[2] for click in clicks], dtype=bool)
    expected = np.zeros((2, 30, 45))
    rows, columns = np.mgrid[:30, :45].astype(np.float32)
    for row, column, sign in clicks:
        squares = (rows - np.float32(row)) ** 2 + (columns - np.float32(column)) ** 2
        expected[0 if sign else 1][squares <= 25] = 1
    assert np.array_equal(drawn(positions, positive, (30, 45)).numpy(), expected)


def test_a_batch_is_drawn_as_each_of_it_and_what_is_not_there_not_at_all() -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-8, 60, (3, 2, 24, 2)).astype(np.float32)
    positions[rng.random((3, 2, 24)) < 0.5, 0] = np.nan

    maps = disk_maps(torch.from_numpy(positions), (40, 56), 5)

    for found, clicks in zip(maps, positions.reshape(3, 48, 2), strict=True):
        there = ~np.isnan(clicks[:, 0])
        positive = np.arange(48) < 24
        expected = drawn(clicks[there], positive[there], (40, 56))
        assert torch.equal(found, expected)


def test_disks_equal_the_reference_implementation() -> None:
    """Golden values: tests/golden/ORIGIN.md."""
    golden = np.load(GOLDEN / "golden_misc.npz")
    shape = golden["disk/shape"]
    expected = np.unpackbits(golden["disk/maps"], count=int(shape.prod())).reshape(shape)
    for points, maps in zip(golden["disk/points"], expected, strict=True):
        half = len(points) // 2
        there = points[:, :2].max(axis=1) >= 0
        positions, positive = points[there, :2].astype(np.float64), np.arange(2 * half) < half
        result = drawn(positions, positive[there], maps.shape[-2:])
        assert np.array_equal(result.numpy(), maps)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_coordinate_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="finite"):
        click_slots(np.array([[3.0, bad]]), np.array([True]))


@pytest.mark.parametrize("parts", [("3", 1, True), (3, None, True), (3, 1, "no"), (3, 1, 2)])
def test_what_is_no_click_is_refused(parts: tuple[float, float, bool]) -> None:
    with pytest.raises(InputError, match="needs two numbers and True or False, this one has"):
        Click(*parts)


def test_numbers_of_numpy_make_a_click() -> None:
    made = Click(np.float32(3), np.int64(4), np.bool_(True))
    assert made == Click(3.0, 4.0, positive=True)
