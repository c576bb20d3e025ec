"""Metadata: what somebody says of a source beside naming it, as far as it may travel.

    a row of a list, a file beside the video ─▶ plain() ─▶ Source.metadata ─▶ "source" in documents

Anybody may have written it, and every record of a clip carries it. So names are plain words, values
are those of JSON, and all together is small. What does not fit is left out, never cut short: half a
text would be another one. Of what is too much, the smallest fields stay: a title, and not the two
hundred formats that a downloader lists.

    >>> plain({"Release year": 1999, "title": "Up\\x00", "views": float("nan"), "note": ""})
    Plain(said={'Release_year': 1999, 'title': 'Up'}, left_out=('views',))
"""

import json
import logging
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from finecut.io.held import source_held
from finecut.io.records import Metadata
from finecut.io.storage.json_documents import LARGEST, LARGEST_WHOLE
from finecut.io.wording import count_of
from finecut.transforms.option import nearest
from finecut.transforms.plain_text import cleaned
from finecut.transforms.write.secrets import redacted

LOG: Final = logging.getLogger("finecut")

#: Fields of a source, letters of a field's name, and bytes of all of them as JSON.
MOST_FIELDS: Final = 100
LONGEST_NAME: Final = 64
MOST_BYTES: Final = 16_000
#: What a message says of it.
MAY_BE: Final = (
    "Metadata is text, numbers, true or false, and lists and objects of these, "
    f"at most {MOST_BYTES} bytes for each video"
)
#: Levels of values in values.
DEEPEST: Final = 4
#: Names that a message lists.
TOLD: Final = 8
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class Plain(NamedTuple):
    """What may travel of what was said, and the names of what may not."""

    said: dict[str, Any]
    left_out: tuple[str, ...] = ()


def plain(found: Mapping[Any, Any]) -> Plain:
    """What may travel of this, in its order."""
    said: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in found.items():
        name, kept = plain_name(str(key)), plain_value(value)
        if _is_nothing(value):
            continue
        if name and kept is not None and name not in said:
            said[name] = kept
        else:
            left_out.append(cleaned(str(key), LONGEST_NAME))
    if len(said) <= MOST_FIELDS and _size(said) <= MOST_BYTES:
        return Plain(said, tuple(left_out))
    sizes = {name: _size({name: value}) for name, value in said.items()}
    room, fits = MOST_BYTES, set[str]()
    # The order is that of the names where two are of one size.
    for name in sorted(sizes, key=lambda name: (sizes[name], name))[:MOST_FIELDS]:
        room -= sizes[name]
        if room < 0:
            break
        fits.add(name)
    left_out += [name for name in said if name not in fits]
    return Plain({name: said[name] for name in said if name in fits}, tuple(left_out))


@lru_cache(maxsize=1024)
def plain_name(text: str) -> str:
    """The name as rules and columns can say it; nothing if it is none.

    >>> plain_name(" Content-Type "), plain_name("año"), plain_name("…")
    ('Content_Type', 'año', '')
    """
    name = re.sub(r"\W+", "_", unicodedata.normalize("NFC", text.strip()))
    return name if any(map(str.isalnum, name)) and len(name) <= LONGEST_NAME else ""


def plain_value(value: Any, depth: int = DEEPEST) -> Any:
    """The value in the words of JSON; ``None`` if it has none there, or nothing is left of it.

    Whole numbers that do not fit into 64 bits become texts; dates and times are told as ISO 8601.
    """
    if isinstance(value, str):
        text = cleaned(value)
        # Logins and signatures of addresses are secrets, and differ each time.
        return (redacted(text) if _ADDRESS.fullmatch(text) else text) or None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return value if math.isfinite(value) and abs(value) <= LARGEST else None
    if isinstance(value, Mapping | list | tuple):
        return _of_several(value, depth) if depth else None
    return _of_tables(value)


def _whole(value: int) -> int | str | None:
    if abs(value) < LARGEST_WHOLE:
        return value
    return str(value) if value.bit_length() <= 256 else None


def _of_several(value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Any:
    """Values in a value; one that cannot be said takes all of it along."""
    if isinstance(value, Mapping):
        pairs = {cleaned(str(key)): each for key, each in value.items() if not _is_nothing(each)}
        told = {name: plain_value(each, depth - 1) for name, each in pairs.items()}
        return None if None in told.values() else told or None
    said = [plain_value(each, depth - 1) for each in value if not _is_nothing(each)]
    return None if None in said else said or None


def _of_tables(value: Any) -> Any:
    """Values that tables have and JSON has not; bytes are left out."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        number = plain_value(int(value) if value == value.to_integral_value() else float(value))
        return number if number is not None and Decimal(str(number)) == value else str(value)
    return str(value) if isinstance(value, UUID) else None


def _is_nothing(value: Any) -> bool:
    """Whether nothing was said at all, as with an empty cell."""
    return value is None or (isinstance(value, str) and not value.strip())


def _size(said: Metadata) -> int:
    return len(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode())


def plain_rows(path: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What may travel of each; one line of the log says what does not."""
    told = [plain(row) for row in rows]
    say_left_out(path, told)
    return [each.said for each in told]


def say_left_out(path: str, told: Sequence[Plain]) -> None:
    names = Counter(name for each in told for name in each.left_out)
    if names:
        shown = ", ".join(f"{name} ({number})" for name, number in names.most_common(TOLD))
        more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
        videos = count_of(sum(bool(each.left_out) for each in told), "video")
        LOG.error("%s: left out of the metadata of %s: %s. %s", path, videos, shown + more, MAY_BE)


# ── what is asked of it ──────────────────────────────────────────────────────────────────────────


class Asked(NamedTuple):
    """A field that rules or prompts speak of."""

    #: Under the name that rules know.
    field: str
    #: Who asks, in the words of the command.
    by: str
    #: What becomes of clips of a source without it.
    then: str
    #: Whether it can only be a field, even where no source has any.
    surely: bool = True


def lacking(sources: Sequence[Metadata], asked: Sequence[Asked]) -> list[str]:
    """What to say of each field that all of these sources lack; one line of the log if some do."""
    told = [source_held(each).keys() for each in sources] if asked else []
    if not told:
        return []
    return [wrong for one in asked if (wrong := _lacking(told, one)) is not None]


def _lacking(told: Sequence[Collection[str]], asked: Asked) -> str | None:
    has = sum(asked.field in each for each in told)
    known = sorted({name for each in told for name in each})
    if has == len(told) or not (known or asked.surely):
        return None
    if has:
        without = f"{len(told) - has} of {count_of(len(told), 'video')} have no {asked.field}"
        LOG.error("%s: %s: %s", asked.by, without, asked.then)
        return None
    if not known:
        why = (
            "the inputs say nothing of the videos. Give a list with columns (.csv, .jsonl, "
            ".parquet), or --source-metadata to read the JSON files beside them"
        )
    elif near := nearest(asked.field, known):
        why = f"did you mean {near}?"
    else:
        why = f"there is {', '.join(known[:TOLD])}{' …' if len(known) > TOLD else ''}"
    return f"{asked.by}: none of the {len(told)} videos has {asked.field}: {why}"
