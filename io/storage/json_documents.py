"""JSON documents and lists, as anybody may have left them: what they say, or what is wrong.

Whoever reads a document may do with it what documents are for: write it again, add its numbers up,
hand its texts on. What would break them there is refused here, by name: what is no file, or too
large, what is no text, numbers that are none, texts that cannot be written, and what is nested so
deeply that nobody could have meant it.
"""

import csv
import io
import json
import math
import re
from contextlib import suppress
from typing import Any, Final, NoReturn

from finecut.io.errors import UserError
from finecut.io.storage import files as shelf
from finecut.io.storage.on_disk import NotAFile
from finecut.io.storage.retry import pass_on_outlasted

#: Documents of a million clips are smaller.
MOST_BYTES: Final = 256 << 20
#: Ours are nested seven times at the most.
DEEPEST: Final = 100
#: Of whole numbers, what 64 bits hold; of others, what can still be multiplied.
LARGEST_WHOLE: Final = 1 << 63
LARGEST: Final = 1e100
_SURROGATE: Final = re.compile(rb"\\[uU][dD][89a-fA-F]")


class BadDocument(ValueError):
    """A document that is there and cannot be used; the message says why (``is no JSON …``)."""


class BadList(UserError, ValueError):
    """A file that is no list; the message says why, and what to do."""


def parsed(data: bytes) -> dict[str, Any]:
    """The document that these bytes are."""
    if len(data) > MOST_BYTES:
        raise BadDocument(f"has {len(data):,} bytes; the limit is {MOST_BYTES:,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDocument(f"is not text in UTF-8 ({error.reason} at byte {error.start})") from error
    value = parsed_text(text)
    if not isinstance(value, dict):
        raise BadDocument(f"is not a JSON object but a {type(value).__name__}")
    return value


def parsed_text(text: str) -> Any:
    """What JSON says: any value, as long as it is one that can be used."""
    try:
        value = json.loads(text, parse_float=_number, parse_int=_whole, parse_constant=_refused)
        _refuse_deep(value)
    except BadDocument:
        raise
    except RecursionError:
        raise BadDocument(_DEEP) from None
    except ValueError as error:
        raise BadDocument(f"is not valid JSON ({error})" if text.strip() else "is empty") from error
    if _SURROGATE.search(text.encode()):
        _refuse_surrogates(value)
    return value


def read_json(path: str) -> dict[str, Any] | None:
    """The document that lies there; ``None`` if there is none.

    The message of :class:`BadDocument` begins with the path.
    """
    if "\0" in path:
        return None  # no file has such a name
    try:
        return parsed(shelf.read(path, MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadDocument as error:
        raise BadDocument(f"{path} {error}") from error
    except IsADirectoryError as error:
        raise BadDocument(f"{path} is a folder, not a document") from error
    except NotAFile as error:
        raise BadDocument(f"{path} {error.strerror}") from error


def usable_json(path: str) -> dict[str, Any] | None:
    """The same; ``None`` also if it cannot be used."""
    with suppress(BadDocument):
        return read_json(path)
    return None


_DEEP: Final = f"is nested more than {DEEPEST} levels deep"


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise BadDocument(f"contains the number {_short(text)}, with which nothing can be computed")
    return number


def _whole(text: str) -> int:
    # Python itself refuses to read thousands of digits; twenty are enough to know.
    if len(text) > 20 or abs(number := int(text)) >= LARGEST_WHOLE:
        raise BadDocument(f"contains the number {_short(text)}, which does not fit into 64 bits")
    return number


def _refused(text: str) -> NoReturn:
    raise BadDocument(f"contains {text}, which is not a number")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}… ({len(text)} digits)"


def _refuse_deep(value: Any) -> None:
    """Level by level: a function that calls itself would be in trouble before it knew."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [one for values in inside for one in values if isinstance(one, dict | list)]
        if not level:
            return
    raise BadDocument(_DEEP)


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadDocument(
            f"contains half a character (\\u{ord(error.object[error.start]):04x}), which "
            "is not allowed in text"
        ) from error


def list_text(path: str) -> str:
    """The text of this list."""
    try:
        # Some editors begin a text with a mark that is not part of it.
        text = shelf.read(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadList("the file does not exist") from error
    except OSError as error:
        pass_on_outlasted(error)
        raise BadList(f"it cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise BadList(
            f"it is not text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    # One such character somewhere is a name that no file has; in UTF-16 it is every other one.
    if "\0" in text[:2]:
        raise BadList("it contains NUL characters, as text in UTF-16 does: save it as UTF-8")
    return text


def csv_rows(text: str) -> list[list[str]]:
    """The rows of a CSV."""
    try:
        return list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise BadList(f"it is not a CSV file with short fields ({error})") from error
