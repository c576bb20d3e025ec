"""Where the code that models bring is imported from: in tests, a folder that goes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = "transformers_modules"


@contextmanager
def modules_in(folder: Path) -> Iterator[None]:
    """Models' code is copied here and imported from here, and is forgotten afterwards."""
    dynamic: Any = importlib.import_module("transformers.dynamic_module_utils")
    cache, path = dynamic.HF_MODULES_CACHE, sys.path[:]
    dynamic.HF_MODULES_CACHE = str(folder)
    _forget()
    try:
        yield
    finally:
        dynamic.HF_MODULES_CACHE, sys.path[:] = cache, path
        _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
