"""What an output tells, read for a page: documents, failures, duplicates, vectors and runs.

Read one by one and held as columns; what is missing or broken is counted and left out, because a
page of the rest is worth more than none.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import groupby
from os.path import commonprefix
from typing import Any, TypeVar

from finecut.io.dataset.output import Entry, NoDataset, Output
from finecut.io.layout import OF_SOURCE, SOURCE, clip_id, is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed_text, read_json
from finecut.io.storage.on_disk import NotAFile
from finecut.pipeline.choices.cutting import FIXED_STRIDE
from finecut.pipeline.options import Options
from finecut.pipeline.page import Chunks
from finecut.transforms.filter.comparing import SAMENESS
from finecut.transforms.filter.rules import Rule, parse_rule
from finecut.transforms.report.columns import Clips, number, row_of, short
from finecut.transforms.report.sources import Told, told_of_source
from finecut.transforms.split.spans import fixed_stride_spans
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, RUN, VIDEO, Shape, misfit

SHOWN_RUNS = 50
_SHORTLY = ("name", "started", "seconds", "videos", "clips", "titles")
_LASTLY = ("balanced", "imbalances", "film_seconds", "speed", "steps", "models")
_WHOLLY = (*_SHORTLY, *_LASTLY, "versions", "options")


def runs_below(root: str, read: Callable[[str], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """What runs tell of themselves, the last one in full; by time, as their names are."""
    found = [
        {"name": folder.rsplit("/", 1)[-1], **said}
        for folder in shelf.folders_in(f"{root}/runs")
        if (said := read(f"{folder}/summary.json"))
    ]
    earlier, last = found[-SHOWN_RUNS:-1], found[-1:]
    return [_part(run, _SHORTLY) for run in earlier] + [_part(run, _WHOLLY) for run in last]


def _part(run: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in run.items() if key in keys}


def rules_of_last(runs: list[dict[str, Any]]) -> list[Rule]:
    options = _options_of_last(runs)
    return [rule for rules in options.rules.values() for rule in rules] if options else []


def stride_of_last(runs: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Length and distance of clips, if the last run cut at regular distances."""
    options = _options_of_last(runs)
    if options is None or options.splitting_algorithm != FIXED_STRIDE or options.cuts:
        return None
    return options.clip_length, options.stride


def _finite(value: Any) -> Any:
    """The same without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return number(value) if isinstance(value, float) else value


def _options_of_last(runs: list[dict[str, Any]]) -> Options | None:
    """The options the last run was given, as far as this version knows them."""
    given = runs[-1].get("options") if runs else None
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
    #: What is known of it besides, as texts.
    told: Told = field(default_factory=list)


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
        return {
            short(name, 80): short(title, 200)
            for run in self.runs
            if isinstance(titles := run.get("titles"), dict)
            for name, title in titles.items()
        }

    def read(self, chunks: Chunks, readers: int) -> None:
        """Everything but vectors: chunks of the page leave as they are full."""
        self._read_failures(chunks)
        videos = self._read_videos(readers)
        documents = asked_ahead(
            lambda path: (path, self._document(path, CHUNK)),
            sorted(if_there(self.output.chunks), key=video_of),
            readers,
        )
        asked = (
            (path, clip, kept, said)
            for path, said in documents
            if said
            for kept, key in ((True, "clips"), (False, "filtered_clips"))
            if isinstance(listed := said.get(key), list)
            for clip in listed
        )
        entries = asked_ahead(lambda each: (*each, self._entry(*each[1:3])), asked, readers)
        for _, group in groupby(entries, key=lambda each: video_of(each[0])[0]):
            self._add_video(chunks, [(said, entry) for _, _, _, said, entry in group])
        for kind, columns in self.clips.rest():
            chunks.add(kind, columns)
        self._finish_sources(videos)

    def _entry(self, clip: Any, kept: bool) -> Entry | None:
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
        found = [(said, entry) for said, entry in told if entry is not None]
        self.unreadable += len(told) - len(found)
        if not found:
            return
        name = short(found[0][0].get("video"))
        rows = [row_of(entry, number(said.get("num_clips_with_webp")) > 0) for said, entry in found]
        rows.sort(key=lambda row: row.place)
        spans = spans_of_lost(
            name,
            self.lost.get(name, ()),
            rate=number(found[0][1].document.get("framerate_source")),
            known=[(row.start, row.end) for row in rows],
            stride=stride_of_last(self.runs),
        )
        source = SourceTold(
            name, seconds=rows[-1].end, first=self.clips.count, count=len(rows), spans=spans
        )
        source.told = told_of_source(found[0][1].source)
        for row in rows:
            self.rows[row.id] = self.clips.count
            for kind, columns in self.clips.add(row, len(self.sources)):
                chunks.add(kind, columns)
        self.sources.append(source)

    def _read_videos(self, readers: int) -> dict[str, tuple[float, int, Told]]:
        """Length and number of clips of each finished video, and what is known of it besides."""
        read = partial(self._document, shapes=VIDEO)
        return {
            short(said.get("video")): (
                number(said.get("duration")),
                int(number(said.get("num_total_clips"))),
                told_of_source(said.get(SOURCE)),
            )
            for said in asked_ahead(read, if_there(self.output.videos), readers)
            if said
        }

    def _finish_sources(self, videos: dict[str, tuple[float, int, Told]]) -> None:
        """What is known of all of them: also of those that have no clip."""
        self.sources += map(
            SourceTold, sorted({*videos, *self.lost} - {source.name for source in self.sources})
        )
        for source in self.sources:
            if source.name in videos:
                seconds, count, told = videos[source.name]
                source.told = source.told or told
                source.seconds = max(source.seconds, seconds)
                source.state = DONE if count else EMPTY
            if source.name in self.lost:
                source.state = FAILED
        self.common = common_folder([source.name for source in self.sources])

    def write_sources(self, chunks: Chunks) -> None:
        any_told = any(source.told for source in self.sources)
        rows = [
            {
                "name": source.name[len(self.common) :],
                "state": source.state,
                "seconds": round(source.seconds, 3),
                "first": source.first,
                "count": source.count,
                "lost": len(self.lost.get(source.name, ())),
                "spans": [[round(start, 3), round(end, 3)] for start, end in source.spans],
                **({"told": source.told} if any_told else {}),
            }
            for source in self.sources
        ]
        chunks.add_rows("sources", rows, ROWS_OF_SOURCES)

    def _read_failures(self, chunks: Chunks) -> None:
        """What is listed in ``failures/``: a line each, and which planned clips were lost."""
        rows: list[dict[str, Any]] = []
        for failure in failures_below(self.output.layout.failures()):
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
        chunks.add_rows("failures", rows, ROWS_OF_FAILURES)


def asked_ahead(
    work: Callable[[Asked], Answer], asked: Iterable[Asked], readers: int
) -> Iterator[Answer]:
    """What ``work`` made of each thing, in order.

    One reader needs no threads: a disk answers at once, and handing over takes longer than reading.
    """
    return map(work, asked) if readers == 1 else in_order(work, asked, readers)


def if_there(listed: Callable[[], Iterable[str]]) -> list[str]:
    """What a folder lists; without the folder, nothing was finished."""
    with suppress(FileNotFoundError):
        return list(listed())
    return []


def failures_below(folder: str) -> Iterator[dict[str, Any]]:
    """What is listed there, as far as it can be read."""
    for path in shelf.files_in(folder):
        text = ""
        if path.endswith(".jsonl"):
            with suppress(NotAFile):
                text = (shelf.read_if_there(path) or b"").decode(errors="replace")
        for line in text.split("\n"):
            with suppress(BadDocument):
                if isinstance(said := parsed_text(line), dict):
                    yield said


def video_of(chunk: str) -> tuple[str, int]:
    """To what video the document of a chunk belongs, by its name, and which of its chunks it is.

    >>> video_of("processed_clip_chunks/a.mp4_12.json")
    ('processed_clip_chunks/a.mp4', 12)
    """
    name, _, index = chunk.removesuffix(".json").rpartition("_")
    return (name, int(index)) if index.isascii() and index.isdigit() else (chunk, 0)


def spans_of_lost(
    name: str,
    lost: Collection[str],
    rate: float,
    *,
    known: Sequence[tuple[float, float]],
    stride: tuple[float, float] | None,
) -> list[tuple[float, float]]:
    """Where the planned clips lay that failed, as far as their ids give it away.

    An id is made of two frames, so a place can be tried: those of a fixed stride (the length and
    the distance), and what is left open between the clips that there are.
    """
    if not lost or rate <= 0:
        return []
    left, found = set(lost), []
    for start, end in _places(known, stride, len(lost)):
        clip = clip_id(name, int(start * rate), int(end * rate))
        if clip in left:
            left.remove(clip)
            found.append((start, end))
    return sorted(found)


def _places(
    known: Sequence[tuple[float, float]], stride: tuple[float, float] | None, lost: int
) -> Iterator[tuple[float, float]]:
    open_from = 0.0
    for start, end in sorted(known):
        if start > open_from:
            yield open_from, start
        open_from = max(open_from, end)
    if stride is not None:
        length, distance = stride
        milliseconds = int((open_from + lost * distance + length) * 1000)
        for span in fixed_stride_spans(
            milliseconds, 1000.0, length=length, stride=distance, least=length
        ):
            yield span.start, span.end


def common_folder(names: Sequence[str]) -> str:
    """The folders that all of these lie in, with the slash at the end.

    >>> common_folder(["gs://b/films/a.mp4", "gs://b/films/x/b.mp4"])
    'gs://b/films/'
    """
    same = commonprefix(names)  # noqa: RUF071 (by characters)
    return same[: same.rfind("/") + 1]


def rules_drawn(rules: Iterable[Rule], reasons: Iterable[str]) -> list[dict[str, Any]]:
    """The rules on numbers that a run had, and those that reasons speak of: score, comparison,
    limit, name.
    """
    found = {(rule.score, rule.comparison, rule.limit): rule.name for rule in rules}
    for reason in reasons:
        with suppress(ValueError):  # a name, as in "motion", or what another program says
            rule = parse_rule(reason)
            found.setdefault((rule.score, rule.comparison, rule.limit), rule.name)
    return [
        {"score": score, "comparison": comparison, "limit": limit, "name": name}
        for (score, comparison, limit), name in found.items()
        if comparison not in SAMENESS and not score.startswith(OF_SOURCE)
    ]
