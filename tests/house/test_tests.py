"""The tests keep their order: they share by tests/support alone, and nothing there is left over."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from places import ROOT

TESTS = {path.stem: path for path in sorted((ROOT / "tests").rglob("test_*.py"))}
SUPPORT = {path.stem: path for path in sorted((ROOT / "tests/support").glob("*.py"))}
#: What is shared: pytest finds it here, and so does mypy.
SHARED = ["tests/support", "benchmarks", "templates"]


def imported_by(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", [*TESTS.values(), *SUPPORT.values()], ids=lambda path: path.stem)
def test_no_module_imports_a_test(path: Path) -> None:
    assert imported_by(path) & TESTS.keys() == set()


def test_tests_share_by_three_folders_alone() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["pytest"]["ini_options"]["pythonpath"] == SHARED
    folders = ":".join(f"../{folder}" for folder in SHARED)
    assert f"MYPYPATH={folders} " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_name_in_support_is_used() -> None:
    everything = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    used: dict[str, int] = {}
    for path in [*everything, ROOT / "Makefile"]:
        for name in re.findall(r"\w+", path.read_text(encoding="utf-8")):
            used[name] = used.get(name, 0) + 1
    for module, path in SUPPORT.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert used[node.name] > 1, f"nobody uses {node.name} of {module}"


def test_modules_of_support_are_short() -> None:
    lines = {path.name: path.read_text("utf-8").count("\n") for path in SUPPORT.values()}
    assert {name: count for name, count in lines.items() if count > 400} == {}
