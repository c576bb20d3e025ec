"""What a page tells of clips, read slice by slice: from the catalogue, or where there is none from
documents.

    Slice ─▶ Told: a table with one row of each clip, and what could not be read

Documents may be anybody's. One that is missing or broken costs itself, because a page of the rest
is worth more than none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Entry, Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import PREVIEWS, chunk_id, is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.catalogue.chunks import known_of, rows_in_document
from finecut.transforms.catalogue.columns import table_of
from finecut.transforms.catalogue.fields import Row
from finecut.transforms.catalogue.reading import Slice, rows_in
from finecut.transforms.catalogue.rows import Whereabouts, made_file, row_of
from finecut.transforms.refilter.rewriting import has_file
from finecut.transforms.registry import SCORES
from finecut.transforms.report.columns import number, short
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, Shape, misfit

#: The columns of the catalogue that a page is made of.
COLUMNS: Final = (
    *("id", "video", "chunk", "source_video", "source", "start", "end", "verdict", "reason"),
    *("valid", "width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "sha256"),
    *("transcode", "transcode_reason", "frames_encoded", "copied_start", "copied_end"),
    *(
        "framerate_source",
        "source_duration",
        "windows",
        "errors",
        "models",
        "clip",
        "clip_offset",
        "artefacts",
    ),
    *SCORES,
    *("other_scores", "labels"),
)
#: Bad documents of a slice that are named.
NAMED: Final = 100

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Told(NamedTuple):
    """What a slice tells."""

    clips: pa.Table
    #: Clips whose documents are missing or broken.
    unreadable: int = 0
    #: What is wrong with documents that are there and cannot be used, or not all of them.
    bad: tuple[str, ...] = ()


def told_by(piece: Slice, output: Output, readers: int = 1) -> Told:
    """What the clips of a slice are; ``source_video`` is what their source is called."""
    if piece.bucket is not None:
        return Told(_named(rows_in(piece, output.layout, COLUMNS)))
    reading = _ReadingPacks(output) if output.layout.packed else _Reading(output, readers)
    table = table_of(row for path in piece.documents for row in reading.rows(path))
    return Told(_named(table.select(COLUMNS)), reading.unreadable, tuple(reading.bad))


def _named(table: pa.Table) -> pa.Table:
    """With a name for each source: other programs may not have given it one."""
    name, path = table.column("source_video"), table.column("video")
    named = pc.if_else(pc.equal(pc.coalesce(name, pa.scalar("")), ""), path, name)
    place = table.column_names.index("source_video")
    return table.set_column(place, "source_video", pc.coalesce(named, pa.scalar("")))


class _Reading:
    """Documents, and what is wrong with them."""

    def __init__(self, output: Output, readers: int) -> None:
        self.output, self.readers = output, readers
        self.unreadable = 0
        self.bad: list[str] = []
        #: The video whose chunk was read last, and what is known of it.
        self._video: tuple[str, Mapping[str, Any]] = ("", {})

    def rows(self, path: str) -> Iterator[Row]:
        """The rows of the chunk whose document lies there."""
        said = self._document(path, CHUNK)
        if said is None:
            return
        relative, index = video_of(path.removeprefix(f"{self._folder}/"))
        if self._video[0] != relative:
            self._video = (relative, known_of(relative, self.output.layout))
        name = short(said.get("video"))
        asked = (
            (clip, kept)
            for kept, key in ((True, "clips"), (False, "filtered_clips"))
            if isinstance(listed := said.get(key), list)
            for clip in listed
        )
        for entry in asked_ahead(lambda each: self._entry(*each), asked, self.readers):
            if entry is None:
                self.unreadable += 1
                continue
            seen = number(said.get("num_clips_with_webp")) > 0
            where = self._where(entry, relative, chunk_id(name, index), seen)
            row = row_of({**entry.document, "span_uuid": entry.id}, where, self._video[1])
            yield row | {"source_video": name or row["source_video"]}

    @property
    def _folder(self) -> str:
        return self.output.layout.processed_clip_chunks()

    def _where(self, entry: Entry, relative: str, chunk: str, seen: bool) -> Whereabouts:
        """Where it belongs, and what there is of it as documents have it: nobody looks."""
        previews = (made_file(f"{PREVIEWS.folder}/{entry.id}"),) if seen and entry.kept else ()
        path = self.output.layout.clip(entry.id, entry.kept)
        clip = path.removeprefix(self.output.layout.below("")) if has_file(entry.document) else None
        return Whereabouts(relative, chunk, entry.kept, clip=clip, meta="", artefacts=previews)

    def _entry(self, clip: Any, kept: bool) -> Entry | None:
        if not is_clip_id(clip):
            return None
        try:
            entry = self.output.entry(clip, kept)
        except NoDataset as error:
            self._tell(str(error))
            return None
        self._look_at(self.output.layout.meta(clip), entry.document, CLIP)
        return entry

    def _document(self, path: str, shapes: Mapping[str, Shape]) -> dict[str, Any] | None:
        said, wrong = usable(path, shapes)
        if wrong:
            self._tell(wrong)
        return said

    def _look_at(self, path: str, said: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
        """Values of another kind count as missing in what is shown; here they are told of."""
        if (wrong := misfit(path, said, shapes)) is not None:
            self._tell(wrong)

    def _tell(self, wrong: str) -> None:
        if len(self.bad) < NAMED:
            self.bad.append(wrong)


class _ReadingPacks:
    """The same of packed chunks, whose documents are in tables: one that is broken costs its chunk,
    because it is ours and nobody edits it.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.unreadable = 0
        self.bad: list[str] = []

    def rows(self, path: str) -> list[Row]:
        said, wrong = usable(path, CHUNK)
        self._tell(wrong)
        if said is None:
            return []
        try:
            return rows_in_document(said, path, self.output)
        except NoDataset as error:
            listed = (said.get(key) for key in ("clips", "filtered_clips"))
            self.unreadable += sum(len(some) for some in listed if isinstance(some, list))
            self._tell(str(error))
            return []

    def _tell(self, wrong: str) -> None:
        if wrong and len(self.bad) < NAMED:
            self.bad.append(wrong)


def usable(path: str, shapes: Mapping[str, Shape]) -> tuple[dict[str, Any] | None, str]:
    """The document that lies there, as far as it is one, and what is wrong with it."""
    try:
        said = read_json(path)
    except BadDocument as error:
        return None, str(error)
    return said, "" if said is None else misfit(path, said, shapes) or ""


def asked_ahead(
    work: Callable[[Asked], Answer], asked: Iterable[Asked], readers: int
) -> Iterator[Answer]:
    """What ``work`` made of each thing, in order.

    One reader needs no threads: a disk answers at once, and handing over takes longer than reading.
    """
    return map(work, asked) if readers == 1 else in_order(work, asked, readers)


def video_of(chunk: str) -> tuple[str, int]:
    """To what video the document of a chunk belongs, by its name, and which of its chunks it is.

    >>> video_of("a/b.mp4_12.json")
    ('a/b.mp4', 12)
    """
    name, _, index = chunk.removesuffix(".json").rpartition("_")
    return (name, int(index)) if index.isascii() and index.isdigit() else (chunk, 0)
