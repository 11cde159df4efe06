"""The shape of the project, read from its syntax trees: nothing is imported here."""

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each package may import those to its left, and itself.
LAYERS = ("icmformer", "training", "ml_backend")
# Each folder of a package may import those to its left, and what stands beside the folders.
FOLDERS = {
    "training": (
        *("store", "datasets", "conversion", "clicks"),
        *("evaluation", "loop", "fine_tuning", "commands"),
    ),
    "ml_backend": (
        *("label_studio", "images", "serving", "connection", "learning"),
        *("local_servers", "demo", "latency", "commands", "web"),
    ),
}
# GPU machines often have these and nothing else.
NETWORK_NEEDS = {"torch", "timm", "numpy", "cv2", "safetensors"}
GRAB_BAGS = {"util", "utils", "common", "helper", "helpers", "misc", "manager", "managers"}
MOST_LINES = 400

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), relative(path))


def none_offends(offenders: dict[str, object]) -> None:
    """Fail with every file that breaks a rule, by its path, and how; empty values break none."""
    found = [f"{path}: {why}" for path, why in offenders.items() if why]
    assert not found, "\n".join(found)


def lines_with(path: Path, wrong: Callable[[ast.AST], bool]) -> str:
    """Say in which lines of a file something is wrong; nothing where nothing is."""
    lines = [str(node.lineno) for node in ast.walk(tree_of(path)) if wrong(node)]
    return f"line {', '.join(lines)}" if lines else ""


def is_relative(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.level > 0


def imported(tree: ast.AST) -> Iterator[str]:
    """Full dotted names; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(tree_of(path))}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def test_imports_are_absolute():
    none_offends({relative(path): lines_with(path, is_relative) for path in MODULES})


def test_imports_point_down():
    above = {layer: set(LAYERS[number + 1 :]) for number, layer in enumerate(LAYERS)}
    none_offends({relative(path): packages(path) & above[layer_of(path)] for path in MODULES})


def test_the_network_needs_five_libraries():
    allowed = NETWORK_NEEDS | {"icmformer"} | sys.stdlib_module_names
    network = [path for path in MODULES if layer_of(path) == "icmformer"]
    none_offends({relative(path): packages(path) - allowed for path in network})


def test_the_tests_of_the_network_start_without_further_libraries():
    allowed = NETWORK_NEEDS | {"icmformer", "tests", "pytest", "hypothesis"}
    allowed |= sys.stdlib_module_names
    places = [ROOT / "tests" / "conftest.py", *(ROOT / "tests" / "icmformer").rglob("*.py")]
    # the package `training` itself, not what is in it, needs nothing
    names = {relative(path): imported_at_start(path) - {"training"} for path in places}
    none_offends(
        {
            path: {name for name in names[path] if name.split(".")[0] not in allowed}
            for path in names
        }
    )


def imported_at_start(path: Path) -> set[str]:
    """Every name that a file imports when it is imported itself: not those inside functions."""
    top = ast.Module([node for node in tree_of(path).body if _runs_at_import(node)], [])
    return set(imported(top))


@functools.cache
def imports_at_start() -> dict[str, set[str]]:
    """What each module of ours imports at its start; within functions, cycles are broken."""
    return {module_name(path): imported_at_start(path) for path in MODULES}


def no_circles(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_module_imports_itself_through_others():
    imports = imports_at_start()
    no_circles(
        {
            # importing a.b runs a's __init__, but a package naming its own parts is no cycle
            name: names
            & imports.keys() - {name, *(above for above in imports if name.startswith(f"{above}."))}
            for name, names in imports.items()
        }
    )


def imports_of_folders() -> dict[str, set[str]]:
    """What each folder imports, inside functions, too; a module beside them stands for itself."""
    places = {
        module_name(path): module_name(path if path.parent.parent == ROOT else path.parent)
        for path in MODULES
    }
    graph: dict[str, set[str]] = {place: set() for place in places.values()}
    for path in MODULES:
        place = places[module_name(path)]
        named = places.keys() & set(imported(tree_of(path)))
        graph[place] |= {places[name] for name in named} - {place, *LAYERS}
    return graph


@pytest.mark.parametrize("package", FOLDERS)
def test_folders_point_down(package: str):
    graph = imports_of_folders()
    order = [f"{package}.{folder}" for folder in FOLDERS[package]]
    assert {module_name(path) for path in (ROOT / package).glob("*/__init__.py")} == set(order)
    above = {folder: set(order[number + 1 :]) for number, folder in enumerate(order)}
    none_offends({folder: graph[folder] & above[folder] for folder in order})
    no_circles(graph)


def reached_from(module: str) -> set[str]:
    """Everything that is imported, directly or through modules of ours, by importing a module."""
    graph, reached, waiting = imports_at_start(), set[str](), {module}
    while waiting:
        reached |= waiting
        waiting = set().union(*(graph.get(name, ()) for name in waiting)) - reached
    return reached


@pytest.mark.parametrize(
    "command", ["serve", "demo", "work", "latency", "diagnose", "versions", "promote", "live",
                "reconcile", "fine_tune", "forget", "sweep"],
)  # fmt: skip
def test_what_needs_no_network_starts_without_torch(command: str):
    """torch takes seconds and half a gigabyte; gunicorn's processes and jobs import it later."""
    reached = reached_from(f"ml_backend.commands.{command}")
    assert "ml_backend.settings" in reached
    assert not reached & {"icmformer", "torch", "timm", "scipy", "matplotlib"}


@pytest.mark.parametrize(
    "module",
    [
        "ml_backend.wsgi",
        "ml_backend.learning.job_runner",
        "training.commands.train",
        "training.commands.benchmark",
    ],
)
def test_what_needs_a_network_starts_without_timm(module: str):
    """timm brings torchvision and torch's compiler: longer than torch, and some 180 MB."""
    reached = reached_from(module)
    assert "icmformer.swin" in reached
    assert not {name.split(".")[0] for name in reached} & {"timm", "torchvision"}


def test_settings_are_read_without_an_http_client():
    assert "requests" not in reached_from("ml_backend.settings")


def _runs_at_import(node: ast.stmt) -> bool:
    return not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def reads_the_environment(node: ast.AST) -> bool:
    names = {"environ", "getenv", "environb"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and bool({alias.name for alias in node.names} & names)
    return isinstance(node, ast.Attribute) and node.attr in names


def loads_whatever_it_is_given(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "torch.load":
        return False
    words = {word.arg: ast.unparse(word.value) for word in node.keywords}
    return words.get("weights_only") != "True"


def test_only_the_settings_read_the_environment():
    readers = {relative(path): lines_with(path, reads_the_environment) for path in MODULES}
    assert readers.pop("ml_backend/settings.py")
    none_offends(readers)


def test_loading_weights_runs_no_code():
    none_offends({relative(path): lines_with(path, loads_whatever_it_is_given) for path in MODULES})


def test_files_are_short():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    none_offends({path: f"{n} lines" for path, n in lengths.items() if n > MOST_LINES})


def test_files_are_named_by_what_they_own():
    names = [relative(path) for path in SOURCES]
    none_offends(
        {path: GRAB_BAGS & set(Path(path.lower()).with_suffix("").parts) for path in names}
    )
