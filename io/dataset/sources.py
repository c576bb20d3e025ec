"""Sources: where clips are read from. Two kinds, with the same methods.

an output of finecut curate     documents, one file for each clip      Curated
a folder of finecut shard       index.parquet, clips inside archives   Sharded
"""

import io
import logging
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Set
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.dataset.order import Listed, Listing, ahead
from finecut.io.dataset.output import Entry, Output, chunk_named, clips_named, read_document
from finecut.io.dataset.places import NoDataset
from finecut.io.held import OF_SOURCE, SOURCE
from finecut.io.layout import PREVIEWS, embedding_folder, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed
from finecut.io.tables.drops import read_drops
from finecut.io.tables.ids import IdSet
from finecut.io.tables.kinds import out_of_columns
from finecut.io.tables.packs import Floats, PackedClip
from finecut.io.tables.shards import BLOCK, COLUMNS, ShardFolder, column_of

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

Keep = Callable[[Entry], bool]
#: Ids that are left out, or one list of them, or several (as ``finecut dedup`` writes them).
Drop = str | Iterable[str]

#: Tables of vectors that are kept in mind: neighbours in an order that is not shuffled share one.
TABLES_KEPT: Final = 16
#: What is read behind a clip's film at first: a document, a text and a vector take less.
FIRST_LOOK: Final = 32 << 10


class Curated:
    """An output of curation."""

    def __init__(
        self,
        output: Output,
        dropped: Set[str],
        *,
        keep: Keep | None,
        rejected: bool,
        skips: bool,
    ) -> None:
        self._output, self._skips = output, skips
        #: What was read for this one is not taken for what another finds there later.
        self._opened = uuid.uuid4().hex
        #: The key of every chunk, 16 bytes each.
        self._chunks = bytearray()
        listed = (
            clip for clip in self._listed() if (clip.kept or rejected) and clip.id not in dropped
        )
        self.listing = Listing.of(listed if keep is None else self._kept(listed, keep))

    def _listed(self) -> Iterator[Listed]:
        def read(path: str) -> tuple[str, list[tuple[str, bool]]]:
            said = read_document(path)
            return chunk_named(said, path), list(clips_named(said, path))

        reads = ahead(partial(self._if_sound, read), self._output.chunks())
        for place, (chunk, clips) in enumerate(filter(None, reads)):
            self._chunks += uuid.UUID(chunk).bytes
            yield from (Listed(id, kept, place) for id, kept in clips)

    def _if_sound(self, read: Callable[[Asked], Answer], asked: Asked) -> Answer | None:
        """What is read; a document that cannot be used costs what it lists, if that is wished."""
        try:
            return read(asked)
        except NoDataset as error:
            if not self._skips:
                raise
            log.warning("left out: %s", error)
            return None

    def _kept(self, listed: Iterable[Listed], keep: Keep) -> Iterator[Listed]:
        def read(clip: Listed) -> tuple[Listed, Entry]:
            return clip, self._read(clip)

        sound = filter(None, ahead(partial(self._if_sound, read), listed))
        return (clip for clip, entry in sound if self._if_sound(keep, entry))

    def _chunk(self, place: int) -> str:
        return str(uuid.UUID(bytes=bytes(self._chunks[16 * place : 16 * place + 16])))

    def entry(self, number: int) -> Entry:
        clips = self.listing
        place = int(clips.places[number])
        return self._read(Listed(clips.id(number), bool(clips.kept[number]), place))

    def _read(self, clip: Listed) -> Entry:
        output, chunk = self._output, self._chunk(clip.place)
        if not output.layout.packed:
            return output.entry(clip.id, clip.kept, chunk)
        there = _pack_of(output, chunk, self._opened)
        return output.packed_entry(clip.id, clip.kept, chunk, there)

    def film(self, entry: Entry) -> str | bytes:
        """The clip's file: where it lies if that is a local path of its own, else all of it."""
        if entry.offset is not None:
            return entry.film.read()
        said = entry.document.get("num_bytes")
        data = shelf.read(entry.path) if shelf.is_remote(entry.path) else None
        size = shelf.size_of(entry.path) if data is None else len(data)
        if said is not None and size != said:
            raise NoDataset(
                f"it has {size} bytes, but its document says {said}: usually a copy was cut short"
            )
        return entry.path if data is None else data

    def check_vectors(self, algorithm: str) -> None:
        """Raise :class:`NoDataset` if there are no vectors of this algorithm."""
        known = self._output.algorithms()
        if algorithm not in known:
            raise NoDataset(
                f"{self._output.root} has no vectors of {algorithm!r}: "
                + (f"give one of {', '.join(known)}" if known else "there are no vectors at all")
            )

    def vector(self, algorithm: str, number: int) -> Floats | None:
        chunk = self._chunk(int(self.listing.places[number]))
        found = _vectors_of(self._output, algorithm, chunk, self._opened)
        return found.get(self.listing.id(number))

    def preview(self, entry: Entry) -> bytes:
        """The preview of the clip's first window."""
        for window in entry.document.get("windows") or ():
            span = (int(window["start_frame"]), int(window["end_frame"]))
            path = PREVIEWS.path(entry.id, *span)
            if (place := self._output.artefact(entry, path)) is None:
                raise NoDataset(f"its archive has no {path}")
            return place.read()
        raise NoDataset("its document lists no windows, so it has no preview")


class Sharded:
    """A folder of WebDataset shards with its index. No archive is opened before a clip is asked
    for, and then that clip's bytes are read and no others.
    """

    def __init__(self, folder: ShardFolder, dropped: Set[str], keep: Keep | None) -> None:
        self._folder = folder
        #: Arrow's columns are arrays, too.
        self._rows = _index(folder)
        listed = (
            Listed(id, True, place)
            for place, id in enumerate(id.as_py() for id in self._rows["id"])
            if id not in dropped and (keep is None or keep(self._entry(place)))
        )
        self.listing = Listing.of(listed)

    def entry(self, number: int) -> Entry:
        return self._entry(int(self.listing.places[number]))

    def _entry(self, place: int) -> Entry:
        row = {name: self._rows[name][place].as_py() for name in self._rows.column_names}
        archive = f"{self._folder.root}/{row['shard']}"
        told = out_of_columns(row, self._rows.schema)
        document = _document(row) | ({SOURCE: told} if told else {})
        return Entry(row["id"], kept=True, path=archive, chunk="", document=document)

    def film(self, entry: Entry) -> str | bytes:
        start, size = entry.document["offset"], entry.document["num_bytes"]
        data = shelf.read_part(entry.path, start, size)
        if len(data) < size:
            raise NoDataset(
                f"its archive ends after {len(data)} of its {size} bytes: usually a copy was cut "
                "short"
            )
        return data

    def check_vectors(self, algorithm: str) -> None:
        """Nothing: only the clips themselves say whose vectors they have."""

    def vector(self, algorithm: str, number: int) -> Floats | None:
        members = self._members(self.entry(number))
        if ".npy" not in members:
            return None
        vector = np.load(io.BytesIO(members[".npy"]), allow_pickle=False).astype(np.float32)
        known = _dimensions(members.get(".json", b""))
        folders = {embedding_folder(name): size for name, size in known.items()}
        if known and folders.get(embedding_folder(algorithm)) != vector.size:
            raise NoDataset(
                f"its shard has a vector of {vector.size} numbers, but none of {algorithm!r}: "
                f"its document names {', '.join(sorted(known))}"
            )
        return np.ascontiguousarray(vector.reshape(-1))

    def _members(self, entry: Entry) -> dict[str, bytes]:
        """What follows a clip's film in its archive, by the ends of the names."""
        size = entry.document["num_bytes"]
        start, length = entry.document["offset"] + size + -size % BLOCK, FIRST_LOOK
        while True:
            data = shelf.read_part(entry.path, start, length)
            try:
                return _members_in(data, entry.id)
            except tarfile.ReadError as error:
                if len(data) < length:
                    raise NoDataset(f"its archive {error}: usually a copy was cut short") from error
                length *= 4

    def preview(self, entry: Entry) -> bytes:
        raise NoDataset("shards contain no previews: read the dataset from which they were made")


#: Clips by their numbers.
Source = Curated | Sharded


def open_source(
    root: str,
    drop: Drop = (),
    keep: Keep | None = None,
    rejected: bool = False,
    skips: bool = False,
) -> Source:
    """The clips that lie there, or :class:`NoDataset`. Shards hold kept clips only.

    ``skips``: documents that cannot be used are logged, and cost the clips that they list.
    """
    root = shelf.absolute(root)
    folder, dropped = ShardFolder(root), _ids(drop)
    if shelf.exists(folder.index):
        return Sharded(folder, dropped, keep)
    return Curated(Output.at(root, packs=True), dropped, keep=keep, rejected=rejected, skips=skips)


def _dimensions(data: bytes) -> dict[str, Any]:
    """How long the vectors are of which this document of a clip speaks."""
    try:
        models = parsed(data).get("models")
    except BadDocument as error:
        raise NoDataset(f"its document in the archive {error}") from error
    return {
        name.removesuffix("_embedding"): said["dimension"]
        for name, said in (models.items() if isinstance(models, dict) else ())
        if isinstance(said, dict) and said.get("dimension")
    }


def _members_in(data: bytes, id: str) -> dict[str, bytes]:
    """The members at the beginning of this piece of an archive that belong to a clip."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            name, dot, end = member.name.rpartition("/")[2].partition(".")
            if name != id:
                return found
            if member.offset_data + member.size > len(data):
                raise tarfile.ReadError("ends in the middle of a member")
            file = archive.extractfile(member)
            found[dot + end] = b"" if file is None else file.read()
        if archive.offset >= len(data):  # and no end of the archive was seen
            raise tarfile.ReadError("ends without an end marker")
    return found


def _index(folder: ShardFolder) -> pa.Table:
    try:
        table = pq.read_table(io.BytesIO(shelf.read(folder.index)))
    except pa.ArrowInvalid as error:
        raise NoDataset(
            f"{folder.index} is not a Parquet table ({error}): usually a copy was cut short"
        ) from error
    missing = [
        name for name in ("id", "shard", "offset", "num_bytes") if name not in table.schema.names
    ]
    if missing:
        raise NoDataset(
            f"{folder.index} is not an index of shards, because it has no column "
            f"{', '.join(missing)}: give a folder that finecut shard wrote"
        )
    return table.combine_chunks()


def _document(row: dict[str, Any]) -> dict[str, Any]:
    """What an index knows of a clip, as the clip's own document would say it."""
    others = {
        name: value
        for name, value in row.items()
        if name not in COLUMNS and not name.startswith(OF_SOURCE)
    }
    captions = {name: text for name, text in others.items() if isinstance(text, str)}
    return {
        **{name: value for name, value in row.items() if name in COLUMNS and value is not None},
        "duration_span": [row["start"], row["end"]],
        "scores": {_score(n): v for n, v in others.items() if isinstance(v, float)},
        "windows": [captions] if captions else [],
    }


def _score(column: str) -> str:
    """The name of the score in this column."""
    name = column.removeprefix("score_")
    return name if column_of(name) == column else column


@lru_cache(maxsize=TABLES_KEPT)
def _vectors_of(output: Output, algorithm: str, chunk: str, _opened: str) -> dict[str, Floats]:
    return output.vectors(algorithm, chunk)


@lru_cache(maxsize=TABLES_KEPT)
def _pack_of(output: Output, chunk: str, _opened: str) -> dict[str, PackedClip]:
    return output.pack(chunk)


def _ids(drop: Drop) -> Set[str]:
    """A text is the path of a list; several are ids if all look like ids, else paths of lists."""
    given: Any = drop
    several = isinstance(given, Iterable) and not isinstance(given, str)
    named = list(given) if several else [given]
    if not all(isinstance(one, str) for one in named):
        raise TypeError(
            f"drop={drop!r} names no clips: give the path of a list that finecut dedup wrote, "
            "several such paths, or ids as strings; leave it out to drop nothing"
        )
    return IdSet(named) if all(map(is_clip_id, named)) else read_drops(named)
