from training.plural import counted


def test_one_is_not_many():
    assert [counted(number, "mask") for number in (0, 1, 2)] == ["0 masks", "1 mask", "2 masks"]
