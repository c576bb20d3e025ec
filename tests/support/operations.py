"""What a run asks of a store, counted by kind: what stores send bills for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

WRITES, READS, LISTS, DELETES = KINDS = ("writes", "reads", "lists", "deletes")
_OBJECT: Final = re.compile(r"/o/([^?]*)")


def kind_of(method: str, path: str) -> str:
    """What Google's store bills a request for: copies as writes, looks at objects as reads."""
    if method == "GET":
        return LISTS if re.search(r"/o\?", path) else READS
    return DELETES if method == "DELETE" or "/batch/" in path else WRITES


def counted(asked: Iterable[tuple[str, str, str]], without: str) -> Counter[str]:
    """The requests by kind; of objects whose names begin so, none."""
    return Counter(
        kind_of(method, path) for method, path, _ in asked if not _named(path).startswith(without)
    )


def _named(path: str) -> str:
    """The object that a request names, if it does in its path."""
    found = _OBJECT.search(path)
    return unquote(found[1]) if found else unquote(path.partition("prefix=")[2])
