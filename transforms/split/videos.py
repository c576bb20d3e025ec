"""Splitting videos: from what was probed to planned chunks.

    videos ──InSegments──▶ segments ──(dealt)──▶ SplitVideos ─┬─ all of a video ───────▶ reels
                                                              └─ watched, gathered by video ▲

Only a detector watches videos, and only of long ones there are several segments: everything else
goes straight through.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Failure, PlannedChunk, Segment, Video, Watched
from finecut.transforms.amount import counted, counted_clips
from finecut.transforms.beam.gather import Gather
from finecut.transforms.beam.guard import FAILURES, guarded, of_video
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.split.scenes import Detection, Piece
from finecut.transforms.split.segments import STEP, divided, joined, watched, why_apart
from finecut.transforms.split.spans import Splitting, chunks_of

#: What is done when it is known what a video becomes, before anything of it is made.
Opening = Callable[[Sequence[PlannedChunk]], list[PlannedChunk]]

SEGMENTS: Final = "segments"


class SegmentsLost(Exception):
    """Some of a video was watched, and the rest never came."""


class Split(NamedTuple):
    """What becomes of videos."""

    reels: beam.PCollection[PlannedChunk]
    failures: beam.PCollection[Failure]


@dataclass(eq=False, repr=False)
class InSegments(beam.PTransform[beam.PCollection[Video], beam.PCollection[Segment]]):
    """Videos → their segments, most of which are all of a video."""

    splitting: Splitting

    def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[Segment]:
        splitting = self.splitting
        # A few clips are all that is wanted: the whole is watched until they are found.
        if isinstance(splitting.cutter, Detection) and not splitting.limit:
            work = beam.FlatMap(divided, splitting.cutter)
        else:
            work = beam.Map(Segment)
        return videos | "Divide" >> work.with_output_types(Segment)


@dataclass(eq=False, repr=False)
class SplitVideos(beam.PTransform[beam.PCollection[Segment], Any]):
    """Segments → ``reels`` of their videos; a video that could not be watched → ``failures``.

    ``patience`` in seconds is for streams.
    """

    splitting: Splitting
    opening: Opening
    patience: float | None = None

    def expand(self, segments: beam.PCollection[Segment]) -> Any:
        plan = _PlanReels(self.splitting, self.opening)
        if not isinstance(self.splitting.cutter, Detection):
            whole = segments | "PlanChunks" >> beam.ParDo(plan).with_outputs(FAILURES, main="reels")
            return Split(whole.reels, whole[FAILURES])
        whole = segments | "PlanChunks" >> beam.ParDo(plan).with_outputs(
            FAILURES, SEGMENTS, main="reels"
        )
        join = _Join(self.splitting, self.opening)
        parts = (
            whole[SEGMENTS]
            | "Wait for the video" >> Gather(all_watched, self.patience)
            | "JoinSegments" >> beam.ParDo(join).with_outputs(FAILURES, main="reels")
        )
        return Split(
            (whole.reels, parts.reels) | "Reels" >> beam.Flatten(),
            (whole[FAILURES], parts[FAILURES]) | "Failures" >> beam.Flatten(),
        )


def all_watched(parts: Sequence[Watched]) -> bool:
    """Whether no segment of the video is missing."""
    return len({part.segment.number for part in parts}) == parts[0].segment.count


@dataclass(eq=False, repr=False)
class _Planning(beam.DoFn):
    splitting: Splitting
    opening: Opening

    def setup(self) -> None:
        self.splitting.cutter.prepare()

    def planned(
        self, video: Video, pieces: Callable[[], Iterable[Piece]]
    ) -> Iterator[PlannedChunk | TaggedOutput[Literal["failures"], Failure]]:
        def work() -> Iterator[PlannedChunk]:
            """As an iterator, so that the time it takes is counted."""
            yield from self.opening(chunks_of(video, self.splitting, pieces()))

        # All or nothing: chunks of a video that breaks later would wait for the others for ever.
        weather = self.splitting.weather
        made = guarded(STEP, video.source, lambda: metered(STEP, work()), weather=weather)
        for planned in list(made):
            if isinstance(planned, Failure):
                yield failed(planned, video)
                continue
            count("shots planned", len(planned.clips))
            count(
                "milliseconds planned", int(1000 * sum(clip.span.length for clip in planned.clips))
            )
            count("work planned", counted_clips(video, planned.clips))
            yield planned
        count("milliseconds split", int(1000 * video.duration))
        count("work split", counted(video, video.duration))
        LOG.info("split %s", video.name)


def failed(failure: Failure, video: Video) -> TaggedOutput[Literal["failures"], Failure]:
    count("videos not split")
    return TaggedOutput(FAILURES, of_video(failure, video))


class _PlanReels(_Planning):
    """Chunks of a video that is watched as a whole; of others, what was seen of the segment."""

    def process(
        self, segment: Segment
    ) -> Iterable[
        PlannedChunk
        | TaggedOutput[Literal["failures"], Failure]
        | TaggedOutput[Literal["segments"], tuple[str, Watched]]
    ]:
        video, cutter = segment.video, self.splitting.cutter
        if segment.count == 1 or not isinstance(cutter, Detection):
            yield from self.planned(video, lambda: cutter.pieces(video))
            return
        made = guarded(
            STEP,
            video.source,
            lambda: metered(STEP, _once(segment, cutter)),
            weather=self.splitting.weather,
        )
        for seen in list(made):
            yield keyed(Watched(segment, failure=seen) if isinstance(seen, Failure) else seen)


def keyed(seen: Watched) -> TaggedOutput[Literal["segments"], tuple[str, Watched]]:
    """For those who wait for all of this version of the video."""
    source = seen.segment.video.source
    return TaggedOutput(SEGMENTS, (f"{source.version} {source.name}", seen))


def _once(segment: Segment, cutter: Detection) -> Iterator[Watched]:
    yield watched(segment, cutter)


class _Join(_Planning):
    """Chunks of a video whose segments were watched."""

    def process(
        self, gathered: tuple[str, Iterable[Watched]]
    ) -> Iterable[PlannedChunk | TaggedOutput[Literal["failures"], Failure]]:
        cutter = self.splitting.cutter
        assert isinstance(cutter, Detection)
        by_number = {part.segment.number: part for part in gathered[1]}
        parts = [by_number[number] for number in sorted(by_number)]
        video = parts[0].segment.video
        if broken := next((part.failure for part in parts if part.failure is not None), None):
            yield failed(broken, video)
            return
        yield from self.planned(video, lambda: self._pieces(video, parts, cutter))

    def _pieces(self, video: Video, parts: Sequence[Watched], cutter: Detection) -> Iterable[Piece]:
        if not all_watched(parts):
            raise SegmentsLost(
                f"of the {parts[0].segment.count} segments in which it was watched, only "
                f"{len(parts)} came within --patience. Usually a worker was lost, or has too much "
                "to do. Start the job again, or raise --patience."
            )
        if apart := why_apart(parts):
            LOG.info("%s is watched as a whole: %s", video.name, apart)
            return cutter.pieces(video, again=True)
        return joined(video, parts, cutter)
