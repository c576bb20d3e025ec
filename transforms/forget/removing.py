"""Removing what a dataset has of sources: first what promises it, then the files, then what other
documents say of it.

    processed_videos/a.mp4.json         1. withdrawn
    processed_clip_chunks/a.mp4_0.json  2. withdrawn
    <model>_embd_parquet/, clips/, …    3. files named by ids of its chunks and clips
    .finecut/open/a.mp4.json            4. removed
    failures/, runs/, .finecut/         5. written again without it

Doing it twice, or the rest of it, is doing it once.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from finecut.io.layout import PACKS, Layout
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.on_disk import NotAFile
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import PARQUET, from_parquet, to_parquet
from finecut.transforms.catalogue.buckets import LINES
from finecut.transforms.catalogue.loose import read_rows, written_as
from finecut.transforms.forget.mentions import ID, Mentions
from finecut.transforms.forget.sources import Known
from finecut.transforms.forget.tables import speaks, texts_of, without_rows, without_sources
from finecut.transforms.registry import ARTEFACTS, is_dataset_folder

#: Folders of documents that speak of many sources.
SHARED: Final = ("failures", "runs", ".finecut")
#: Folders whose files are named by clips and chunks.
OF_CLIPS: Final = ("clips", "filtered_clips", "metas", PACKS)
#: Where runs put what is not finished.
STAGING: Final = ".staging"


@dataclass
class Removed:
    """What was removed, by kind."""

    files: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    num_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Documents and tables that were written again without something, by kind.
    rewritten: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, kind: str, size: int) -> None:
        self.files[kind] += 1
        self.num_bytes[kind] += size

    @property
    def document(self) -> Mapping[str, Mapping[str, int]]:
        return {
            kind: {
                "files": self.files.get(kind, 0),
                "bytes": self.num_bytes.get(kind, 0),
                "rewritten": self.rewritten.get(kind, 0),
            }
            for kind in sorted({*self.files, *self.rewritten})
        }


@dataclass(frozen=True)
class Taking:
    """What is taken back, and from where."""

    layout: Layout
    own: Shelf
    mentions: Mentions
    removed: Removed
    readers: int = 1
    #: Only count.
    dry_run: bool = False

    def kind_of(self, path: str) -> str:
        return self.layout.inside(path).partition("/")[0]

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, those that are there, and the folders that this empties."""
        there = list(dict.fromkeys(paths))
        found = list(zip(there, in_order(_size_of, there, self.readers), strict=True))
        for path, size in found:
            if size is not None:
                self.removed.add(self.kind_of(path), size)
        if self.dry_run:
            return
        self.own.remove(*(path for path, size in found if size is not None))
        for folder in dict.fromkeys(map(posixpath.dirname, there)):
            self.own.remove_emptied(folder)

    def tidy(self, folders: Iterable[str]) -> None:
        """Remove these folders below the root, and those around them, if they are empty."""
        for folder in () if self.dry_run else folders:
            self.own.remove_emptied(self.layout.below(folder))

    def rewrite(self, path: str, data: bytes | None, before: bytes) -> None:
        """Write a file again as it is without them; remove it where nothing is left."""
        if data == before:
            return
        if not data:
            self.remove([path])
            return
        self.removed.rewritten[self.kind_of(path)] += 1
        if not self.dry_run:
            self.own.write(path, data)


def _size_of(path: str) -> int | None:
    try:
        return shelf.size_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_own(sources: Iterable[Known], taking: Taking) -> None:
    """Remove the documents and files that belong to these sources alone."""
    layout = taking.layout
    known = list(sources)
    documents = [layout.below(path) for one in known for path in one.documents]
    # One after the other, since a store removes what is given together in any order.
    for folder in (
        *(layout.processed_videos(), layout.processed_clip_chunks(), layout.cut_chunks()),
    ):
        taking.remove(path for path in documents if path.startswith(f"{folder}/"))
    taking.remove(files_of(taking))
    taking.remove(path for path in documents if path.startswith(f"{layout.open_videos()}/"))
    taking.tidy(_folders_of(known, taking))


def _folders_of(sources: Iterable[Known], taking: Taking) -> Iterator[str]:
    """Folders that only held what is theirs. A run that was killed may have left them empty."""
    yield from (posixpath.dirname(path) for one in sources for path in one.documents)
    windows = [made.folder for made in ARTEFACTS if made.per == "window"]
    yield from (f"{name}/{id}" for name in windows for id in sorted(taking.mentions.ids))


def files_of(taking: Taking) -> Iterator[str]:
    """Files that are named by clips and chunks of them: tables, then what is made of clips, then
    clips and their documents.
    """
    folders = [path.rpartition("/")[2] for path in shelf.folders_in(taking.layout.root)]
    made = [name for name in folders if any(each.lies_in(name) for each in ARTEFACTS)]
    tables = [name for name in made if name.endswith("_parquet")]
    others = sorted({*made} - {*tables})
    for name in (*tables, *others, *OF_CLIPS, STAGING):
        folder = taking.layout.below(name)
        if name in folders:
            paths = shelf.files_below(folder)
            yield from (
                path for path in paths if names_any(taking.layout.inside(path), taking.mentions)
            )


def names_any(path: str, mentions: Mentions) -> bool:
    """Whether a path has an id in it."""
    return any(found in mentions.ids for found in ID.findall(path))


def rewrite_shared(taking: Taking) -> None:
    """Write documents that speak of several sources without these."""
    layout = taking.layout
    own = {layout.forgotten(), layout.forgetting()}
    for name in SHARED:
        folder = layout.below(name)
        paths = list(shelf.files_below(folder)) if shelf.exists(folder) else []
        paths = [path for path in paths if path not in own]
        for path, data in zip(paths, in_order(_read, paths, taking.readers), strict=True):
            if data:
                taking.rewrite(path, taking.mentions.cleaned_document(path, data), data)
    rewrite_tables(taking)
    rewrite_catalogue(taking)


def rewrite_tables(taking: Taking) -> None:
    """Tables of vectors that are not one chunk's, as other programs may write them."""
    for folder in shelf.folders_in(taking.layout.root):
        if not folder.endswith("_embd_parquet"):
            continue
        for path in shelf.files_in(folder):
            if path.endswith(PARQUET) and not ID.search(path.rpartition("/")[2]):
                _rewrite_table(path, shelf.read(path), taking)


def rewrite_catalogue(taking: Taking) -> None:
    """The catalogue, which has rows of all sources."""
    folders = (taking.layout.catalogue(), taking.layout.catalogue_rows())
    for folder in filter(shelf.exists, folders):
        for path in shelf.files_below(folder):
            if path.endswith((PARQUET, LINES)):
                data = shelf.read(path)
                left = without_sources(read_rows(data, path), taking.mentions)
                taking.rewrite(path, written_as(left, path) if left.num_rows else None, data)
    loose = (taking.layout.catalogue_chunks(), taking.layout.catalogue_rows())
    taking.tidy([taking.layout.inside(folder) for folder in loose])


def _rewrite_table(path: str, data: bytes, taking: Taking) -> None:
    if speaks(texts_of(data), taking.mentions):
        left = without_rows(from_parquet(data, partitioning=None), taking.mentions)
        taking.rewrite(path, to_parquet(left) if len(left) else None, data)


def _read(path: str) -> bytes | None:
    try:
        return shelf.read_if_there(path)
    except NotAFile:
        return None


def shards_inside(layout: Layout, marks: str) -> list[str]:
    """The folders of shards that lie in a dataset."""
    found = []
    for folder in shelf.folders_in(layout.root):
        if not is_dataset_folder(folder.rpartition("/")[2]):
            paths = shelf.files_below(folder)
            found += [path.removesuffix(marks) for path in paths if path.endswith(marks)]
    return sorted(found)


# ── what is left ─────────────────────────────────────────────────────────────────────────────────

#: What is made of clips says nothing of its source.
SILENT: Final = (".mp4", ".webp", ".jpg", ".jpeg", ".png", ".pickle", ".tar", ".npy", ".npz")
#: Larger files of others are not read.
MOST_BYTES: Final = 1 << 30
#: Folders whose files are each of one source.
OF_ONE: Final = ("metas", "processed_videos", "processed_clip_chunks", *OF_CLIPS)


def left_of(taking: Taking) -> tuple[int, list[str]]:
    """How many files were looked at, and those that speak of the sources, by name or content."""
    paths = list(shelf.files_below(taking.layout.root))
    own = {taking.layout.forgotten(), taking.layout.forgetting()}
    staged = f"{taking.own.staging}/"
    paths = [path for path in paths if path not in own and not path.startswith(staged)]
    named = [path for path in paths if taking.mentions.in_text(taking.layout.inside(path))]
    shared = [path for path in paths if _may_speak(taking.layout.inside(path))]
    spoken = in_order(partial(_is_left, mentions=taking.mentions), shared, taking.readers)
    inside = [path for path, left in zip(shared, spoken, strict=True) if left]
    return len(paths), sorted({*named, *inside})


def _may_speak(below: str) -> bool:
    """Whether a file may speak of several sources."""
    folder = below.partition("/")[0]
    of_one = folder in OF_ONE or any(each.lies_in(folder) for each in ARTEFACTS)
    return not of_one and not below.lower().endswith(SILENT)


def _is_left(path: str, mentions: Mentions) -> bool:
    return (_size_of(path) or 0) <= MOST_BYTES and speaks_of(path, mentions)


def speaks_of(path: str, mentions: Mentions) -> bool:
    """Whether what is in a file speaks of the sources."""
    data = _read(path) or b""
    if path.endswith(PARQUET):
        try:
            return speaks(texts_of(data), mentions)
        except (ValueError, OSError):
            pass  # no table: then its bytes are looked at
    return mentions.in_bytes(data)
