"""Lists as inputs: what a list names, wherever it lies, and what else it says of that."""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urljoin

from finecut.io.records import Metadata, Source
from finecut.io.storage import addresses
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, list_text
from finecut.io.storage.web import urls
from finecut.io.tables.rows import rows_at
from finecut.transforms.find.held import check_urls
from finecut.transforms.find.lists import (
    FAILURE_LIST,
    TABLE,
    InputError,
    read_list,
    read_table,
    sources_in,
)
from finecut.transforms.find.metadata import plain_rows


class Listed(NamedTuple):
    """Files, or sources that have their names already."""

    files: Sequence[str] = ()
    #: What the list says of its files, besides that they are there.
    told: Sequence[tuple[str, Metadata]] = ()
    named: Sequence[Source] = ()


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        why = f"it {error}" if isinstance(error, BadDocument) else error
        raise InputError(
            f"the list {path} cannot be read: {why}. A list is a UTF-8 text file: .txt with one "
            "path per line, .json with an array, .jsonl with one object per line, .csv with a "
            "column 'path', or a .parquet table with such a column."
        ) from error


def listed(path: str, copy: str | None = None) -> Listed:
    """What a list names, from where the list lies; workers elsewhere read a ``copy``."""
    extension, there = urls.extension_of(path), copy or path
    with _reading(path):
        text = "" if extension == TABLE else list_text(there)
        # Lists of failures say where files of this machine are; others have none to give.
        named = sources_in(text) if extension == FAILURE_LIST and not urls.is_web(path) else []
        if named:
            return Listed(named=named)
        rows = read_table(rows_at(there)) if extension == TABLE else read_list(text, extension)
    folder = posixpath.dirname(path)
    files = [row.path if shelf.is_remote(row.path) else _beside(folder, row.path) for row in rows]
    check_urls(files, path)
    if urls.is_web(path) and not all(urls.is_web(addresses.container_of(file)) for file in files):
        raise InputError(
            f"the list {addresses.public(path)} names files that are on no web server. What others "
            "wrote must not lead to files of this machine: copy the list here to use it."
        )
    said = zip(files, plain_rows(path, [row.told for row in rows]), strict=True)
    return Listed(files, [(file, told) for file, told in said if told])


def names_on(path: str) -> list[str]:
    """What a list names, as it stands there: videos, or the sources of a list of failures."""
    extension = urls.extension_of(path)
    with _reading(path):
        if extension == TABLE:
            return [row.path for row in read_table(rows_at(path))]
        text = list_text(path)
        if extension == FAILURE_LIST and (named := sources_in(text)):
            return [source.name for source in named]
        return [row.path for row in read_list(text, extension)]


def _beside(folder: str, entry: str) -> str:
    """The file that a list in this folder names by a path from there."""
    if urls.is_web(folder):
        return urljoin(f"{folder}/", entry)
    scheme, separator, below = folder.rpartition("://")
    if not separator:
        return shelf.absolute(posixpath.join(folder, entry))
    return scheme + separator + posixpath.normpath(posixpath.join(below, entry))
