"""What docs/benchmark.md shows of measuring other networks runs."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "benchmark.md").read_text()


def test_its_python_measures_whatever_answers_clicks(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}

    exec(code, names)

    card = names["card"]
    assert len(card.samples) == len(names["objects"]) > 10
    assert card.mean_ious()[0] > 0
    assert card.mean_ious()[-1] > card.mean_ious()[0]
    assert capsys.readouterr().out.startswith(f"{card.noc(0.90)} Interval(")
