"""The shape of the house, read from the sources: who may import whom, and how large and how named things may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("routing", "proxy", "shadow", "admin")  # each may import itself and those before it
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
MEANINGLESS = {"manager", "managers", "util", "utils", "helper", "helpers", "data", "info", "misc", "common"}

# Libraries that workers must not load, and where they may be imported all the same.
CONFINED = {
    "pydantic": (
        "routing/config.py",
        "routing/config_admin.py",
        "routing/config_limits.py",
        "routing/config_listen.py",
        "routing/config_notifications.py",
        "routing/config_rollout.py",
        "routing/config_types.py",
        "routing/config_upstreams.py",
        "routing/load.py",
        "admin/",
    ),
    "pydantic_core": ("routing/load.py", "admin/"),
    "ruamel": ("routing/document.py", "admin/"),
    "maxminddb": ("routing/geo.py",),
    "aiohttp": ("admin/",),
    "sqlalchemy": ("admin/",),
    "rich": ("admin/",),
    "typer": ("admin/",),
    "structlog": ("admin/",),
    "prometheus_client": ("admin/",),
    "joserfc": ("admin/jose.py",),
    "deepdiff": ("shadow/",),
}
# The part of routing that only the control plane imports, since it leads to pydantic and YAML.
_ABOVE = (
    "config",
    "config_admin",
    "config_limits",
    "config_listen",
    "config_notifications",
    "config_rollout",
    "config_types",
    "config_upstreams",
    "document",
    "load",
    "pages",
    "check",
    "check_admin",
    "check_listen",
    "check_notifications",
    "check_rollout",
    "compile",
    "explain",
)
CONTROL_PLANE = {f"routing.{name}" for name in _ABOVE}


def sources() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, with the line; of `from a import b` also `a.b`, which may be a module."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            assert node.module is not None
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_packages_import_only_those_below_them() -> None:
    wrong = []
    for path in sources():
        layer = LAYERS.index(path.relative_to(ROOT).parts[0])
        for module, line in imports(path):
            package = module.partition(".")[0]
            if package in LAYERS and LAYERS.index(package) > layer:
                wrong.append(f"{name_of(path)}:{line} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("library", sorted(CONFINED))
def test_library_is_imported_only_where_it_belongs(library: str) -> None:
    wrong = []
    for path in sources():
        if not name_of(path).startswith(CONFINED[library]):
            wrong += [
                f"{name_of(path)}:{line}" for module, line in imports(path) if module.partition(".")[0] == library
            ]
    assert wrong == []


def test_data_plane_imports_no_part_of_routing_that_leads_to_pydantic_or_yaml() -> None:
    wrong = []
    for path in sources():
        if path.relative_to(ROOT).parts[0] in ("proxy", "shadow"):
            wrong += [f"{name_of(path)}:{line} {module}" for module, line in imports(path) if module in CONTROL_PLANE]
    assert wrong == []


def test_hot_part_of_routing_imports_no_part_that_leads_to_pydantic_or_yaml() -> None:
    wrong = []
    for path in sorted((ROOT / "routing").glob("*.py")):
        if f"routing.{path.stem}" not in CONTROL_PLANE:
            wrong += [f"{name_of(path)}:{line} {module}" for module, line in imports(path) if module in CONTROL_PLANE]
    assert wrong == []


def test_files_are_short_enough_to_read() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_functions_fit_on_a_screen() -> None:
    long = {}
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    long[f"{name_of(path)}:{node.lineno} {node.name}"] = length
    assert long == {}


def test_modules_and_folders_have_names_that_say_something() -> None:
    parts = {part for path in sources() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & MEANINGLESS == set()
