"""What lies in an output: the documents of finished chunks, read back. Needs no Beam.

A chunk's document is the promise that its clips are on the shelf, so what it lists is what there
is; files that no document lists belong to nobody (a run that was killed, or one at work).

    output = Output.at("dataset")
    for chunk in output.chunks():
        for entry in output.entries(chunk):      # a clip, kept or rejected
            entry.id, entry.kept, entry.path, entry.document["duration_span"]
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from finecut.io.errors import UserError
from finecut.io.layout import (
    SOURCE,
    Layout,
    chunk_id,
    clip_path_is_sharded,
    embedding_name_of,
    scores_held,
    source_held,
)
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.tables.parquet import tables_in

Document = Mapping[str, Any]
JSON, CLIP = ".json", ".mp4"


class NoDataset(UserError, ValueError):
    """What was named is no output, or a document in it cannot be read; the message says more."""


@dataclass(frozen=True)
class Entry:
    """A clip as an output tells of it. Paths are below the output's present root, wherever it was
    written.
    """

    id: str
    kept: bool
    #: Where the clip's file is, if files were written at all.
    path: str
    #: Key of the chunk that it belongs to.
    chunk: str
    document: Document

    @property
    def scores(self) -> dict[str, Any]:
        """Every score under the name that rules know: numbers, and labels."""
        with _refused(self, "scores", "numbers or texts by name"):
            found = scores_held(self.document).items()
            return {
                name: value if isinstance(value, str) else float(value)
                for name, value in found
                if value is not None
            }

    @property
    def source(self) -> dict[str, Any]:
        """What is known of the video that it was cut from: the metadata that there was of it."""
        said = self.document.get(SOURCE)
        return dict(said) if isinstance(said, Mapping) else {}

    @property
    def known(self) -> dict[str, Any]:
        """All that rules may speak of: its scores, and what is known of the source."""
        return self.scores | source_held(self.source)

    @property
    def span(self) -> tuple[float, float]:
        said = self.document["duration_span"]
        with _refused(self, "duration_span", "two seconds"):
            start, end = said
            return float(start), float(end)

    @property
    def captions(self) -> dict[str, str]:
        """The first text of each captioner (``qwen_caption`` …), windows joined by a blank."""
        texts: dict[str, list[str]] = {}
        with _refused(self, "windows", "a list of windows"):
            for window in self.document.get("windows") or ():
                for name, text in window.items():
                    if name.endswith("_caption") and isinstance(text, str) and text:
                        texts.setdefault(name, []).append(text)
        return {name: " ".join(said) for name, said in texts.items()}


@contextmanager
def _refused(entry: Entry, key: str, should: str) -> Iterator[None]:
    """What a document says that its readers cannot use, told as what it is."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise NoDataset(
            f"the document of {entry.id} is invalid: its {key} should be {should}. Usually it "
            "was edited by hand: finecut verify lists everything that is wrong"
        ) from error


@dataclass(frozen=True)
class Output:
    """An output of curation, of this program or of another that writes the same layout."""

    layout: Layout

    @classmethod
    def at(cls, root: str) -> Self:
        """The output that lies there, or :class:`NoDataset`."""
        layout = Layout(shelf.absolute(root))
        if not shelf.exists(layout.processed_clip_chunks()) and not shelf.exists(
            layout.processed_videos()
        ):
            if not shelf.exists(layout.root):
                raise NoDataset(
                    f"{layout.root} does not exist. Give the folder that was the --output of "
                    "finecut curate"
                )
            raise NoDataset(
                f"{layout.root} contains no finished clips: it has no folder "
                "processed_clip_chunks/. Give the folder that was the --output of finecut curate"
            )
        return cls(replace(layout, shard_prefix=_is_sharded(layout)))

    @property
    def root(self) -> str:
        return self.layout.root

    def chunks(self) -> Iterator[str]:
        """The documents of finished chunks, by path, in order."""
        yield from _documents_below(self.layout.processed_clip_chunks())

    def videos(self) -> Iterator[str]:
        """The documents of finished videos, by path, in order."""
        yield from _documents_below(self.layout.processed_videos())

    def entries(self, chunk: str) -> Iterator[Entry]:
        """The clips of a chunk: kept ones, then rejected ones, each in their order."""
        yield from self.entries_in(read_document(chunk), chunk)

    def entries_in(self, said: Document, chunk: str) -> Iterator[Entry]:
        """The same of a chunk whose document, which lies there, has been read."""
        key = chunk_named(said, chunk)
        yield from (self.entry(clip, kept, key) for clip, kept in clips_named(said, chunk))

    def entry(self, clip: str, kept: bool, chunk: str = "") -> Entry:
        document = read_document(self.layout.meta(clip))
        return Entry(clip, kept, self.layout.clip(clip, kept), chunk=chunk, document=document)

    def algorithms(self) -> list[str]:
        """The folders of tables of vectors, by the names without ``_embd_parquet``."""
        names = (folder.rsplit("/", 1)[-1] for folder in shelf.folders_in(self.root))
        return sorted(filter(None, map(embedding_name_of, names)))

    def tables(self, algorithm: str) -> list[str]:
        """The tables of vectors of an algorithm, by path, in order."""
        return tables_in(self.layout.embeddings_parquet(algorithm))


def _documents_below(folder: str) -> list[str]:
    """The documents at any depth, and whatever else has the name of one."""
    paths = shelf.files_below(folder, folders_named=JSON)
    return without_folders_of_films([path for path in paths if path.endswith(JSON)])


def without_folders_of_films(paths: Sequence[str]) -> list[str]:
    """A folder that is named as documents are, and holds some, stands in nobody's place.

    >>> without_folders_of_films(["a.json", "a.json/b.mp4.json", "c.json"])
    ['a.json/b.mp4.json', 'c.json']
    """
    inside = f"{JSON}/"
    hold = {
        path[: found.end() - 1]
        for path in paths
        if inside in path
        for found in re.finditer(re.escape(inside), path)
    }
    return sorted(path for path in paths if path not in hold)


def read_document(path: str) -> dict[str, Any]:
    """A document, or :class:`NoDataset` saying what is wrong with it."""
    try:
        said = read_json(path)
    except BadDocument as error:
        raise NoDataset(
            f"{error}. Usually a copy was cut short, or somebody edited it: finecut verify lists "
            "everything that is wrong"
        ) from error
    if said is None:
        raise NoDataset(
            f"{path} is missing, although other documents refer to it. Usually files were "
            "removed by hand, or a copy is incomplete: finecut verify lists everything that is "
            "wrong"
        )
    return said


def chunk_named(said: Document, path: str) -> str:
    """The key of the chunk that this document, which lies there, is of."""
    try:
        video, index = said["video"], said["clip_chunk_index"]
    except KeyError as error:
        raise NoDataset(
            f"{path} is not the document of a chunk: it has no {error}. Usually it was edited by "
            "hand, or a copy is incomplete: finecut verify lists everything that is wrong"
        ) from error
    if not isinstance(video, str) or type(index) is not int:
        raise _other_kind(path, "video or clip_chunk_index", "a text and a whole number")
    return chunk_id(video, index)


def clips_named(said: Document, path: str) -> Iterator[tuple[str, bool]]:
    """The clips that this document of a chunk, which lies there, lists; whether each is kept."""
    for kept, name in ((True, "clips"), (False, "filtered_clips")):
        listed = said.get(name, ())
        if not isinstance(listed, list | tuple):
            raise _other_kind(path, name, "a list of ids")
        yield from ((str(id), kept) for id in listed)


def _other_kind(path: str, key: str, should: str) -> NoDataset:
    return NoDataset(
        f"{path} is invalid: its {key} should be {should}. Usually it was edited by hand: "
        "finecut verify lists everything that is wrong"
    )


def _is_sharded(layout: Layout) -> bool:
    """Whether clips lie under the first letters of their ids: the first document says so, or, if
    that one is broken, what lies where clips lie. One broken document is no reason to read nothing.
    """
    meta = shelf.some_file_in(layout.metas(), JSON)
    if meta is None:
        return False
    with suppress(NoDataset):
        said = read_document(meta).get("clip_location")
        if isinstance(said, str):
            return clip_path_is_sharded(said)
    for kept in (True, False):
        if shelf.some_file_in(layout.clips(kept), CLIP) is not None:
            return False
        if any(len(path.rsplit("/", 1)[-1]) == 2 for path in shelf.folders_in(layout.clips(kept))):
            return True
    return False
