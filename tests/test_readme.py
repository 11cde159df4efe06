"""What the README and its companions say is true."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ml_backend.__main__ import PROGRAM
from ml_backend.demo.project import LABELING_CONFIG

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
# made by tools, or by people for themselves
NOT_OURS = {".env", ".git", ".venv", ".venv-label-studio", ".demo", "artefacts", "runs", "weights"}


def blocks(text: str, language: str = "") -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def tree() -> dict[str, str]:
    """Paths of the annotated tree, with their phrases."""
    (drawn,) = [block for block in blocks(ARCHITECTURE) if "├──" in block]
    parents: list[str] = []
    found = {}
    for line in drawn.splitlines():
        indent, name, phrase = re.fullmatch(r"([│ ]*)[├└]── (\S+)\s+(.*)", line).groups()
        depth = len(indent) // 4
        parents[depth:] = [name]
        found["".join(parents)] = phrase
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"python -m ml_backend ([a-z][a-z-]*)", text)) <= set(PROGRAM.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_learning_curves_say_where_their_results_go(page: Path):
    for command in re.findall(r"python -m training learning-curve ([^`]*)", page.read_text()):
        assert "--output" in command or "…" in command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target, _, anchor in links(page):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or found.suffix != ".md" or anchor in anchors(found), (target, anchor)


def links(page: Path) -> list[tuple[str, str, str]]:
    return [
        link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())
    ]


def anchors(page: Path) -> set[str]:
    """What links may name: headings as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_is_no_wider_than_a_window(page: Path):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "!["))]
    assert [line for line in prose if len(line) > 120 and len(line.split()) > 3] == []


def test_tree_is_true():
    paths = tree()
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert all(paths.values())


def test_tree_names_everything_at_the_top():
    listed = {path.partition("/")[0] for path in tree()}
    caches = re.compile(r"\..*cache|__pycache__|\.hypothesis|.*\.egg-info|build|dist|\.icmformer")
    there = {path.name for path in ROOT.iterdir() if not caches.fullmatch(path.name)}
    assert there - NOT_OURS == listed


def test_makefile_variables_exist():
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"make demo.*?`", README):
        for variable in re.findall(r"([A-Z_]+)=", name):
            assert f"$({variable})" in makefile


def test_labelling_configuration_is_that_of_the_demo():
    guide = (ROOT / "docs" / "label-studio.md").read_text()
    assert blocks(guide, "xml") == [LABELING_CONFIG]


def test_its_python_segments_the_cup(monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = blocks(README, "python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["mask"].shape == names["image"].shape[:2]
    assert not names["first"].mask[380, 300]
    assert names["mask"][[62, 200, 280, 240, 380], [265, 300, 360, 462, 300]].all()  # all parts
    assert not names["mask"][[10, 350, 60], [20, 20, 560]].any()  # the table


def test_pictures_are_small_and_well_formed():
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size <= 200_000, picture
    ElementTree.parse(ROOT / "docs" / "images" / "flows.svg")


def test_demo_images_have_licences():
    folder = ROOT / "ml_backend" / "demo" / "images"
    licences = (folder / "LICENSES.md").read_text()
    pictures = sorted(folder.glob("*.jpg"))
    assert 3 <= len(pictures) <= 6
    for picture in pictures:
        assert f"`{picture.name}`" in licences
        assert picture.stat().st_size <= 60_000
