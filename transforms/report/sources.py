"""What is known of source videos, as a page can show it and clips can be chosen by it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from finecut.transforms.report.columns import short

#: Names and texts of one source, in their order.
Told = list[list[str]]

#: Fields that clips can be chosen by, values that a menu offers, and letters of a value.
MOST_FIELDS: Final = 24
MOST_CHOICES: Final = 40
LONGEST_NAME, LONGEST_VALUE = 80, 400


def told_of_source(said: object) -> Told:
    """What is known of a source, as texts.

    >>> told_of_source({"license": "cc0", "year": 1999, "free": True})
    [['license', 'cc0'], ['year', '1999'], ['free', 'true']]
    """
    metadata = said if isinstance(said, Mapping) else {}
    return [
        [short(name, LONGEST_NAME), short(_in_words(value), LONGEST_VALUE)]
        for name, value in metadata.items()
    ]


def _in_words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def told_in(text: str | None) -> Told:
    """The same, of metadata as the catalogue has them.

    >>> told_in('{"license":"cc0"}'), told_in(None)
    ([['license', 'cc0']], [])
    """
    return told_of_source(json.loads(text)) if text else []


def fields_of(counts: Mapping[str, Mapping[str, int] | None]) -> list[dict[str, Any]]:
    """The fields of sources, and the values of those that have few, with their numbers of clips.

    Those with few values come first, and of their values the most frequent.
    """
    names = sorted(counts, key=lambda name: (counts[name] is None, name))
    return [{"name": name, "values": _choices(counts[name])} for name in names[:MOST_FIELDS]]


def _choices(values: Mapping[str, int] | None) -> list[list[Any]] | None:
    if values is None:
        return None
    return [[*item] for item in sorted(values.items(), key=lambda item: (-item[1], item[0]))]
