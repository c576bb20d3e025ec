"""Handing over: what was cut on one kind of machine goes to another, and is not cut again.

    cut ─▶ judged by measures ─▶ keep ┬─ the record of a chunk that is cut (:mod:`recall`), then its
                                      │  files under their final names; documents of rejected clips
                                      └─▶ shuffle ─▶ models ─▶ write

Between the two lies a shuffle, and in a batch nothing comes out of one before all has gone in. So
what was cut is kept before it. Chunks are handed over whole, so that each is closed in the bundle
to which it comes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from finecut.io.records import Clip, Failure
from finecut.transforms.beam.gather import Waiting
from finecut.transforms.beam.guard import attempted, guarded
from finecut.transforms.write.branches import publish_clip
from finecut.transforms.write.commit import Place, outcome_of, threads_of, write_clip
from finecut.transforms.write.recall import Handed, note_cut, note_lying
from finecut.transforms.write.writing import Writer, Writing, WritingTransform


def kept(clip: Clip, writing: Writing) -> Clip:
    """The clip, its file under its final name; one that is rejected is written as a whole.

    What goes wrong is tried again where the others are written, and told of there.
    """
    if writing.dry_run or not writing.upload_clips or clip.staged is None:
        return shared(clip, writing)
    if not clip.kept:
        outcome = outcome_of(clip, write_clip(clip, writing))
        return shared(clip, writing) if outcome.failures else clip.replace(written=outcome.paths)
    publish, source = partial(publish_clip, clip, writing), clip.video.source
    for receipt in guarded("PublishClips", source, publish, weather=writing.weather):
        if not isinstance(receipt, Failure):
            return clip.replace(staged=receipt.path)
    return shared(clip, writing)


def shared(clip: Clip, writing: Writing) -> Clip:
    """The clip, its file where other machines can read it."""
    if clip.staged is None or not writing.shelf.waits_here(clip.staged):
        return clip
    staged = attempted(partial(writing.shelf.share, Path(clip.staged)))
    return clip if isinstance(staged, Exception) else clip.replace(staged=staged)


_Chunks = tuple[beam.PCollection[Clip], beam.PCollection[Waiting]]


class HandOver(WritingTransform[_Chunks, beam.PCollection[Waiting]]):
    """(Clips that were cut, clips that were recalled) → chunks for other machines, kept."""

    def expand(self, given: "_Chunks") -> beam.PCollection[Waiting]:
        clips, before = given
        handed = clips | "Keep" >> beam.ParDo(_Keep(self.writing))
        return (handed, before) | "Chunks" >> beam.Flatten() | "Deal" >> beam.Reshuffle()


def clips_of(handed: Waiting) -> tuple[Clip, ...]:
    clips: tuple[Clip, ...] = handed.record.clips
    return clips


class _Publishing(NamedTuple):
    """Clips of a chunk that other threads give their final names."""

    place: Place
    clips: list[Future[Clip]]


class _Keep(Writer):
    """Clips → chunks of them, whose files are kept."""

    def setup(self) -> None:
        super().setup()
        self._pool = threads_of(self._kept, self.writing)

    def teardown(self) -> None:
        del self._pool
        super().teardown()

    def start_bundle(self) -> None:
        self._chunks: dict[str, tuple[Place, list[Clip]]] = {}
        self._publishing: deque[_Publishing] = deque()

    def process(
        self,
        clip: Clip,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[Waiting]:
        place = Place(timestamp, window)
        _, clips = self._chunks.setdefault(clip.chunk.id, (place, []))
        clips.append(clip)
        if len(clips) == clip.chunk.num_clips:
            self._publish(clip.chunk.id)
            # While one chunk is published the next one is cut; the files of more would wait here.
            yield from self._handed(waiting=1)

    def finish_bundle(self) -> Iterator[Any]:
        """Of these chunks, others have the rest: they are handed over as they are."""
        for chunk in [*self._chunks]:
            self._publish(chunk)
        yield from self._handed(waiting=0)

    def _publish(self, chunk: str) -> None:
        place, clips = self._chunks.pop(chunk)
        note_cut(clips, self.writing)
        work = [self._pool.submit(partial(kept, clip, self.writing)) for clip in clips]
        self._publishing.append(_Publishing(place, work))

    def _handed(self, waiting: int) -> Iterator[Any]:
        """Chunks that are published, until so many are left."""
        while len(self._publishing) > waiting:
            place, work = self._publishing.popleft()
            clips = tuple(each.result() for each in work)
            note_lying(clips, self.writing)
            yield place.holds(Waiting(Handed(clips)))
