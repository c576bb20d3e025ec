"""What runs wrote of themselves, as a page shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from finecut.io.storage import files as shelf
from finecut.pipeline.choices.cutting import FIXED_STRIDE
from finecut.pipeline.options import Options
from finecut.transforms.filter.rules import Rule
from finecut.transforms.report.columns import number

SHOWN_RUNS = 50
_SHORTLY = ("name", "started", "seconds", "videos", "clips", "titles")
_LASTLY = ("balanced", "imbalances", "film_seconds", "speed", "steps", "models")
_WHOLLY = (*_SHORTLY, *_LASTLY, "versions", "options")


def runs_below(root: str, read: Callable[[str], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """What runs tell of themselves, the last one in full; by time, as their names are."""
    found = [
        {"name": folder.rsplit("/", 1)[-1], **said}
        for folder in shelf.folders_in(f"{root}/runs")
        if (said := read(f"{folder}/summary.json"))
    ]
    earlier, last = found[-SHOWN_RUNS:-1], found[-1:]
    return [_part(run, _SHORTLY) for run in earlier] + [_part(run, _WHOLLY) for run in last]


def _part(run: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in run.items() if key in keys}


def rules_of_last(runs: list[dict[str, Any]]) -> list[Rule]:
    options = _options(runs[-1]) if runs else None
    return [rule for rules in options.rules.values() for rule in rules] if options else []


def stride_of_last(runs: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Length and distance of clips, if the last run cut at regular distances."""
    options = _options(runs[-1]) if runs else None
    if options is None or options.splitting_algorithm != FIXED_STRIDE or options.cuts:
        return None
    return options.clip_length, options.stride


def _finite(value: Any) -> Any:
    """The same without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return number(value) if isinstance(value, float) else value


def _options(run: dict[str, Any]) -> Options | None:
    """The options a run was given, as far as this version knows them."""
    given = run.get("options")
    if not isinstance(given, dict):
        return None
    known = {f.name: f.default for f in fields(Options)}
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(known[name], tuple) else value
        for name, value in given.items()
        if name in known
    }
    try:
        options = Options(**told)
        _ = options.rules, options.stride
    except (TypeError, ValueError, AttributeError):
        return None
    return options
