from ml_backend.short_text import listed, shortened


def test_a_long_name_is_cut_and_says_so():
    assert shortened("x" * 80) == "x" * 80
    assert shortened("x" * 81) == "x" * 79 + "…"
    assert shortened("four", 3) == "fo…"


def test_of_many_names_ten_are_listed_and_the_others_counted():
    names = {str(number): None for number in range(12)}
    assert listed(names) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert listed(list(names)[:10]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert listed(["x" * 81], mark="'") == f"'{'x' * 79}…'"
    assert listed([]) == ""
