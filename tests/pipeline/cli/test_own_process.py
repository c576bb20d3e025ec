"""What the command changes in its own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from finecut.pipeline.cli.own_process import look_here_too, without


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


def test_modules_lie_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind all that is installed, and once."""
    before = [place for place in sys.path if place]
    monkeypatch.setattr(sys, "path", list(before))
    monkeypatch.chdir(tmp_path)
    look_here_too()
    look_here_too()
    assert sys.path == [*before, os.fspath(tmp_path)]
