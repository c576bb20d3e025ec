"""The config of a step in YAML: options by their names in Python, as YAML spells their values."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from dataclasses import Field
from typing import Any, Final

from finecut.pipeline.cli.flags import is_many, is_switch
from finecut.pipeline.options import OptionError, Options, option_fields
from finecut.pipeline.template import ELSEWHERE

#: Options that Beam has, or that only make sense for a command.
BEAMS: Final = ELSEWHERE | {"verbose", "subscription", "patience"}


def options_of(step: str, given: Mapping[str, Any]) -> Options:
    """The options in a step's config; empty ones are as if they were not there."""
    known = {f.name: f for f in option_fields()}
    for name in given:
        _refuse_unknown(step, name, known)
    hints = typing.get_type_hints(Options)
    values = {
        name: _value(f"{step}: {name}", value, known[name], hints[name])
        for name, value in given.items()
        if value is not None
    }
    return Options(**values)


def _refuse_unknown(step: str, name: str, known: Mapping[str, Field[Any]]) -> None:
    if name in BEAMS:
        raise OptionError(
            f"{step}: {name} cannot be set here: how and where a pipeline runs are options of "
            "Beam (and streams need finecut launch). Leave it out"
        )
    if name in known:
        return
    usual = name.removeprefix("--").replace("-", "_")
    near = difflib.get_close_matches(usual, set(known) - BEAMS, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "finecut curate --help lists all options."
    raise OptionError(f"{step}: unknown option {name}: {hint}")


def _value(said: str, value: Any, f: Field[Any], hint: Any) -> Any:
    """The value as the option has it; texts are not taken for numbers, nor numbers for texts."""
    if is_many(f):
        several = value if isinstance(value, list | tuple) else [value]
        return tuple(_text(said, one) for one in several)
    if is_switch(f):
        if not isinstance(value, bool):
            raise OptionError(f"{said} is {value!r}: give true or false")
        return value
    kinds = {hint, *typing.get_args(hint)}
    if f.metadata["parse"] and isinstance(value, str):
        return _parsed(said, value, f)
    if float in kinds:
        return _number(said, value, float)
    return _number(said, value, int) if int in kinds else _text(said, value)


def _parsed(said: str, value: str, f: Field[Any]) -> Any:
    try:
        return f.metadata["parse"](value)
    except ValueError:
        raise OptionError(f"{said} is {value!r}: give a rate such as 4M or 800K") from None


def _number(said: str, value: Any, kind: type[int] | type[float]) -> int | float:
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise OptionError(f"{said} is {value!r}: give {wanted}")
    return kind(value)


def _text(said: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{said} is {value!r}, which is not text: put it in quotes")
    return value
