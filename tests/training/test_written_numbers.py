import pytest

from training.written_numbers import counted, signed


def test_one_is_not_many():
    assert [counted(number, "mask") for number in (0, 1, 2)] == ["0 masks", "1 mask", "2 masks"]


@pytest.mark.parametrize(
    ("number", "form", "written"),
    [
        (-0.003, "+.2f", "+0.00"),
        (0.003, "+.2f", "+0.00"),
        (-0.0, "+.2f", "+0.00"),
        (-0.005001, "+.2f", "-0.01"),
        (-0.3, "+.0f", "+0"),
        (-0.0003, "+.1%", "+0.0%"),
        (-0.0006, "+.1%", "-0.1%"),
        (12.3, "+.0f", "+12"),
    ],
)
def test_what_rounds_to_nothing_has_no_minus(number, form, written):
    assert signed(number, form) == written
