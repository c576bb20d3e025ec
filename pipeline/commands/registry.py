"""The registry: every command, found by lying in a module or package of this one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Final

from finecut.pipeline import commands
from finecut.pipeline.commands.base import Command, DatasetOptions

#: In this order help lists them; others follow by their names.
ORDER: Final = (
    "curate",
    *("dedup", "refilter", "shard", "report", "verify"),
    *("describe", "launch", "doctor", "demo", "completion"),
)


def _found() -> Iterator[type[Command[Any, Any]]]:
    for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            is_command = isinstance(value, type) and issubclass(value, Command)
            # What a module only imports lies in another one.
            if is_command and value.name and value.__module__ == module.name:
                yield value


def all_commands() -> dict[str, type[Command[Any, Any]]]:
    """Each command by its name, in the order in which help lists them."""
    found = {kind.name: kind for kind in _found()}
    return {name: found[name] for name in (*ORDER, *sorted(found.keys() - {*ORDER}))}


def dataset_options() -> dict[str, type[DatasetOptions]]:
    """The options of the commands on a dataset, by their names."""
    return {
        name: kind.Options
        for name, kind in all_commands().items()
        if issubclass(kind.Options, DatasetOptions)
    }
