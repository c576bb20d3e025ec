"""What an output tells, read for a page: documents, failures, duplicates, vectors and runs.

Read one by one and held as columns; what is missing or broken is counted and left out, because a
page of the rest is worth more than none.
"""

from __future__ import annotations

import hashlib
import io
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.dataset.output import Entry, NoDataset, Output
from finecut.io.layout import GROUPS, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.files import Shelf
from finecut.io.storage.json_documents import BadDocument, parsed_text, read_json
from finecut.io.tables.parquet import rows_of
from finecut.pipeline.options import FIXED_STRIDE, Options
from finecut.transforms.beam.parallel import in_order
from finecut.transforms.report.columns import Clips, packed, script
from finecut.transforms.report.nearby import NOBODY, nearby
from finecut.transforms.report.rows import number, row_of, short
from finecut.transforms.report.sources import common_folder, spans_of_lost, video_of
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, RUN, VIDEO, Shape, misfit

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

#: The folder of the page's data.
DATA = "data"
ROWS_OF_SOURCES, ROWS_OF_FAILURES, ROWS_OF_ALIKE = 2048, 256, 4096
#: More bytes of vectors than this are not compared: they would not fit into a small machine.
MOST_VECTORS: Final = 1_000_000_000
#: What the end of every run may spend on neighbours: the command itself has more time.
FEW_VECTORS: Final = 4096
SHOWN_RUNS = 50
#: States of a source.
DONE, EMPTY, FAILED, UNFINISHED = range(4)


class Chunks:
    """Chunks on their way to the shelf, each under a name that says what is in it."""

    def __init__(self, own: Shelf, folder: str) -> None:
        self.own, self.folder = own, folder
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, columns: dict[str, Any]) -> None:
        names = self.names.setdefault(kind, [])
        data = script(kind, len(names), columns)
        digest = hashlib.sha256(data).hexdigest()[:12]
        name = f"{kind}-{len(names):04d}.{digest}.js"
        names.append(name)
        self.own.write(f"{self.folder}/{DATA}/{name}", data)


@dataclass
class SourceTold:
    """A video, as documents and failures tell of it."""

    name: str
    state: int = UNFINISHED
    seconds: float = 0.0
    #: Rows of its clips.
    first: int = 0
    count: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)


class Told:
    """What an output tells, as it is read."""

    def __init__(self, output: Output, few: bool) -> None:
        self.output, self.few = output, few
        self.clips = Clips()
        self.sources: list[SourceTold] = []
        self.lost: dict[str, set[str]] = {}
        self.num_failures = self.unreadable = 0
        #: What is wrong with each document that is there and cannot be used, or not all of it.
        self.bad: list[str] = []
        self.runs = self._runs()
        self.common = ""
        self._rows: dict[str, int] = {}

    def rules(self) -> list[Any]:
        """The rules of the last run."""
        options = _options(self.runs[-1]) if self.runs else None
        return [rule for rules in options.rules.values() for rule in rules] if options else []

    def read(self, chunks: Chunks, readers: int) -> None:
        """Everything but vectors: chunks of the page leave as they are full."""
        self._read_failures(chunks)
        videos = self._read_videos(readers)
        paths = sorted(_if_there(self.output.chunks), key=video_of)
        documents = asked_ahead(partial(self._document, shapes=CHUNK), paths, readers)
        asked = (
            (path, clip, kept, said)
            for path, said in documents
            if said
            for kept, key in ((True, "clips"), (False, "filtered_clips"))
            for clip in _listed(said, key)
        )
        entries = asked_ahead(self._entry, asked, readers)
        for _, group in groupby(entries, key=lambda pair: video_of(pair[0][0])[0]):
            self._add_video(chunks, [(said, entry) for (_, _, _, said), entry in group])
        for kind, columns in self.clips.rest():
            chunks.add(kind, columns)
        self._finish_sources(videos)

    def _entry(self, asked: tuple[str, Any, bool, dict[str, Any]]) -> Entry | None:
        _, clip, kept, _ = asked
        if not is_clip_id(clip):
            return None
        try:
            entry = self.output.entry(clip, kept)
        except NoDataset as error:
            self.bad.append(str(error))
            return None
        self._look_at(self.output.layout.meta(clip), entry.document, CLIP)
        return entry

    def _document(self, path: str, shapes: Mapping[str, Shape]) -> dict[str, Any] | None:
        try:
            said = read_json(path)
        except BadDocument as error:
            self.bad.append(str(error))
            return None
        if said is not None:
            self._look_at(path, said, shapes)
        return said

    def _look_at(self, path: str, said: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
        """Values of another kind count as missing in what is shown; here they are told of."""
        if (wrong := misfit(path, said, shapes)) is not None:
            self.bad.append(wrong)

    def _add_video(self, chunks: Chunks, told: list[tuple[dict[str, Any], Entry | None]]) -> None:
        """The clips of a video, in the order in which they are shown."""
        self.unreadable += sum(entry is None for _, entry in told)
        found = [(said, entry) for said, entry in told if entry is not None]
        if not found:
            return
        name = short(found[0][0].get("video"))
        rows = [row_of(entry, number(said.get("num_clips_with_webp")) > 0) for said, entry in found]
        rows.sort(key=lambda row: row.place)
        source, place = SourceTold(name), len(self.sources)
        self.sources.append(source)
        source.first, source.count = self.clips.count, len(rows)
        for row in rows:
            self._rows[row.id] = self.clips.count
            for kind, columns in self.clips.add(row, place):
                chunks.add(kind, columns)
        source.spans = spans_of_lost(
            name,
            self.lost.get(name, ()),
            number(found[0][1].document.get("framerate_source")),
            known=[(row.start, row.end) for row in rows],
            stride=self._stride(),
        )
        source.seconds = rows[-1].end

    def _stride(self) -> tuple[float, float] | None:
        """Length and distance of clips, if the last run cut at regular distances."""
        options = _options(self.runs[-1]) if self.runs else None
        if options is None or options.splitting_algorithm != FIXED_STRIDE or options.cuts:
            return None
        return options.clip_length, options.stride

    def _read_videos(self, readers: int) -> dict[str, tuple[float, int]]:
        """Length and number of clips of each finished video."""
        found = {}
        read = partial(self._document, shapes=VIDEO)
        for _, said in asked_ahead(read, _if_there(self.output.videos), readers):
            if said:
                name = short(said.get("video"))
                found[name] = number(said.get("duration")), int(number(said.get("num_total_clips")))
        return found

    def _finish_sources(self, videos: dict[str, tuple[float, int]]) -> None:
        """What is known of all of them: also of those that have no clip."""
        without = {*videos, *self.lost} - {source.name for source in self.sources}
        self.sources += map(SourceTold, sorted(without))
        for source in self.sources:
            if source.name in self.lost:
                source.state = FAILED
            if source.name in videos:
                seconds, count = videos[source.name]
                source.seconds = max(source.seconds, seconds)
                if source.state != FAILED:
                    source.state = DONE if count else EMPTY
        self.common = common_folder([source.name for source in self.sources])

    def _runs(self) -> list[dict[str, Any]]:
        """What runs said of themselves, the last one in full; by time, as their names are."""
        found = []
        for folder in shelf.folders_in(f"{self.output.root}/runs"):
            said = self._document(f"{folder}/summary.json", RUN)
            if said:
                found.append({"name": folder.rsplit("/", 1)[-1], **said})
        shown = found[-SHOWN_RUNS:]
        return [
            {key: _finite(value) for key, value in run.items() if key in ("name", *keys)}
            for number, run in enumerate(shown, 1)
            for keys in [_WHOLLY if number == len(shown) else _SHORTLY]
        ]

    def write_sources(self, chunks: Chunks) -> None:
        for start in range(0, len(self.sources), ROWS_OF_SOURCES):
            some = self.sources[start : start + ROWS_OF_SOURCES]
            lost = [len(self.lost.get(source.name, ())) for source in some]
            chunks.add(
                "sources",
                {
                    "name": [source.name[len(self.common) :] for source in some],
                    "state": [source.state for source in some],
                    "seconds": [round(source.seconds, 3) for source in some],
                    "first": [source.first for source in some],
                    "count": [source.count for source in some],
                    "lost": lost,
                    "spans": [
                        [[round(start, 3), round(end, 3)] for start, end in source.spans]
                        for source in some
                    ],
                },
            )

    def _read_failures(self, chunks: Chunks) -> None:
        """What is listed in ``failures/``: a line each, and which shots were lost."""
        rows: list[dict[str, Any]] = []
        for failure in _failures(self.output.layout.failures()):
            source = failure.get("source")
            name = short(source.get("name") if isinstance(source, dict) else source)
            lost = [shot for shot in failure.get("lost_shots") or () if isinstance(shot, str)]
            self.lost.setdefault(name, set()).update(lost)
            rows.append(
                {
                    "source": name,
                    "step": short(failure.get("step"), 200),
                    "error": short(failure.get("error"), 200),
                    "message": short(failure.get("message")),
                    "evidence": short(failure.get("evidence")),
                    "lost": len(lost),
                    "attempts": int(number(failure.get("attempts"), 1)),
                    "aside": failure.get("set_aside") is True,
                }
            )
        self.num_failures = len(rows)
        rows.sort(key=lambda row: (row["step"], row["error"], row["source"], row["message"]))
        for start in range(0, len(rows), ROWS_OF_FAILURES):
            some = rows[start : start + ROWS_OF_FAILURES]
            chunks.add("failures", {key: [row[key] for row in some] for key in some[0]})

    def write_duplicates(self, chunks: Chunks) -> int:
        """What ``finecut dedup`` found; the number of groups of look-alikes."""
        table = _groups(f"{self.output.layout.dedup()}/{GROUPS}")
        members: dict[Any, list[tuple[int, bool, float]]] = {}
        for group, clip, kept, cosine in table:
            if clip in self._rows:
                row = self._rows[clip]
                members.setdefault(group, []).append((row, bool(kept), number(cosine)))
        groups = sorted((some for some in members.values() if len(some) > 1), key=_large_first)
        if groups:
            flat = [member for some in groups for member in sorted(some, key=_kept_first)]
            chunks.add(
                "groups",
                {
                    "sizes": packed(array("I", [len(some) for some in groups])),
                    "row": packed(array("I", [row for row, _, _ in flat])),
                    "kept": packed(array("B", [kept for _, kept, _ in flat])),
                    "cosine": packed(array("f", [cosine for _, _, cosine in flat])),
                },
            )
        return len(groups)

    def write_alike(self, chunks: Chunks, most: int) -> str:
        """The nearest of each clip; by whose vectors, or nothing if there are none."""
        for algorithm in self.output.algorithms():
            tables = self.output.tables(algorithm)
            where, vectors = _vectors(tables, self._rows, FEW_VECTORS if self.few else None)
            if len(where) > 1:
                self._write_alike(chunks, where, vectors, most)
                return algorithm
        return ""

    def _write_alike(
        self, chunks: Chunks, where: NDArray[np.int64], vectors: NDArray[np.float16], most: int
    ) -> None:
        most = min(most, len(where) - 1)
        found = nearby(vectors, most)
        count = self.clips.count
        rows = np.full((count, most), NOBODY, np.int32)
        rows[where] = np.where(found.rows == NOBODY, NOBODY, where[found.rows])
        percent = np.zeros((count, most), np.uint8)
        percent[where] = np.round(found.cosines * 100)
        for start in range(0, count, ROWS_OF_ALIKE):
            part = slice(start, start + ROWS_OF_ALIKE)
            chunks.add(
                "alike",
                {
                    "most": most,
                    "row": packed(array("i", rows[part].astype("=i4").tobytes())),
                    "percent": packed(array("B", percent[part].tobytes())),
                },
            )


def _listed(said: Mapping[str, Any], key: str) -> list[Any]:
    """The clips that a chunk's document lists."""
    listed = said.get(key)
    return listed if isinstance(listed, list) else []


def asked_ahead(
    work: Callable[[Asked], Answer], asked: Iterable[Asked], readers: int
) -> Iterator[tuple[Asked, Answer]]:
    """Each thing and what ``work`` made of it, in order.

    One reader is none: a disk answers at once, and handing over would take longer than reading.
    """

    def both(one: Asked) -> tuple[Asked, Answer]:
        return one, work(one)

    return map(both, asked) if readers == 1 else in_order(both, asked, readers)


def _if_there(listed: Callable[[], Iterable[str]]) -> list[str]:
    """What a folder lists; where there is none, nothing was finished."""
    with suppress(FileNotFoundError):
        return list(listed())
    return []


def _failures(folder: str) -> Iterator[dict[str, Any]]:
    for path in shelf.files_in(folder):
        if not path.endswith(".jsonl"):
            continue
        with suppress(shelf.NotAFile):
            yield from _failures_in((shelf.read_if_there(path) or b"").decode(errors="replace"))


def _failures_in(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n"):
        with suppress(BadDocument):
            said = parsed_text(line)
            if isinstance(said, dict):
                yield said


def _groups(path: str) -> list[tuple[Any, str, bool, float]]:
    try:
        data = shelf.read_if_there(path)
        if data is None:
            return []
        table = pq.read_table(io.BytesIO(data), columns=["group", "id", "kept", "cosine"])
    except (pa.ArrowException, OSError):
        return []  # another program's, or cut short
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _large_first(members: list[tuple[int, bool, float]]) -> tuple[int, int]:
    return -len(members), min(row for row, _, _ in members)


def _kept_first(member: tuple[int, bool, float]) -> tuple[bool, float, int]:
    row, kept, cosine = member
    return not kept, -cosine, row


def _vectors(
    tables: Sequence[str], rows: dict[str, int], most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """The rows that have a vector, and the vectors; nothing if they are too many to compare."""
    where: dict[int, int] = {}
    vectors = np.empty((0, 0), np.float16)
    for path in tables:
        for clip, vector in _table(path):
            if not len(vectors):
                vectors = np.empty((len(rows), len(vector)), np.float16)
            if clip not in rows or rows[clip] in where or len(vector) != vectors.shape[1]:
                continue
            # Divided by the largest: numbers of four bytes need not fit into two.
            vectors[len(where)] = vector / max(float(np.abs(vector).max()), 1e-12)
            where[rows[clip]] = len(where)
            if len(where) * vectors.shape[1] * 2 > MOST_VECTORS or (most and len(where) > most):
                return np.empty(0, np.int64), vectors[:0]
    return np.fromiter(where, np.int64, len(where)), vectors[: len(where)]


def _table(path: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The vectors of a table; none of one that is broken, or another's."""
    try:
        data = shelf.read_if_there(path)
        rows = [] if data is None else rows_of(data)
        vectors = [(str(clip), np.asarray(vector or (), np.float32)) for clip, vector in rows]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        return
    yield from ((clip, np.nan_to_num(vector)) for clip, vector in vectors if vector.size)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────

_SHORTLY = ("started", "seconds", "videos", "clips")
_LASTLY = (*_SHORTLY, "balanced", "imbalances", "film_seconds", "speed", "steps", "models")
_WHOLLY = (*_LASTLY, "versions", "options")


def _finite(value: Any) -> Any:
    """The same without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return number(value) if isinstance(value, float) else value


def _options(run: dict[str, Any]) -> Options | None:
    """The options a run was given, as far as this version knows them."""
    given = run.get("options")
    if not isinstance(given, dict):
        return None
    known = {f.name: f.default for f in fields(Options)}
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(known[name], tuple) else value
        for name, value in given.items()
        if name in known
    }
    try:
        options = Options(**told)
        _ = options.rules, options.stride
    except (TypeError, ValueError, AttributeError):
        return None
    return options
