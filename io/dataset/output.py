"""What lies in an output: the documents of finished chunks, read back. Needs no Beam.

A chunk's document is the promise that its clips are on the shelf, so what it lists is what there
is; files that no document lists belong to nobody (a run that was killed, or one at work).

    output = Output.at("dataset")
    for chunk in output.chunks():
        for entry in output.entries(chunk):      # a clip, kept or rejected
            entry.id, entry.kept, entry.film.read(), entry.document["duration_span"]

A dataset is arranged as files or in packs (:mod:`finecut.io.tables.packs`). Whoever asks here for a
clip's document (:meth:`Output.entries`), its film (:attr:`Entry.film`), what was made of it
(:meth:`Output.artefact`) or its vectors (:meth:`Output.vectors`) need not care; who reads files by
the paths of :class:`~finecut.io.layout.Layout` can only read the first kind.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from finecut.io.dataset.arrangement import found, refuse_packed
from finecut.io.dataset.places import NoDataset, Place
from finecut.io.held import SOURCE, scores_held, source_held
from finecut.io.layout import (
    OF_VECTORS,
    Layout,
    chunk_id,
    clip_path_is_sharded,
    embedding_folder,
    embedding_name_of,
)
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed, read_json, usable_json
from finecut.io.storage.on_disk import NotAFile
from finecut.io.tables.packs import BadPack, Floats, PackedClip, PackTable, vectors_in
from finecut.io.tables.parquet import PARQUET, from_parquet, tables_in

Document = Mapping[str, Any]
JSON, CLIP = ".json", ".mp4"


@dataclass(frozen=True)
class Entry:
    """A clip as an output tells of it. Paths are below the output's present root, wherever it was
    written.
    """

    id: str
    kept: bool
    #: Where the clip's file is, if files were written at all; in a packed dataset, its archive.
    path: str
    #: Key of the chunk that it belongs to.
    chunk: str
    document: Document
    #: Where in its archive the clip lies; ``None`` for a file of its own.
    offset: int | None = None
    size: int | None = None
    #: In a packed dataset: what was made of it, by the paths of files below a dataset.
    packed: Mapping[str, Place] = field(default_factory=dict)
    is_packed: bool = False

    @property
    def film(self) -> Place:
        """Where the clip's bytes lie."""
        return Place(self.path, self.offset, self.size)

    @property
    def has_film(self) -> bool:
        """Whether a file of its own was written of the clip, and not only what is known of it."""
        if self.is_packed:
            return self.offset is not None
        return shelf.exists(self.path)

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
    def at(cls, root: str, packs: bool = False) -> Self:
        """The output that lies there, or :class:`NoDataset`; a packed one is given to those only
        who know what ``packs`` are.
        """
        layout = found(Layout(shelf.absolute(root)))
        if not packs:
            refuse_packed(layout)
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
        return cls(replace(layout, shard_prefix=not layout.packed and _is_sharded(layout)))

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
        key, named = chunk_named(said, chunk), list(clips_named(said, chunk))
        if self.layout.packed:
            there = self.pack(key) if named else {}
            yield from (self.packed_entry(clip, kept, key, there) for clip, kept in named)
        else:
            yield from (self.entry(clip, kept, key) for clip, kept in named)

    def entry(self, clip: str, kept: bool, chunk: str = "") -> Entry:
        """One clip. Of a packed dataset, its chunk has to be known, whose whole table is read."""
        if self.layout.packed:
            return self.packed_entry(clip, kept, chunk, self.pack(chunk))
        document = read_document(self.layout.meta(clip))
        return Entry(clip, kept, self.layout.clip(clip, kept), chunk=chunk, document=document)

    def artefact(self, entry: Entry, path: str) -> Place | None:
        """Where a file that was made of a clip lies, by its path below a dataset of files. (Whether
        it is there, only a packed dataset says at once.)
        """
        return entry.packed.get(path) if self.layout.packed else Place(self.layout.below(path))

    def vectors(self, algorithm: str, chunk: str) -> dict[str, Floats]:
        """The vectors of a chunk by clip, none if it has none; or :class:`NoDataset`."""
        if self.layout.packed:
            folder = embedding_folder(algorithm)
            return _pack_table(self.layout.pack_table(chunk), ["id", folder]).vectors(folder)
        path = self.layout.embedding_parquet(algorithm, chunk)
        try:
            data = shelf.read_if_there(path)
            return {} if data is None else vectors_in(from_parquet(data), "embedding")
        except (pa.ArrowException, KeyError, ValueError, NotAFile) as error:
            raise NoDataset(
                f"{path} is not a table of vectors ({error}): usually a copy was cut short. "
                "finecut verify lists everything that is wrong"
            ) from error

    def pack(self, chunk: str) -> dict[str, PackedClip]:
        """The clips of a chunk of a packed dataset, as its table has them."""
        return {clip.id: clip for clip in self.table(chunk).clips()}

    def table(self, chunk: str) -> PackTable:
        """The table of a chunk of a packed dataset, or :class:`NoDataset`."""
        return _pack_table(self.layout.pack_table(chunk), None)

    def packed_entry(
        self, clip: str, kept: bool, chunk: str, there: Mapping[str, PackedClip]
    ) -> Entry:
        """A clip as the table of its chunk tells of it."""
        table = self.layout.pack_table(chunk)
        if (row := there.get(clip)) is None:
            raise NoDataset(
                f"{table} has no clip {clip}, although the document of its chunk lists it. Usually "
                "files were put there by hand, or a copy is incomplete"
            )
        try:
            document = parsed(row.document)
        except BadDocument as error:
            raise NoDataset(f"the document of {clip} in {table} {error}") from error
        archive = self.layout.below(row.pack) if row.pack else self.layout.pack(chunk)
        return Entry(
            clip,
            kept,
            archive,
            chunk=chunk,
            document=document,
            offset=row.offset,
            size=row.size,
            packed={each.path: Place(archive, each.offset, each.size) for each in row.files},
            is_packed=True,
        )

    def some_document(self) -> Document | None:
        """The document of some clip, if there is one that can be read."""
        if self.layout.packed:
            path = shelf.some_file_in(self.layout.packs(), PARQUET)
            with suppress(NoDataset):
                for clip in [] if path is None else _pack_table(path, None).clips():
                    return _usable(clip.document)
            return None
        path = shelf.some_file_in(self.layout.metas(), JSON)
        return None if path is None else usable_json(path)

    def algorithms(self) -> list[str]:
        """The folders of tables of vectors, by the names without ``_embd_parquet``; of a packed
        dataset, what its notes name.
        """
        if self.layout.packed:
            end = f"{OF_VECTORS}{JSON}"
            notes = shelf.files_in(self.layout.below(".finecut"))
            folders = [note.removesuffix(JSON) + "_parquet" for note in notes if note.endswith(end)]
        else:
            folders = list(shelf.folders_in(self.root))
        names = (folder.rsplit("/", 1)[-1] for folder in folders)
        return sorted(filter(None, map(embedding_name_of, names)))

    def tables(self, algorithm: str) -> list[str]:
        """The tables that vectors of an algorithm are in, one for each chunk, by path, in order."""
        layout = self.layout
        return tables_in(layout.packs() if layout.packed else layout.embeddings_parquet(algorithm))


def _pack_table(path: str, columns: Sequence[str] | None) -> PackTable:
    try:
        data = shelf.read_if_there(path)
        if data is not None:
            return PackTable.read(data, columns)
    except (BadPack, NotAFile) as error:
        raise NoDataset(f"{path} {error}. Usually a copy was cut short: copy it again") from error
    raise NoDataset(
        f"{path} is missing, although a document of its chunk is there. Usually files were removed "
        "by hand, or a copy is incomplete"
    )


def _usable(data: bytes) -> Document | None:
    with suppress(BadDocument):
        return parsed(data)
    return None


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
