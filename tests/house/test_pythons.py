"""Every Python that setup.py allows can run finecut: what the oldest lacks, nobody asks for."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from lacking import lacking
from places import ROOT
from pythons import CORE, answers, candidates, floor, interpreters

MODULES = [
    path.relative_to(ROOT).as_posix()
    for room in ("pipeline", "transforms", "io", "tests", "benchmarks")
    for path in sorted((ROOT / room).rglob("*.py"))
]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_asked_of_this_python_that_it_lacks(module: str) -> None:
    """Tests run with the oldest Python, and this one with others too (``make test-pythons``)."""
    assert lacking((ROOT / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Files are generic to type checkers, and nowhere else.
        ("import io\nclass A(io.TextIOWrapper[bytes]): pass", "2: io.TextIOWrapper cannot be"),
        ("from logging import Filter as F\nx = F[int]", "2: F cannot be subscripted"),
        ("from itertools import no_such", "1: there is no itertools.no_such"),
        ("import os.path\nos.path.no_such(1)", "2: there is no os.path.no_such"),
        ("import tomllib.no_such", "1: there is no tomllib.no_such"),
        ("def a(): return = 1", "1: invalid syntax"),
    ],
)
def test_what_is_lacking_is_found(text: str, expected: str) -> None:
    [found] = lacking(text)
    assert found.startswith(expected)


def test_what_is_there_is_let_be() -> None:
    text = """
import os, queue, typing
from collections import OrderedDict as Row
from enum import Enum
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from itertools import no_such
class Colour(Enum):
    RED = 1
def work(a: queue.Empty[int], b: "os.no_such") -> "x":
    c: queue.Empty[int] = Row[str, int]()
    return os.environ["A"], Colour["RED"], typing.Any, queue.Queue[int], os.path.join, c.no_such
"""
    assert lacking(text) == []


def test_all_that_speaks_of_the_oldest_python_speaks_of_the_same() -> None:
    oldest = ".".join(map(str, floor()))
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tools["mypy"]["python_version"] == oldest
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "README.md")}
    assert f"Python ≥ {oldest}" in texts["README.md"]
    assert texts["Makefile"].count(f"Python {oldest} or newer") == 2
    assert f"sys.version_info < {floor()}" in texts["Makefile"]
    assert f"--python-version {oldest} " in texts["Makefile"]


# ── which Pythons a machine has ──────────────────────────────────────────────────────────────────


def program(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_each_version_is_tried_once_and_what_does_not_run_is_named(tmp_path: Path) -> None:
    shims, usr = tmp_path / "shims", tmp_path / "usr"
    program(shims / "python3.98", 'echo "shim: python3.98: not found" >&2; exit 127')
    program(shims / "python3.99", 'echo "shim: python3.99: not found" >&2; echo more >&2; exit 127')
    program(shims / "python3.99-config", "exit 1")
    program(usr / "python3.5", "echo 3.5.9")
    new = program(usr / "python3.98", "echo 3.98.1")
    program(usr / "python3.98-again", "echo 3.98.2")
    found = list(candidates(f"{shims}:{tmp_path / 'none'}:{usr}"))
    assert [Path(path).name for path in found] == [
        *("python3.98", "python3.99", "python3.5", "python3.98")
    ]
    pythons, lines = interpreters(found, (3, 11))
    assert pythons == [(new, (3, 98, 1))]
    assert pythons[0].minor == "3.98"
    assert lines == [f"{shims}/python3.99 does not run: shim: python3.99: not found"]


def test_this_python_answers() -> None:
    assert answers(sys.executable) == sys.version_info[:3]
    assert sys.version_info[:2] >= floor()
    assert "No such file" in str(answers("/no/such/python3.11"))


def test_the_core_names_tests_that_there_are() -> None:
    assert [n for n in CORE if len([*ROOT.glob(f"tests/**/test_{n}.py")]) != 1] == []
