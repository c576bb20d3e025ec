"""Beam looks at the arguments of every method of a DoFn some ten times for each pipeline.

That is a third of the processor time of a pipeline over small films, and tests run hundreds of
them. What a method's arguments are does not change, so here they are looked at once.
"""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import Any

Arguments = tuple[list[str], list[Any]]


@functools.cache
def remember_arguments() -> None:
    """From now on, in this process."""
    from apache_beam.transforms import core

    look = core.get_function_args_defaults

    @functools.cache
    def of_methods(function: FunctionType) -> Arguments:
        return look(MethodType(function, object()))

    def remembered(f: Any) -> Arguments:
        if isinstance(f, MethodType) and isinstance(f.__func__, FunctionType):
            names, defaults = of_methods(f.__func__)
            return [*names], [*defaults]
        return look(f)

    core.get_function_args_defaults = remembered
