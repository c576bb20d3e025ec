"""Importing something without what it imports."""

from __future__ import annotations

import sys

import pytest

from finecut.transforms.beam.without import without


def test_what_is_missing_is_missing_for_a_while() -> None:
    before = dict(sys.modules)
    with without("no.such.module", "sys"):
        with pytest.raises(ModuleNotFoundError):
            __import__("no.such.module")
        assert sys.modules["sys"] is sys, "what is there already stays"
    assert "no.such.module" not in sys.modules
    assert sys.modules["sys"] is sys
    assert not {*before} - {*sys.modules}


def test_an_error_gives_all_back() -> None:
    with pytest.raises(ZeroDivisionError), without("plistlib"):
        _ = 1 / 0
    import plistlib

    assert plistlib.__name__ == "plistlib"
