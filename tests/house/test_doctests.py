"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest
from places import ROOT

WITH_EXAMPLES = [
    ".".join(("finecut", *path.relative_to(ROOT).with_suffix("").parts))
    for room in ("io", "transforms", "pipeline")
    for path in sorted((ROOT / room).rglob("*.py"))
    if "    >>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
