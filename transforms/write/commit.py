"""Committing: a chunk is closed in the bundle in which the last of its clips was written.

    clip ─▶ write_clip ─▶ Outcome ─┐
    clip ─▶ write_clip ─▶ Outcome ─┼─ all of the chunk ─▶ close ─▶ tables, document; the video's
    …                              │
                                   └─ not all of them: torn ─▶ Gather ─▶ close

A job that is killed has then finished what it worked on until then, on any engine: nothing waits
for a shuffle, which in a batch hands out nothing before its end. Only a chunk whose clips come in
several bundles waits: parts of it were dealt to several workers, a clip was lost, or somebody's own
step put a shuffle in between.

Writes of a bundle are done side by side: many small ones wait for disk or network, and not for each
other. All are finished when the bundle is, so a runner that keeps a bundle keeps its files. At the
beginning they are few (:mod:`ramp`).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from finecut.io.records import Clip, Failure, Source, Written
from finecut.io.tables.packs import PackedClip
from finecut.transforms.beam.guard import FAILURES, guarded, with_spans
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.sharing import OfRun
from finecut.transforms.beam.weather import ForTheEngine, Weather
from finecut.transforms.write.branches import (
    ARTEFACTS,
    CLIPS,
    EMBEDDINGS,
    METAS,
    STEPS,
    WRITERS,
    tables_of,
    write_parquet,
)
from finecut.transforms.write.close import (
    NOTHING,
    ChunkClosed,
    ChunkEnded,
    Seen,
    chunk_is_complete,
    close_chunk,
    close_last,
    written_clips,
)
from finecut.transforms.write.packing import STEP, clear, pack, within_reach
from finecut.transforms.write.ramp import ALONE, AMONG_MANY, Threads
from finecut.transforms.write.tending import tend
from finecut.transforms.write.writing import Entry, Outcome, Writer, Writing, ids, planned

#: Writes that may wait for their turn, per thread: enough to keep all busy, few enough to be small.
BACKLOG: Final = 4
#: Tags: entries of chunks that were torn apart, and in a stream chunks that have come to their end.
TORN, ENDED = "torn", "ended"


class Did(NamedTuple):
    """What a step made of a clip or a chunk, and how long it took."""

    step: str
    results: tuple[Written | ChunkClosed | Failure, ...]
    microseconds: int


def write_clip(clip: Clip, writing: Writing) -> list[Did]:
    """All files of a clip, each kind by itself: what cannot be written costs no other.

    Nothing is left to do of one that was written before it was handed over; and one that will be
    packed waits for the others of its chunk.
    """
    if clip.written or writing.packs:
        return []
    source = clip.video.source
    return [
        _done(step, source, partial(write, clip, writing), [clip], weather=writing.weather)
        for step, write in WRITERS
    ]


def outcome_of(clip: Clip, done: Iterable[Did]) -> Outcome:
    """The record of what became of it."""
    results = [result for each in done for result in each.results]
    paths = (result.path for result in results if isinstance(result, Written))
    return Outcome(
        clip,
        (*clip.written, *paths),
        tuple(result for result in results if isinstance(result, Failure)),
    )


def close(entries: Iterable[Entry], writing: Writing, seen: Seen) -> list[Did]:
    """The chunk's tables and document; if it was the last of its video, also the video's."""
    outcomes = [entry for entry in entries if isinstance(entry, Outcome)]
    source, weather = outcomes[0].video.source, writing.weather
    done, packed = _tables(outcomes, writing), NOTHING
    if writing.packs:
        done, packed = _pack(outcomes, writing)
    every = [each.clip for each in outcomes]
    finish = partial(close_chunk, outcomes, writing, packed)
    last = _done("CloseChunks", source, finish, every, weather=weather)
    written = ids(written_clips(outcomes, writing))
    for closed in last.results:
        if isinstance(closed, ChunkClosed):
            if writing.packs:
                clear((each.clip for each in outcomes), writing)
            last = last._replace(results=(_with_video(closed, written, writing, seen),))
    return [*done, last]


def _tables(outcomes: list[Outcome], writing: Writing) -> list[Did]:
    """Write the tables of vectors, which the first outcome knows of from now on."""
    if writing.packs:
        return []
    source, chunk, done = outcomes[0].video.source, outcomes[0].chunk.id, []
    for name, clips in tables_of({each.clip.id: each.clip for each in outcomes}.values()).items():
        write = partial(write_parquet, chunk, name, clips, writing=writing)
        done.append(_done("WriteParquet", source, write, clips, weather=writing.weather))
        paths = (table.path for table in done[-1].results if isinstance(table, Written))
        outcomes[0] = replace(outcomes[0], paths=(*outcomes[0].paths, *paths))
    return done


def _pack(outcomes: list[Outcome], writing: Writing) -> tuple[list[Did], Mapping[str, PackedClip]]:
    """Write the pack of a chunk; outcomes of clips that are in it know so from now on."""
    clips = [each.clip for each in outcomes]
    source, work = outcomes[0].video.source, partial(pack, clips, writing)
    did = _done(STEP, source, lambda: [work()], clips, weather=writing.weather)
    packing: Any = did.results[0]
    if isinstance(packing, Failure):
        return [did], NOTHING
    outcomes[:] = [
        replace(each, paths=tuple(planned(each.clip, writing)))
        if each.clip.id in packing.packed
        else each
        for each in outcomes
    ]
    by_kind = [
        did._replace(step=step, results=results, microseconds=did.microseconds * (kind == CLIPS))
        for kind, step in STEPS.items()
        if (results := tuple(each for each in packing.written if each.kind == kind))
    ]
    return [*by_kind, did._replace(results=packing.failures, microseconds=0)], packing.packed


def _with_video(
    closed: ChunkClosed, clips: Iterable[str], writing: Writing, seen: Seen
) -> ChunkClosed:
    """The chunk, and the video if it is finished with it. What goes wrong is tried again, and told
    of, when all chunks of the video have come together.
    """
    if writing.streams:
        return closed
    close = partial(close_last, closed, clips, writing=writing, seen=seen)
    source, weather = closed.video.source, writing.weather
    for finished in guarded("CloseVideos", source, close, weather=weather):
        if not isinstance(finished, Failure):
            return replace(closed, finished=finished)
    return closed


def _done(
    step: str,
    source: Source,
    work: Callable[[], Iterable[Any]],
    clips: Sequence[Clip],
    *,
    weather: Weather,
) -> Did:
    began = time.perf_counter()
    done = guarded(step, source, work, partial(ids, clips), weather=weather)
    results = tuple(
        with_spans(each, [clip.planned for clip in clips]) if isinstance(each, Failure) else each
        for each in done
    )
    return Did(step, results, int((time.perf_counter() - began) * 1e6))


# ── in bundles ───────────────────────────────────────────────────────────────────────────────────


class Place(NamedTuple):
    """Where in the stream something stands."""

    timestamp: Any
    window: Any

    def holds(self, item: object) -> Any:
        return WindowedValue(item, self.timestamp, (self.window,))


class _Pending(NamedTuple):
    """Work that another thread does."""

    done: Future[list[Did]]
    place: Place
    #: Whose files are written; nothing where a chunk is closed.
    clip: Clip | None
    chunk: str


_Results = (
    ChunkClosed
    | TaggedOutput[Literal["clips"], Written]
    | TaggedOutput[Literal["artefacts"], Written]
    | TaggedOutput[Literal["metas"], Written]
    | TaggedOutput[Literal["embeddings"], Written]
    | TaggedOutput[Literal["failures"], Failure]
    | TaggedOutput[Literal["torn"], tuple[str, Outcome]]
    | TaggedOutput[Literal["ended"], ChunkEnded]
)
#: Tags of all that comes of clips, besides the chunks that are closed.
TAGS: Final = (CLIPS, ARTEFACTS, METAS, EMBEDDINGS, FAILURES, TORN, ENDED)


def tagged_results(done: Iterable[Did]) -> Iterator[Any]:
    """What came of it, each by its kind; counted."""
    for step, results, microseconds in done:
        if results:
            count(f"{step}/microseconds", microseconds)
        for result in results:
            if isinstance(result, Failure):
                yield FAILURES, result
                continue
            count(f"{step}/items")
            count(f"{step}/bytes", result.num_bytes)
            if isinstance(result, Written):
                yield result.kind, result
            else:
                count("clips written", result.num_clips)
                yield None, result


def ended(entries: Iterable[Entry], done: Iterable[Did]) -> ChunkEnded:
    """In a stream: the chunk has come to its end, with all that went wrong."""
    entries, results = list(entries), [result for each in done for result in each.results]
    failures = [failure for entry in entries for failure in entry.failures]
    failures += [result for result in results if isinstance(result, Failure)]
    closed = next((result for result in results if isinstance(result, ChunkClosed)), None)
    return ChunkEnded(entries[0].video, entries[0].chunk, closed, tuple(failures))


def threads_of(kept: OfRun, writing: Writing) -> Threads:
    """All workers of a run in this process together use these threads."""
    first = AMONG_MANY if writing.among_many else ALONE
    return kept.once("threads", partial(Threads, first, writing.threads))


class WriteInBundles(Writer):
    """Clip → what was written of it, by kind; and the chunks of which all clips came by here."""

    def setup(self) -> None:
        super().setup()
        self._pool = threads_of(self._kept, self.writing)
        self._seen = self._kept.once("seen", Seen)

    def teardown(self) -> None:
        del self._pool, self._seen
        super().teardown()

    def start_bundle(self) -> None:
        tend(self.writing)
        self._pending: deque[_Pending] = deque()
        self._chunks: dict[str, tuple[Place, list[Entry]]] = {}
        self._closed: set[str] = set()

    def process(
        self,
        clip: Clip,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[_Results]:
        place = Place(timestamp, window)
        work = self._pool.submit(partial(write_clip, clip, self.writing))
        self._pending.append(_Pending(work, place, clip, clip.chunk.id))
        most = self.writing.threads * BACKLOG
        while self._pending and (len(self._pending) > most or self._pending[0].done.done()):
            yield from self._deliver(self._pending.popleft())

    def finish_bundle(self) -> Iterable[Any]:
        while self._pending:
            yield from self._deliver(self._pending.popleft())
        for chunk, (place, entries) in self._chunks.items():
            for entry in self._shared(entries):
                yield TaggedOutput(TORN, place.holds((chunk, entry)))

    def _shared(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """What other machines can close a chunk of: files that are not packed yet go with it."""
        if not self.writing.packs:
            return entries
        outcomes = [entry for entry in entries if isinstance(entry, Outcome)]
        share = [partial(within_reach, each.clip, self.writing) for each in outcomes]
        clips = [each.result() for each in [*map(self._pool.submit, share)]]
        return [replace(each, clip=clip) for each, clip in zip(outcomes, clips, strict=True)]

    def _deliver(self, pending: _Pending) -> Iterator[Any]:
        try:
            done, place = pending.done.result(), pending.place
        except ForTheEngine:
            # The bundle is done again: what has not begun would only be in the way of that.
            for other in self._pending:
                other.done.cancel()
            raise
        for tag, result in tagged_results(done):
            item = place.holds(result)
            yield item if tag is None else TaggedOutput(tag, item)
        if pending.clip is not None:
            self._enter(pending.clip, done, place)
        elif self.writing.streams:
            _, entries = self._chunks.pop(pending.chunk)
            yield TaggedOutput(ENDED, place.holds(ended(entries, done)))
        else:
            del self._chunks[pending.chunk]

    def _enter(self, clip: Clip, done: Iterable[Did], place: Place) -> None:
        """Note what became of a clip; close its chunk if that was the last."""
        chunk = clip.chunk.id
        if chunk in self._closed:
            return  # the same clip again
        _, entries = self._chunks.setdefault(chunk, (place, []))
        entries.append(outcome_of(clip, done))
        if chunk_is_complete(entries):
            self._closed.add(chunk)
            closing = partial(close, entries, self.writing, self._seen)
            work = self._pool.submit(closing)
            self._pending.append(_Pending(work, place, None, chunk))


class CloseTorn(Writer):
    """(chunk, all that came of it) → the chunk, closed; its tables; and what went wrong."""

    def setup(self) -> None:
        super().setup()
        self._seen = self._kept.once("seen", Seen)

    def teardown(self) -> None:
        del self._seen
        super().teardown()

    def process(self, group: tuple[str, Iterable[Entry]]) -> Iterable[_Results]:
        entries = list(group[1])
        there = any(isinstance(entry, Outcome) for entry in entries)
        done = close(entries, self.writing, self._seen) if there else []
        for tag, result in tagged_results(done):
            yield result if tag is None else TaggedOutput(tag, result)
        if self.writing.streams:
            of_chunk: Any = TaggedOutput(ENDED, ended(entries, done))
            yield of_chunk
