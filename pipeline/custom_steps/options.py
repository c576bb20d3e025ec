"""Options of custom steps: ``--step-option Brightness.brightness_threshold=0.4``.

A step that is declared like the built-in ones (a ``StepOnFrames``) has a dataclass of options. They
are no flags, because a command does not know its custom steps before it has read its flags.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from finecut.pipeline.contradictions import unknown_or_out_of_range
from finecut.pipeline.options import OptionError, spell
from finecut.transforms.spelling import did_you_mean
from finecut.transforms.step_base import StepOnFrames

_SWITCH: Final = {"true": True, "false": False}


class Given(NamedTuple):
    """An option as it was given."""

    text: str
    step: str
    option: str
    value: str


def parsed(texts: Sequence[str]) -> tuple[Given, ...]:
    """What these options say; each of a step's only once."""
    return tuple(map(_parsed, texts))


def _parsed(text: str) -> Given:
    name, equals, value = text.partition("=")
    step, dot, option = name.partition(".")
    if not (step and dot and option and equals):
        raise OptionError(
            f"--step-option {text} sets nothing: write STEP.OPTION=VALUE, as in "
            "Brightness.brightness_threshold=0.4"
        )
    return Given(text, step, option.replace("-", "_"), value)


def refuse_strangers(given: Sequence[Given], steps: Sequence[str]) -> None:
    """Refuse options of steps that are not there."""
    for each in given:
        if each.step not in steps:
            raise OptionError(
                f"--step-option {each.text} is for a step {each.step}, and no --step is called so: "
                + did_you_mean(each.step, steps)
            )


def made(kind: type[StepOnFrames[Any]], given: Sequence[Given]) -> StepOnFrames[Any]:
    """The step with these options."""
    hints = typing.get_type_hints(kind.Options)
    names = [f.name for f in fields(kind.Options)]
    values: dict[str, Any] = {}
    for each in given:
        if each.option not in names:
            raise OptionError(
                f"--step-option {each.text}: {each.step} has no option {each.option}: "
                f"{did_you_mean(each.option, names)}"
            )
        values[each.option] = _value(each, hints[each.option])
    options = kind.Options(**values)
    spell(options)
    for wrong in unknown_or_out_of_range(options):
        raise OptionError(f"--step-option of {kind.__name__}: {wrong}")
    return kind(options)


def _value(given: Given, hint: Any) -> Any:
    kinds = {hint, *typing.get_args(hint)}
    if bool in kinds:
        if given.value.lower() not in _SWITCH:
            raise OptionError(f"--step-option {given.text}: give true or false")
        return _SWITCH[given.value.lower()]
    kind = next((kind for kind in (int, float) if kind in kinds), str)
    try:
        return kind(given.value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise OptionError(f"--step-option {given.text}: {given.value!r} is not {wanted}") from None
