"""Numbers on the command lines."""

import pytest

from training.__main__ import main


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("click-feel --checkpoint c --data d GrabCut --every 0", "0 is not a whole number from 1"),
        ("click-feel --checkpoint c --data d GrabCut --every -3", "-3 is not a whole number"),
        ("click-feel --checkpoint c --data d GrabCut --max-clicks 0", "0 is not a whole number"),
        ("learning-curve --checkpoint c --domain d --output o --masks 10,x", "x is not a whole"),
        (
            "learning-curve --checkpoint c --domain d --output o --test-objects 0",
            "0 is not a whole",
        ),
        ("cost --repeats -1", "-1 is not a whole number from 0"),
        ("benchmark --data d --seed -1", "-1 is not a whole number from 0"),
        ("export --checkpoint c --output o --input-size 0", "0 is not a whole number from 1"),
    ],
)
def test_what_is_no_number_of_anything_is_answered_with_a_sentence(
    monkeypatch, capsys, command, sentence
):
    monkeypatch.setattr("sys.argv", ["training", *command.split()])

    with pytest.raises(SystemExit):
        main()

    assert sentence in capsys.readouterr().err
