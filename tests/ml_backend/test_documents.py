"""What the documents say about names of settings and metrics is true."""

import re
from pathlib import Path

from ml_backend.label_studio.labeling_config import parse
from ml_backend.settings import PREFIX, Settings
from tests.ml_backend.label_studio_requests import clicks, keypoint

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "label-studio.md").read_text()
# what the tables say where the default is no value of its own
IN_WORDS = {
    "none": (None, ""),
    "as /setup says": (None,),
    "the starter": (None,),
    "the packaged one": (None,),
    "SQLite files": (None,),
    "a SQLite file": (None,),
    "a folder": (None,),
    "the free cores": (0,),
    "half the cores": (0,),
}


def section(title, document=DOCUMENT):
    return re.split(rf"^##+ {title}$", document, flags=re.MULTILINE)[1].split("\n##")[0]


def documented_settings():
    """Name, whether it has a star, and default of every setting, as the tables have them."""
    settings = []
    for document in (DOCUMENT, (DOCS / "learning.md").read_text()):
        rows = re.findall(r"^\| (`.*?) \| (.*?) \|", section("Settings", document), re.MULTILINE)
        for names, defaults in rows:
            found = re.findall(r"`(\S+?)`(\*?)", names)
            texts = defaults.replace("`", "").split(", ")
            texts = texts * len(found) if len(texts) == 1 else texts
            settings += [(*name, text) for name, text in zip(found, texts, strict=True)]
    return settings


def field_of(name):
    return name.removeprefix(PREFIX).removeprefix("…_").lower()


def is_said_by(text, default):
    if text in IN_WORDS:
        return default in IN_WORDS[text]
    return text == (f"{default:g}" if isinstance(default, float) else str(default))


def test_recommended_labelling_configuration_can_be_served():
    config = parse(re.search(r"```xml\n(.*?)```", DOCUMENT, re.DOTALL)[1])
    assert config.brush_labels == ("Object", "Other")


def test_every_setting_is_documented_once():
    documented = [field_of(name) for name, _, _ in documented_settings()]
    assert sorted(documented) == sorted(Settings.model_fields)


def test_settings_have_the_defaults_that_are_documented():
    for name, _, text in documented_settings():
        assert is_said_by(text, Settings.model_fields[field_of(name)].default), name


def test_settings_with_a_star_are_those_that_are_read_without_the_prefix():
    for name, star, _ in documented_settings():
        both = Settings.model_fields[field_of(name)].validation_alias is not None
        assert bool(star) == both, name
        assert both or name.startswith((PREFIX, "…_")), name


def test_metrics_are_all_there(client):
    client.post("/predict", json=clicks(keypoint(50, 50)))
    client.post("/webhook", json={"action": "X"})
    client.post("/predict", data=b"{")
    exposed = set(
        re.findall(r"^# TYPE (icmformer_\w+) ", client.get("/metrics").text, re.MULTILINE)
    )
    exposed = {name for name in exposed if not name.endswith("_created")}
    assert set(re.findall(r"\bicmformer_\w+", section("Metrics"))) == exposed
