"""The Flex Templates: their parameters are the options, and their launcher's arguments become them.

    Options ──metadata()──▶ templates/metadata.json ──▶ a form in the console
    --clip_length=5 --generate_previews=true  ◀── what the launcher is called with
            └──arguments_of()──▶ --clip-length 5 --generate-previews ──▶ Options

There is one for ``curate``, and one for each other command that can be launched, with the options
of that command (``templates/metadata/dedup.json``): its parameter ``command`` says which it is.
``python -m finecut.pipeline.template [COMMAND]`` prints the metadata.
"""

import csv
import json
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from typing import Any, Final

from finecut.pipeline.cli.flags import flag_of, is_hidden, is_many, is_switch, shown_default
from finecut.pipeline.commands.base import Command
from finecut.pipeline.commands.curate import Curate
from finecut.pipeline.commands.launch import launchable
from finecut.pipeline.options import OptionError, Options, default_of, option_fields

DESCRIPTION: Final = (
    "Turns a bucket of videos into a training-ready set of clips: splits, cuts, scores, filters, "
    "embeds, captions and writes them, with Parquet tables, documents and a list of failures."
)
#: Options that say how a run goes on this machine, or are decided by launching a template at all.
ELSEWHERE: Final = frozenset(
    {"runner", "workers", "gpus", "log_stats", "quiet", "profile", "watch"}
)
TRUE, FALSE = "true", "false"
#: The parameter that says which command is meant, and how options say that they have to be given.
COMMAND, REQUIRED = "command", "required"
#: Everything in a store; several are separated by commas.
TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "input": {"paramType": "TEXT", "regexes": [r"^(gs://[^,]+)(,gs://[^,]+)*$"]},
    "output": {"paramType": "GCS_WRITE_FOLDER"},
    "dataset": {"paramType": "GCS_READ_FOLDER"},
}


def metadata(command: str = "") -> dict[str, Any]:
    """What the template of a command says of itself, as the service reads it; usually curate's."""
    if not command:
        return {
            "name": "finecut",
            "description": DESCRIPTION,
            "streaming": False,
            "parameters": [_parameter(f, Options) for f in offered()],
        }
    kind = _kind(command)
    which = {
        "name": COMMAND,
        "label": COMMAND.capitalize(),
        "helpText": f"What is done: {command}.",
        "groupName": "Data",
        "isOptional": False,
        "paramType": "ENUM",
        "enumOptions": [{"value": command, "label": command}],
        "defaultValue": command,
    }
    return {
        "name": f"finecut {command}",
        "description": kind.page.sentence,
        "streaming": False,
        "parameters": [which, *(_parameter(f, kind.Options) for f in offered(kind.Options))],
    }


def offered(kind: type[Any] = Options) -> list[Field[Any]]:
    """The options that a template has."""
    return [f for f in option_fields(kind) if f.name not in ELSEWHERE and not is_hidden(f, kind)]


def commands() -> list[str]:
    """The commands that have a template of their own."""
    return [name for name in launchable() if name != Curate.name]


def _kind(command: str) -> type[Command[Any, Any]]:
    if command not in commands():
        raise OptionError(
            f"{COMMAND}={command} cannot be launched: give one of {', '.join(commands())}, or "
            f"leave {COMMAND} out for curate"
        )
    return launchable()[command]


def metadata_text(command: str = "") -> str:
    return json.dumps(metadata(command), indent=2, ensure_ascii=False) + "\n"


def words_for(given: Sequence[str]) -> list[str]:
    """The command line of ``finecut launch`` for what a launcher was called with.

    >>> words_for(["--command=dedup", "--dataset=gs://b/clips", "--eps=0.1", "--region=r"])
    ['dedup', 'gs://b/clips', '--eps=0.1', '--region=r']
    """
    beginning = f"--{COMMAND}="
    named = [word.removeprefix(beginning) for word in given if word.startswith(beginning)]
    rest = [word for word in given if not word.startswith(beginning)]
    if not any(named):
        return arguments_of(rest)
    return [named[-1], *arguments_of(rest, _kind(named[-1]).Options)]


def arguments_of(given: Sequence[str], kind: type[Any] = Options) -> list[str]:
    """The command line of a command with these options for what a launcher was called with.

    Parameters of the template are ``--name=value``, all of them texts; everything else is Beam's
    own and stays as it is.
    """
    places = [f"--{f.name}" for f in offered(kind) if f.metadata["positional"]]
    said = {name: value for name, _, value in (word.partition("=") for word in given)}
    first = [said[place] for place in places if said.get(place)]
    rest = [word for word in given if word.partition("=")[0] not in places]
    return [*first, *(word for argument in rest for word in _translated(argument, kind))]


def _translated(argument: str, kind: type[Any]) -> Iterator[str]:
    name, equals, value = argument.partition("=")
    named = {f"--{f.name}": f for f in offered(kind)}
    field = named.get(f"--{name[2:].replace('-', '_')}") if name.startswith("--") else None
    if field is None:
        yield argument
        return
    if not equals:
        raise OptionError(
            f"{name} has no value: launchers pass every parameter with a value, so write "
            f"{name}={TRUE if is_switch(field) else '…'}"
        )
    if not value:  # a form passes fields that were left empty
        return
    if is_switch(field):
        if value.lower() not in (TRUE, FALSE):
            raise OptionError(f"{argument} is neither yes nor no: write {name}={TRUE} or {FALSE}")
        if value.lower() == TRUE:
            yield flag_of(field)
    elif is_many(field):
        yield flag_of(field)
        yield from several(value)
    else:
        yield f"{flag_of(field)}={value}"


def several(text: str) -> list[str]:
    """What commas separate; quotes hold together what has one.

    >>> several('gs://b/films,"gs://b/more, and more"')
    ['gs://b/films', 'gs://b/more, and more']
    """
    [row] = csv.reader([text], skipinitialspace=True)
    return row


def _parameter(f: Field[Any], kind: type[Any]) -> dict[str, Any]:
    required = f.metadata["shown"] == REQUIRED
    told: dict[str, Any] = {
        "name": f.name,
        "label": f.name.replace("_", " ").capitalize(),
        "helpText": f.metadata["text"] + " Separate several values by commas." * is_many(f),
        "groupName": str(f.metadata["group"]).capitalize(),
        "isOptional": not required,
        **_type(f, kind),
    }
    default = default_of(f)
    if isinstance(default, bool):
        told["defaultValue"] = TRUE if default else FALSE
    elif default not in (None, "") and not is_many(f):
        told["defaultValue"] = str(default)
    elif not required:
        told["helpText"] += f" Default: {shown_default(f)}."
    return told


def _type(f: Field[Any], kind: type[Any]) -> dict[str, Any]:
    if is_switch(f):
        return {"paramType": "BOOLEAN"}
    if f.metadata["choices"]:
        options = [{"value": choice, "label": choice} for choice in f.metadata["choices"]]
        return {"paramType": "ENUM", "enumOptions": options}
    if f.name in TYPES:
        return TYPES[f.name]
    number = None if f.metadata["parse"] else _number(f, kind)
    return {"paramType": "TEXT"} if number is None else {"paramType": "NUMBER", "regexes": [number]}


def _number(f: Field[Any], kind: type[Any]) -> str | None:
    """What a number of this option looks like; nothing for options that are none."""
    hint = typing.get_type_hints(kind)[f.name]
    kinds = {hint, *typing.get_args(hint)}
    sign = "-?" if (f.metadata["least"] or 0) < 0 else ""
    if float in kinds:
        return rf"^{sign}[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$"
    return rf"^{sign}[0-9]+$" if int in kinds else None


if __name__ == "__main__":
    sys.stdout.write(metadata_text(*sys.argv[1:]))
