"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

WITH_EXAMPLES = [
    "finecut.io.layout",
    "finecut.io.records",
    "finecut.pipeline.progress",
    "finecut.transforms.find",
    "finecut.transforms.split",
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
