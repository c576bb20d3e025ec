"""What is raised when a model cannot be loaded, and what its sentences are made of."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from finecut.io.errors import UserError


class WeightsMissing(UserError):
    """A model cannot be loaded; the message says what was looked for, where, and what helps."""


class CodeRefused(WeightsMissing):
    """A model needs code of its own, and this code is not run."""


#: How most of the libraries that models need are installed.
MODELS: Final = "pip install 'finecut[models]'"


def needed(module: str, purpose: str, install: str = MODELS, instead: str = "") -> Any:
    """Import a library that need not be installed, or say what it is needed for.

    ``instead`` is what else helps, behind the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise WeightsMissing(
            f"the Python package {module} is needed to {purpose}, but cannot be imported here "
            f"({error}). Usually it is not installed: run `{install}`{instead}."
        ) from error


def read_json(path: Path) -> Any:
    """What one of a model's small files says."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsMissing(
            f"{path} cannot be read ({first_line(error)}). Usually a download or copy was cut "
            "short; download the whole folder again."
        ) from error


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["without a reason"]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"


def few(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
