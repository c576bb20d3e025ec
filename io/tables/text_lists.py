"""Lists that somebody wrote by hand or with another program: their text, or what is wrong."""

from __future__ import annotations

import csv
import io

from finecut.io.errors import UserError
from finecut.io.storage import files as shelf


class BadList(UserError, ValueError):
    """A file that is no list; the message says why, and what to do."""


def list_text(path: str) -> str:
    """The text of this list."""
    try:
        data = shelf.read(path)
    except FileNotFoundError as error:
        raise BadList("the file does not exist") from error
    except OSError as error:
        raise BadList(f"it cannot be read ({error.strerror or error})") from error
    try:
        # Some editors begin a text with a mark that is not part of it.
        text = data.decode("utf-8-sig")
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
