"""The packages of src/vlm4vla form layers: every import goes to the same package or to an earlier one."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vlm4vla

SOURCE = Path(vlm4vla.__file__).parent
# From the ground up. Packages of one layer do not import each other. docs/architecture.md describes them.
LAYERS = (
    ("core",),
    ("conventions",),
    ("config",),
    ("actions", "analysis"),
    ("data", "backbones"),
    ("benchmarks", "policies"),
    ("training", "evaluation"),
    ("auxiliary", "study"),
    ("report",),
    ("provenance", "workflow", "stages"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
USERS = "extensions"  # users' files import it; nothing in the package does


def imports(source: Path) -> dict[str, set[str]]:
    """The modules that each module of the package imports anywhere: at the top, in a function, for typing."""
    files = {}
    for path in source.rglob("*.py"):
        parts = ("vlm4vla", *path.relative_to(source).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [each if each in files else node.module for each in targets]
            else:
                continue
            graph[name] |= {each for each in targets if each in files and each != name}
    return graph


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else "vlm4vla"


def faults(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up or sideways, and imports of what only users' files import."""
    found = []
    for module, targets in sorted(graph.items()):
        for target in sorted(targets):
            here, there = package(module), package(target)
            if there == USERS or (here != there and here != USERS and RANK[there] >= RANK[here]):
                found.append(f"{module} imports {target}")
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return imports(SOURCE)


def test_every_package_has_a_layer(graph):
    assert {package(module) for module in graph} == {"vlm4vla", USERS, *RANK}


def test_every_import_goes_to_the_same_package_or_an_earlier_one(graph):
    assert faults(graph) == []


def test_no_circle_of_files(graph):
    list(TopologicalSorter(graph).static_order())  # CycleError names the files of a circle


def test_no_class_name_stands_for_two_things():
    places: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_file_is_long():
    lines = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {str(path): count for path, count in lines.items() if count > 450} == {}


def test_the_architecture_page_lists_the_packages_in_this_order():
    text = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    table = text.partition("## The packages")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [tuple(re.findall(r"`(\w+)`", row)) for row in rows] == list(LAYERS)


def test_the_architecture_page_names_files_that_exist():
    root = Path(__file__).parents[1]
    text = (root / "docs" / "architecture.md").read_text().partition("## I want to")[2]
    for name in re.findall(r"`([\w/.]+/[\w.]*)`", text):
        assert (SOURCE / name).exists() or (root / name).exists(), name


@pytest.mark.parametrize(
    "statement",
    [
        "from vlm4vla.config import config",
        "def f():\n    from vlm4vla.config.config import Config",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vlm4vla.extensions",
    ],
)
def test_an_import_that_goes_up_is_found_wherever_it_stands(tmp_path, statement):
    for folder in ("core", "config"):
        (tmp_path / folder).mkdir()
    (tmp_path / "core" / "low.py").write_text(statement)
    for path in ("config/__init__.py", "config/config.py", "core/__init__.py", "extensions.py"):
        (tmp_path / path).touch()
    assert len(faults(imports(tmp_path))) == 1


def test_a_circle_is_found(tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "one.py").write_text("from vlm4vla.core import two")
    (tmp_path / "core" / "two.py").write_text("def f():\n    from vlm4vla.core.one import g")
    with pytest.raises(CycleError):
        list(TopologicalSorter(imports(tmp_path)).static_order())
