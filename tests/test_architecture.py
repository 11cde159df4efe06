"""The shape of the project, read from its syntax trees: nothing is imported here."""

import ast
import functools
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each package may import those to its left, and itself.
LAYERS = ("icmformer", "training", "ml_backend")
# GPU machines often have these and nothing else.
NETWORK_NEEDS = {"torch", "timm", "numpy", "cv2", "safetensors"}
GRAB_BAGS = {"util", "utils", "common", "helper", "helpers", "misc", "manager", "managers"}
MOST_LINES = 400

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), relative(path))


def imported(tree: ast.AST) -> Iterator[str]:
    """Full dotted names; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(tree_of(path))}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_down(path: Path):
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    assert not packages(path) & set(LAYERS[layer + 1 :])


@pytest.mark.parametrize("path", sorted((ROOT / "icmformer").rglob("*.py")), ids=relative)
def test_the_network_needs_five_libraries(path: Path):
    allowed = NETWORK_NEEDS | {"icmformer"} | sys.stdlib_module_names
    assert packages(path) <= allowed


@functools.cache
def imports_at_start() -> dict[str, set[str]]:
    """Every name that a module of ours imports when it is imported itself, by module."""
    graph = {}
    for path in MODULES:
        # imports inside functions are how a cycle is broken on purpose; only the top level counts
        top = ast.Module([node for node in tree_of(path).body if _runs_at_import(node)], [])
        graph[module_name(path)] = set(imported(top))
    return graph


def test_no_module_imports_itself_through_others():
    imports = imports_at_start()
    graph = {
        # importing a.b runs a's __init__, but a package naming its own parts is no cycle
        name: names
        & imports.keys() - {name, *(above for above in imports if name.startswith(f"{above}."))}
        for name, names in imports.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def reached_from(module: str) -> set[str]:
    """Everything that is imported, directly or through modules of ours, by importing a module."""
    graph, reached, waiting = imports_at_start(), set[str](), {module}
    while waiting:
        reached |= waiting
        waiting = set().union(*(graph.get(name, ()) for name in waiting)) - reached
    return reached


@pytest.mark.parametrize(
    "command", ["serve", "demo", "work", "latency", "diagnose", "commands.versions",
                "commands.promote", "commands.live", "commands.reconcile", "commands.fine_tune"],
)  # fmt: skip
def test_what_needs_no_network_starts_without_torch(command: str):
    """torch takes seconds and half a gigabyte; gunicorn's processes and jobs import it later."""
    reached = reached_from(f"ml_backend.{command}")
    assert "ml_backend.settings" in reached
    assert not reached & {"icmformer", "torch", "timm", "scipy", "matplotlib"}


@pytest.mark.parametrize(
    "module", ["ml_backend.wsgi", "ml_backend.job_runner", "training.train", "training.benchmark"]
)
def test_what_needs_a_network_starts_without_timm(module: str):
    """timm brings torchvision and torch's compiler: longer than torch, and some 180 MB."""
    reached = reached_from(module)
    assert "icmformer.swin" in reached
    assert not {name.split(".")[0] for name in reached} & {"timm", "torchvision"}


def _runs_at_import(node: ast.stmt) -> bool:
    return not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_settings_read_the_environment(path: Path):
    readers = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {alias.name for alias in node.names} & {"environ", "getenv", "environb"}
        )
    ]
    assert not readers or relative(path) == "ml_backend/settings.py", f"lines {readers}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_loading_weights_runs_no_code(path: Path):
    for call in ast.walk(tree_of(path)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "torch.load":
            safe = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert safe.get("weights_only") == "True", f"line {call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_are_short_and_named_by_what_they_own(path: Path):
    assert len(path.read_text().splitlines()) <= MOST_LINES
    assert not {part.lower() for part in path.relative_to(ROOT).with_suffix("").parts} & GRAB_BAGS
