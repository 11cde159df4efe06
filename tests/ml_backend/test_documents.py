"""What docs/label-studio.md says about names is true."""

import re
from pathlib import Path

from ml_backend.label_studio.labeling_config import parse
from ml_backend.settings import Settings
from tests.ml_backend.label_studio_requests import clicks, keypoint

DOCUMENT = (Path(__file__).parents[2] / "docs" / "label-studio.md").read_text()


def section(title):
    return DOCUMENT.split(f"### {title}")[1].split("\n### ")[0]


def test_recommended_labelling_configuration_can_be_served():
    config = parse(re.search(r"```xml\n(.*?)```", DOCUMENT, re.DOTALL)[1])
    assert config.brush_labels == ("Object", "Other")


def test_settings_exist_and_have_the_defaults_it_says():
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", section("Settings"), re.MULTILINE)
    documented = {}
    for names, defaults in rows:
        fields = [
            name.removeprefix("ICMFORMER_").removeprefix("…_").lower()
            for name in re.findall(r"`(\S+?)`", names)
        ]
        documented |= dict(zip(fields, defaults.replace("`", "").split(", "), strict=False))
    assert set(documented) <= set(Settings.model_fields)
    for field, default in documented.items():
        actual = Settings.model_fields[field].default
        if isinstance(actual, int | float) and actual:
            assert float(default) == actual, field


def test_metrics_are_all_there(client):
    client.post("/predict", json=clicks(keypoint(50, 50)))
    client.post("/webhook", json={"action": "X"})
    client.post("/predict", data=b"{")
    exposed = set(
        re.findall(r"^# TYPE (icmformer_\w+) ", client.get("/metrics").text, re.MULTILINE)
    )
    exposed = {name for name in exposed if not name.endswith("_created")}
    assert set(re.findall(r"`(icmformer_\w+)", section("Metrics"))) == exposed
