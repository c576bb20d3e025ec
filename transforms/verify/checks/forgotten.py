"""What is left of sources that were taken back. Their names are not known, only digests of them: so
every text that a document says is held against those.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.transforms.forget.tombstones import NOTHING_FORGOTTEN, Forgotten, Illegible
from finecut.transforms.verify.checks.findings import Finding, Verifying

#: Texts in what is no JSON as a whole: lines of it, and data of pages.
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
#: Where a page says the folder that names in it are in.
_FOLDER: Final = re.compile(r'"folder": ?("(?:[^"\\]|\\.)*")')
SHOULD: Final = "its source was forgotten"


def left_in(path: str, verifying: Verifying, roots: Iterable[str] = ("",)) -> Iterator[Finding]:
    """Whether a document speaks of a source that was forgotten; names in it are below ``roots``."""
    if names_forgotten(path, verifying.forgotten, roots):
        yield Finding("forgotten", verifying.below(path), "names its source", SHOULD)


def names_forgotten(path: str, forgotten: Forgotten, roots: Iterable[str] = ("",)) -> bool:
    """Whether a text in this file is the name of a source that was forgotten."""
    if not forgotten.stones:
        return False
    said = (shelf.read_if_there(path) or b"").decode(errors="replace")
    texts = {*_texts(said)}
    return any(forgotten.has_name(root + text) for root in roots for text in texts if text)


def _texts(said: str) -> Iterator[str]:
    for found in _TEXT.findall(said):
        with suppress(ValueError):
            yield json.loads(found)


def roots_of_page(layout: Layout) -> tuple[str, ...]:
    """What names in the data of a page are below."""
    page = (shelf.read_if_there(layout.below("report/index.html")) or b"").decode(errors="replace")
    folders = [json.loads(found) for found in _FOLDER.findall(page)]
    return ("", *folders)


def known_in(layout: Layout) -> Forgotten:
    """What was forgotten; nothing where that cannot be read, which is named."""
    try:
        return Forgotten.at(layout)
    except Illegible:
        return NOTHING_FORGOTTEN


def wrong_with_notes(layout: Layout) -> Iterator[Finding]:
    """Whether the digests can be read; and whether something was being removed, and nobody came to
    the end of it.
    """
    try:
        Forgotten.at(layout)
    except Illegible as error:
        where = layout.inside(layout.forgotten())
        wrong = str(error).removeprefix(layout.forgotten()).strip()
        yield Finding("forgotten", where, wrong, "should list digests of sources")
    path = layout.forgetting()
    if shelf.exists(path):
        yield Finding(
            "forgotten",
            layout.inside(path),
            "says what is to be removed",
            "is removed when nothing is left",
        )


def left_in_shard(path: str, names: Iterable[Any], forgotten: Forgotten) -> Iterator[Finding]:
    """Whether the index lists samples of such a source in a shard."""
    if any(forgotten.has_name(str(name)) for name in {*names}):
        yield Finding("forgotten", path, "has samples of a source", SHOULD)
