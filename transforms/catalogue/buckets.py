"""Which files the catalogue consists of, and how chunks are divided among them.

    catalogue/clips.parquet              few chunks: all of them
    catalogue/clips-0.parquet … -f       more: by the first digit of their ids
    catalogue/clips-0.parquet, clips-10.parquet … clips-1f.parquet, …
                                         where there are too many, by one digit more
    .finecut/rows/<chunk>.jsonl,
    catalogue/chunks/<chunk>.parquet     what was written since
    catalogue/failed.parquet             clips that failed, and belong to no chunk

Ids of chunks are digests, so the files are of about the same size, and which ones there are follows
from the chunks alone. A bucket is one of those files and what belongs to it. If a run is killed
while it divides a file, parts of it lie beside it: the longer prefix is the newer one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from finecut.io.layout import Layout, is_clip_id
from finecut.io.storage import files as shelf

#: Of more chunks than this a file is divided: some 80,000 rows.
MOST_CHUNKS: Final = 4096
DIGITS: Final = "0123456789abcdef"
_FILE = re.compile(r"clips(?:-([0-9a-f]+))?\.parquet")
_SUFFIX: Final = ".parquet"
#: What files of chunks end with whose rows are lines of JSON.
LINES: Final = ".jsonl"


@dataclass(frozen=True)
class Bucket:
    """A file of the catalogue, and what has to be merged into it."""

    prefix: str
    #: The file, if it is there.
    file: str | None = None
    #: Files with shorter prefixes that are being divided: the newest last.
    ancestors: tuple[str, ...] = ()
    #: Files of chunks, newer than all of them. Of two of a chunk, the last one is the newer.
    loose: tuple[str, ...] = ()

    @property
    def has_news(self) -> bool:
        return bool(self.loose or self.ancestors)


@dataclass(frozen=True)
class Files:
    """What lies there."""

    #: Large files by their prefixes.
    large: Mapping[str, str]
    #: Files of chunks, in order.
    loose: tuple[str, ...]

    @cached_property
    def in_lines(self) -> frozenset[str]:
        """The chunks whose rows are lines of JSON, which stand above a table of the same chunk."""
        return frozenset(filter(None, map(chunk_of, (p for p in self.loose if p.endswith(LINES)))))

    @classmethod
    def of(cls, layout: Layout) -> "Files":
        large = {}
        for path in shelf.files_in(layout.catalogue()):
            if named := _FILE.fullmatch(path.rsplit("/", 1)[-1]):
                large[named[1] or ""] = path
        folders = (layout.catalogue_chunks(), layout.catalogue_rows())
        loose = (path for folder in folders for path in shelf.files_in(folder) if chunk_of(path))
        return cls(large, tuple(loose))


def chunk_of(path: str) -> str | None:
    """The chunk whose rows lie there, if it is named as such files are.

    >>> chunk_of("/out/.finecut/rows/4a052d8f-c08f-5d16-9f8f-9c077bcfc216.jsonl")
    '4a052d8f-c08f-5d16-9f8f-9c077bcfc216'
    """
    name, dot, suffix = path.rsplit("/", 1)[-1].partition(".")
    return name if dot + suffix in (_SUFFIX, LINES) and is_clip_id(name) else None


def path_of(prefix: str, layout: Layout) -> str:
    """Where the rows of chunks with this prefix lie.

    >>> path_of("", Layout("/out")), path_of("1f", Layout("/out"))
    ('/out/catalogue/clips.parquet', '/out/catalogue/clips-1f.parquet')
    """
    return f"{layout.catalogue()}/clips{f'-{prefix}' if prefix else ''}{_SUFFIX}"


def failed_path(layout: Layout) -> str:
    return f"{layout.catalogue()}/failed{_SUFFIX}"


def buckets_of(files: Files, most: int = MOST_CHUNKS) -> Iterator[Bucket]:
    """What lies there, divided into buckets that have nothing in common."""
    yield from _divided("", files, files.loose, (), most=most)


def _divided(
    prefix: str, files: Files, loose: tuple[str, ...], ancestors: tuple[str, ...], *, most: int
) -> Iterator[Bucket]:
    file = files.large.get(prefix)
    divided = any(other.startswith(prefix) and other != prefix for other in files.large)
    if not divided and len(loose) <= most:
        if file or loose or ancestors:
            yield Bucket(prefix, file, ancestors, loose)
        return
    parts = defaultdict(list)
    for path in loose:
        parts[(chunk_of(path) or "")[: len(prefix) + 1]].append(path)
    older = ancestors if file is None else (*ancestors, file)
    for digit in DIGITS:
        part = tuple(parts.get(prefix + digit, ()))
        yield from _divided(prefix + digit, files, part, older, most=most)


def children_of(prefix: str) -> Iterable[str]:
    return (prefix + digit for digit in DIGITS)


def files_of(layout: Layout) -> list[str]:
    """All files of the catalogue that lie there."""
    files = Files.of(layout)
    failed = failed_path(layout)
    more = [failed] if shelf.exists(failed) else []
    return [*(files.large[prefix] for prefix in sorted(files.large)), *files.loose, *more]
