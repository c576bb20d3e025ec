"""Handing over: what was cut on one kind of machine goes to another, and is not cut again.

    cut ─▶ judged by measures ─▶ keep ┬─ files under their final names; documents of rejected clips
                                      ├─ .finecut/cut/<video>_<chunk>.json: the clips as they are
                                      └─▶ shuffle ─▶ models ─▶ write

Between the two lies a shuffle, and in a batch nothing comes out of one before all has gone in. So
what was cut is kept before it: if the job is killed, the next one reads the clips of a chunk from
their record instead of cutting them. Chunks are handed over whole, so that each is closed in the
bundle to which it comes.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import CODING, Clip, Failure, PlannedChunk, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.transforms.beam.gather import Waiting
from finecut.transforms.beam.guard import attempted, guarded
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.write.branches import publish_clip
from finecut.transforms.write.commit import Place, outcome_of, threads_of, write_clip
from finecut.transforms.write.writing import Writer, Writing, WritingTransform

#: Tag of chunks that an earlier run cut.
RECALLED: Final = "recalled"


@dataclass(frozen=True)
class Handed:
    """Clips of one chunk, as they were cut and judged."""

    clips: tuple[Clip, ...]


def kept(clip: Clip, writing: Writing) -> Clip:
    """The clip, its file under its final name; one that is rejected is written as a whole.

    What goes wrong is tried again where the others are written, and told of there.
    """
    if writing.dry_run or not writing.upload_clips or clip.staged is None:
        return clip
    if not clip.kept:
        outcome = outcome_of(clip, write_clip(clip, writing))
        return clip if outcome.failures else clip.replace(written=outcome.paths)
    publish, source = partial(publish_clip, clip, writing), clip.video.source
    for receipt in guarded("PublishClips", source, publish, weather=writing.weather):
        if not isinstance(receipt, Failure):
            return clip.replace(staged=receipt.path)
    return clip


def record(handed: Handed, writing: Writing) -> None:
    """Note the clips of a chunk, all of which lie under their final names."""
    first = handed.clips[0]
    path = writing.layout.cut_chunk(first.video.source.relative, first.chunk.index)
    data = to_json(handed).encode(*CODING)
    wrong = attempted(lambda: writing.shelf.write(path, data))
    if isinstance(wrong, Exception):
        LOG.error("%s: %s. If the run is stopped, its chunk is cut again", path, wrong)


def recalled(planned: PlannedChunk, writing: Writing) -> Handed | None:
    """The clips of this chunk, if an earlier run cut all and their files are still there."""
    if not planned.clips or not planned.chunk.again:
        return None
    path = writing.layout.cut_chunk(planned.video.source.relative, planned.chunk.index)
    data = shelf.read_if_there(path)
    if data is None:
        return None
    found = attempted(lambda: from_json(Handed, data.decode(*CODING)))
    if isinstance(found, Exception):
        LOG.error("%s is damaged (%s): its chunk is cut again", path, found)
        return None
    decided = {clip.id: clip for clip in planned.clips}
    clips = [clip for clip in found.clips if clip.id in decided]
    if len(clips) < len(decided):
        return None
    there = [_as_it_lies(clip, writing) for clip in clips]
    if None in there:
        return None
    return Handed(
        tuple(
            clip.replace(video=planned.video, chunk=planned.chunk, planned=decided[clip.id])
            for clip in there
            if clip is not None
        )
    )


def _as_it_lies(clip: Clip, writing: Writing) -> Clip | None:
    """The clip with its file where that is now: a model may have rejected it before the kill."""
    if clip.written:
        paths = {writing.layout.clip(clip.id, clip.kept), writing.layout.meta(clip.id)}
        return clip if {*clip.written} == paths and all(map(shelf.exists, paths)) else None
    if clip.staged is None:
        return clip
    places = (writing.layout.clip(clip.id, kept) for kept in (True, False))
    staged = next((path for path in places if shelf.exists(path)), None)
    return None if staged is None else clip.replace(staged=staged)


class Recall(WritingTransform[beam.PCollection[PlannedChunk], Any]):
    """Chunk → ``to_cut``, or what an earlier run cut of it → ``recalled``."""

    def expand(self, chunks: beam.PCollection[PlannedChunk]) -> Any:
        return chunks | "Read records" >> beam.ParDo(_Recall(self.writing)).with_outputs(
            RECALLED, main="to_cut"
        )


class _Recall(Writer):
    def process(
        self, planned: PlannedChunk
    ) -> Iterable[PlannedChunk | TaggedOutput[Literal["recalled"], Waiting]]:
        handed = attempted(lambda: recalled(planned, self.writing))
        if isinstance(handed, Handed):
            item: Any = TaggedOutput(RECALLED, Waiting(handed))
            yield item
        else:
            yield planned


_Chunks = tuple[beam.PCollection[Clip], beam.PCollection[Waiting]]


class HandOver(WritingTransform[_Chunks, beam.PCollection[Waiting]]):
    """(Clips that were cut, chunks that were recalled) → chunks for other machines, kept."""

    def expand(self, given: "_Chunks") -> beam.PCollection[Waiting]:
        clips, before = given
        handed = clips | "Keep" >> beam.ParDo(_Keep(self.writing))
        return (handed, before) | "Chunks" >> beam.Flatten() | "Deal" >> beam.Reshuffle()


def clips_of(handed: Waiting) -> tuple[Clip, ...]:
    clips: tuple[Clip, ...] = handed.record.clips
    return clips


class _Keep(Writer):
    """Clips → chunks of them, whose files are kept."""

    def setup(self) -> None:
        super().setup()
        self._pool = threads_of(self._kept, self.writing)

    def teardown(self) -> None:
        del self._pool
        super().teardown()

    def start_bundle(self) -> None:
        self._chunks: dict[str, tuple[Place, list[Future[Clip]]]] = {}

    def process(
        self,
        clip: Clip,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[Waiting]:
        place = Place(timestamp, window)
        _, clips = self._chunks.setdefault(clip.chunk.id, (place, []))
        clips.append(self._pool.submit(partial(kept, clip, self.writing)))
        if len(clips) == clip.chunk.num_clips:
            handed = self._handed(clip.chunk.id)
            if all(self._is_there(each) for each in handed.clips):
                record(handed, self.writing)
            yield place.holds(Waiting(handed))

    def finish_bundle(self) -> Iterator[Any]:
        """Of these chunks, others have the rest: they are handed over as they are."""
        for chunk in [*self._chunks]:
            place, _ = self._chunks[chunk]
            yield place.holds(Waiting(self._handed(chunk)))

    def _handed(self, chunk: str) -> Handed:
        _, clips = self._chunks.pop(chunk)
        return Handed(tuple(each.result() for each in clips))

    def _is_there(self, clip: Clip) -> bool:
        """Whether its file lies where the run's end does not remove it."""
        staging = f"{self.writing.shelf.staging}/"
        return bool(clip.written) or clip.staged is None or not clip.staged.startswith(staging)
