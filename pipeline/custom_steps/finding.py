"""Finding the class of a custom step: ``package.module:Name``, or a name that a package gave it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

import apache_beam as beam

from finecut.pipeline.options import ClassName, OptionError
from finecut.transforms.beam.guard import attempted
from finecut.transforms.step_base import StepOnFrames

#: Under which installed packages name their steps.
GROUP: Final = "finecut.steps"


def kind_of(text: str) -> Any:
    """The class that this ``--step`` names, without its place."""
    path = text.partition("@")[0]
    found = text.kind if isinstance(text, ClassName) else _found(text, path)
    if isinstance(found, type) and issubclass(found, StepOnFrames | beam.PTransform):
        return found
    raise OptionError(
        f"--step {text}: {path.rpartition(':')[2]} is not a step: derive it from "
        "finecut.transforms.step.EachClip, or from beam.PTransform"
    )


def tried(work: Callable[[], Any]) -> Any:
    """What somebody's code gives, or what it broke with; it does not end the program."""
    try:
        return attempted(work)
    except SystemExit as ended:
        return RuntimeError(f"it tried to end the program ({ended})")


def in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _found(text: str, path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon and path:
        return _installed(text, path)
    if not module or not name:
        raise OptionError(f"--step {text} names no class: give package.module:Name")
    # Whatever a module does when it is imported, it does here.
    imported = tried(lambda: importlib.import_module(module))
    if isinstance(imported, Exception):
        raise OptionError(
            f"--step {text}: {module} cannot be imported ({in_words(imported)}). Install its "
            "package, or start finecut in the folder that contains it"
        ) from imported
    found: Any = imported
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise OptionError(f"--step {text}: {module} has no {name}: check how it is spelled there")
    return found


def _installed(text: str, name: str) -> Any:
    """The step that an installed package has under this name."""
    known = entry_points(group=GROUP)
    for found in known.select(name=name):
        kind = tried(found.load)
        if isinstance(kind, Exception):
            raise OptionError(
                f"--step {text}: {found.value} cannot be imported ({in_words(kind)}). Its "
                "package is installed, but something that it needs is not"
            ) from kind
        return kind
    names = f" ({', '.join(sorted(known.names))})" if known.names else ""
    raise OptionError(
        f"--step {text} names no class: give package.module:Name, or the name of a step that an "
        f"installed package registers{names}"
    )
