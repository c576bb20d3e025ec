"""The Flex Template: its parameters are the options, and its launcher's arguments become them.

    Options ──metadata()──▶ templates/metadata.json ──▶ a form in the console
    --clip_length=5 --generate_previews=true  ◀── what the launcher is called with
            └──arguments_of()──▶ --clip-length 5 --generate-previews ──▶ Options

``python -m finecut.pipeline.template`` prints the metadata.
"""

import csv
import json
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from typing import Any, Final

from finecut.pipeline.cli.flags import flag_of, is_many, is_switch, shown_default
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
#: Everything in a store; several are separated by commas.
TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "input": {"paramType": "TEXT", "regexes": [r"^(gs://[^,]+)(,gs://[^,]+)*$"]},
    "output": {"paramType": "GCS_WRITE_FOLDER"},
}


def metadata() -> dict[str, Any]:
    """What a template says of itself, as the service reads it."""
    return {
        "name": "finecut",
        "description": DESCRIPTION,
        "streaming": False,
        "parameters": [_parameter(f) for f in offered()],
    }


def offered() -> list[Field[Any]]:
    """The options that a template has."""
    return [f for f in option_fields() if f.name not in ELSEWHERE]


def metadata_text() -> str:
    return json.dumps(metadata(), indent=2, ensure_ascii=False) + "\n"


def arguments_of(given: Sequence[str]) -> list[str]:
    """The command line of ``finecut curate`` for what a launcher was called with.

    Parameters of the template are ``--name=value``, all of them texts; everything else is Beam's
    own and stays as it is.
    """
    return [word for argument in given for word in _translated(argument)]


def _translated(argument: str) -> Iterator[str]:
    name, equals, value = argument.partition("=")
    named = {f"--{f.name}": f for f in offered()}
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


def _parameter(f: Field[Any]) -> dict[str, Any]:
    required = f.name in ("input", "output")
    told: dict[str, Any] = {
        "name": f.name,
        "label": f.name.replace("_", " ").capitalize(),
        "helpText": f.metadata["text"] + " Separate several values by commas." * is_many(f),
        "groupName": str(f.metadata["group"]).capitalize(),
        "isOptional": not required,
        **_type(f),
    }
    default = default_of(f)
    if isinstance(default, bool):
        told["defaultValue"] = TRUE if default else FALSE
    elif default not in (None, "") and not is_many(f):
        told["defaultValue"] = str(default)
    elif not required:
        told["helpText"] += f" Default: {shown_default(f)}."
    return told


def _type(f: Field[Any]) -> dict[str, Any]:
    if is_switch(f):
        return {"paramType": "BOOLEAN"}
    if f.metadata["choices"]:
        options = [{"value": choice, "label": choice} for choice in f.metadata["choices"]]
        return {"paramType": "ENUM", "enumOptions": options}
    if f.name in TYPES:
        return TYPES[f.name]
    number = None if f.metadata["parse"] else _number(f)
    return {"paramType": "TEXT"} if number is None else {"paramType": "NUMBER", "regexes": [number]}


def _number(f: Field[Any]) -> str | None:
    """What a number of this option looks like; nothing for options that are none."""
    kind = typing.get_type_hints(Options)[f.name]
    kinds = {kind, *typing.get_args(kind)}
    sign = "-?" if (f.metadata["least"] or 0) < 0 else ""
    if float in kinds:
        return rf"^{sign}[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$"
    return rf"^{sign}[0-9]+$" if int in kinds else None


if __name__ == "__main__":
    sys.stdout.write(metadata_text())
