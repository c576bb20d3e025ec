"""Classes where their names are expected: ``Options(step=(Colours,))``. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

MAIN = "__main__"


class ClassName(str):
    """The name of a class, ``package.module:Name``, that knows the class itself.

    So documents and digests say the same of a class as of its name, and one that nobody could
    import by its name (of a notebook, or inside a function) is found nevertheless.
    """

    kind: type


def named(step: object) -> object:
    """The name of a class; anything else as it is."""
    if not isinstance(step, type):
        return step
    name = ClassName(f"{_module_of(step)}:{step.__qualname__}")
    name.kind = step
    return name


def _module_of(kind: type) -> str:
    """Where the class lies; that of a script as who imports it would say."""
    if kind.__module__ != MAIN:
        return kind.__module__
    main = sys.modules[MAIN]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return Path(file).stem if file else MAIN


def no_classes(steps: object) -> Iterator[str]:
    """What is wrong with steps that are neither classes nor names."""
    if isinstance(steps, type):
        yield f"step is a single class: give step=({steps.__name__},)"
        return
    for one in steps if isinstance(steps, tuple) else ():
        kind = type(one).__name__
        if hasattr(one, "expand") and not isinstance(one, str):
            yield f"step: this is an object of {kind}, not a class: give step=({kind},)"
        elif not isinstance(one, str):
            yield f"step: {one!r} is neither a class nor the name of one: give package.module:Name"
