"""Parts of a folder: its files by their names, a part for each of several workers.

    parts("clips", 16)  ─▶  names up to "1", from there up to "2", …, from "f" on
    files_within(folder, part) ─▶ paths, in any order, none of which is kept here

Each name is in one part, whatever it is. Where a store can, only the part is listed. From a disk
all names are read, and others are left out: few parts are better there.
"""

import itertools
import os
from collections.abc import Iterator
from functools import partial
from typing import Final

from finecut.io.storage.fence import leads_outside
from finecut.io.storage.files import files_below, is_remote, pages, patiently
from finecut.io.storage.stores import Sorted, Span, store_for

_DIGITS: Final = "0123456789abcdef"


def parts(digits: int, beginning: str = "") -> Iterator[Span]:
    """As many parts as there are hexadecimal numbers with so many digits, of names that begin so.

    >>> [*parts(0)], [*parts(1, "v0/")][1:3]
    ([Span(first='', last='')], [Span(first='v0/1', last='v0/2'), Span(first='v0/2', last='v0/3')])
    """
    number = len(_DIGITS) ** digits
    edges = [f"{beginning}{place:0{digits}x}" for place in range(1, number)]
    yield from map(Span, ("", *edges), (*edges, ""))


def divides(folder: str) -> bool:
    """Whether a part of this folder can be listed without the rest."""
    if not is_remote(folder):
        return False
    store = store_for(folder)
    return isinstance(store, Sorted) and store.divides(folder)


def files_within(folder: str, span: Span) -> Iterator[str]:
    """The files at any depth of a folder whose names below it are within this part."""
    if not is_remote(folder):
        yield from _walked(folder, span)
        return
    store, start = store_for(folder), len(folder.rstrip("/")) + 1
    if isinstance(store, Sorted):
        listed = pages(folder, lambda after: store.between(folder, span, after))
        paths: Iterator[str] = (one.uri for page in listed for one in page.objects)
    else:
        paths = files_below(folder)
    yield from (path for path in paths if path[start:] in span)


def begins_with_folder(folder: str) -> bool:
    """Whether the first that a disk names in this folder is one; of a store that is not known."""
    if is_remote(folder) or leads_outside(folder.rstrip("/")):
        return False
    try:
        with os.scandir(folder) as entries:
            return any(map(_is_folder, itertools.islice(entries, 1)))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _walked(folder: str, span: Span, below: str = "") -> Iterator[str]:
    """Symlinked files are among them, and symlinked folders are not entered.

    Folder by folder as the disk names them: there may be one for each clip.
    """
    here = f"{folder}/{below}".rstrip("/")
    if not below and leads_outside(folder):
        return
    try:
        entries = patiently(here, partial(os.scandir, here))
    except FileNotFoundError:
        if below:
            return  # removed since it was listed: it hides nothing
        raise
    with entries:
        for entry in entries:
            name, is_link = f"{below}{entry.name}", entry.is_symlink()
            if is_link and leads_outside(entry.path):
                continue
            if not _is_folder(entry):
                if name in span:
                    yield f"{folder}/{name}"
            elif not is_link and span.holds_some_below(name):
                yield from _walked(folder, span, f"{name}/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where nobody may look
        return False
