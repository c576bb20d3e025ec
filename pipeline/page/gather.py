"""What an output tells, read for a page: documents, failures, duplicates, vectors and runs.

Read one by one and held as columns; what is missing or broken is counted and left out, because a
page of the rest is worth more than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from finecut.io.dataset.output import Entry, NoDataset, Output
from finecut.io.layout import is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed_text, read_json
from finecut.pipeline.page.chunks import Chunks
from finecut.pipeline.page.runs import runs_below, stride_of_last
from finecut.transforms.report.columns import Clips, number, row_of, short
from finecut.transforms.report.sources import common_folder, spans_of_lost, video_of
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, RUN, VIDEO, Shape, misfit

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

ROWS_OF_SOURCES, ROWS_OF_FAILURES = 2048, 256
#: States of a source.
DONE, EMPTY, FAILED, UNFINISHED = range(4)


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


class TextOutcome:
    """What an output tells, as it is read."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.clips = Clips()
        self.sources: list[SourceTold] = []
        self.lost: dict[str, set[str]] = {}
        self.num_failures = self.unreadable = 0
        #: What is wrong with each document that is there and cannot be used, or not all of it.
        self.bad: list[str] = []
        self.runs = runs_below(output.root, partial(self._document, shapes=RUN))
        self.common = ""
        #: Where each clip is in the page's columns.
        self.rows: dict[str, int] = {}

    def titles(self) -> dict[str, str]:
        """What custom steps call their scores."""
        found = [run.get("titles") for run in self.runs]
        return {
            short(name, 80): short(title, 200)
            for titles in found
            if isinstance(titles, dict)
            for name, title in titles.items()
        }

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
            self.rows[row.id] = self.clips.count
            for kind, columns in self.clips.add(row, place):
                chunks.add(kind, columns)
        source.spans = spans_of_lost(
            name,
            self.lost.get(name, ()),
            rate=number(found[0][1].document.get("framerate_source")),
            known=[(row.start, row.end) for row in rows],
            stride=stride_of_last(self.runs),
        )
        source.seconds = rows[-1].end

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
        """What is listed in ``failures/``: a line each, and which planned clips were lost."""
        rows: list[dict[str, Any]] = []
        for failure in _failures(self.output.layout.failures()):
            source = failure.get("source")
            name = short(source.get("name") if isinstance(source, dict) else source)
            lost = [clip for clip in failure.get("lost_shots") or () if isinstance(clip, str)]
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


def _listed(said: Mapping[str, Any], key: str) -> list[Any]:
    """The clips that a chunk's document lists."""
    listed = said.get(key)
    return listed if isinstance(listed, list) else []


def asked_ahead(
    work: Callable[[Asked], Answer], asked: Iterable[Asked], readers: int
) -> Iterator[tuple[Asked, Answer]]:
    """Each thing and what ``work`` made of it, in order.

    One reader needs no threads: a disk answers at once, and handing over takes longer than reading.
    """

    def both(one: Asked) -> tuple[Asked, Answer]:
        return one, work(one)

    return map(both, asked) if readers == 1 else in_order(both, asked, readers)


def _if_there(listed: Callable[[], Iterable[str]]) -> list[str]:
    """What a folder lists; without the folder, nothing was finished."""
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
