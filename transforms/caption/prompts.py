"""Prompts with places for what is known of a video: ``The title is {title}. Describe …``

    {source.title}   the field of the source's metadata; nothing where the source has none
    {title}          the same, of a source that has metadata; of others it stays as it is
    { title }, {"a"} stay as they are: braces mean something around a name only

What is put in was written by strangers and is read by a model. So it is one short line, and nothing
in it is a place again. Standard library only.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from finecut.io.held import OF_SOURCE
from finecut.transforms.plain_text import cleaned

#: Letters of what is put into one place.
LONGEST: Final = 300

_PLACE: Final = re.compile(rf"\{{({re.escape(OF_SOURCE)})?([^\W\d]\w*(?:\.\w+)*)\}}")


def filled(prompt: str, metadata: Mapping[str, Any]) -> str:
    """The prompt about a video of whose source this is known.

    >>> filled('Of "{title}" ({source.year}): answer {"a": 1}', {"title": "Up", "year": 2009})
    'Of "Up" (2009): answer {"a": 1}'
    """

    def put(place: re.Match[str]) -> str:
        if place[1] is None and not metadata:
            return place[0]
        return in_a_line(_found(metadata, place[2]))

    return _PLACE.sub(put, prompt)


def fields_in(prompt: str) -> dict[str, bool]:
    """The fields that a prompt has places for, under the names that rules know; and whether each is
    surely a field, and no word in braces.

    >>> fields_in("{title} by {source.channel.name}")
    {'source.title': False, 'source.channel.name': True}
    """
    places = sorted(_PLACE.findall(prompt), key=lambda place: bool(place[0]))
    found = {f"{OF_SOURCE}{name}": bool(surely) for surely, name in places}
    order = [f"{OF_SOURCE}{name}" for _, name in _PLACE.findall(prompt)]
    return {name: found[name] for name in dict.fromkeys(order)}


def bare(field: str) -> str:
    """The name of a field as a list has it.

    >>> bare("source.license")
    'license'
    """
    return field.removeprefix(OF_SOURCE)


def in_a_line(value: Any) -> str:
    """A value as it stands in a prompt."""
    if isinstance(value, list | tuple):
        text = ", ".join(map(in_a_line, value))
    elif isinstance(value, str):
        text = value
    else:
        text = "" if value is None else json.dumps(value, ensure_ascii=False)
    line = " ".join(cleaned(text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST].rstrip()}…"


def _found(metadata: Mapping[str, Any], path: str) -> Any:
    """What lies there: below a field, or below a field of a field."""
    found: Any = metadata
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
