"""Videos that no clip closes: too short for one, all but finished before, or filtered away."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Clip, Failure, PlannedChunk
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.write.close import VideoClosed, close_filtered_video, close_planned
from finecut.transforms.write.writing import Writer, WritingTransform, ids, tagged

#: Clips of a video that were cut, and those of them that are written.
CUT, WRITTEN = "cut", "written"


class CloseEmptyVideos(WritingTransform[beam.PCollection[PlannedChunk], Any]):
    """Chunks without planned clips → ``closed`` videos."""

    def expand(self, chunks: beam.PCollection[PlannedChunk]) -> Any:
        return chunks | "Close empty video" >> beam.ParDo(
            _CloseEmptyVideo(self.writing)
        ).with_outputs(FAILURES, main="closed")


_CutAndWritten = tuple[beam.PCollection[Clip], beam.PCollection[Clip]]


class CloseFilteredVideos(WritingTransform[_CutAndWritten, Any]):
    """(Clips that were cut, those of them that are written) → ``closed`` videos that have none."""

    def expand(self, inputs: "_CutAndWritten") -> Any:
        cut, written = inputs
        return (
            {
                CUT: cut
                | "Cut by video"
                >> beam.Map(lambda clip: (clip.video.name, clip)).with_output_types(
                    tuple[str, Clip]
                ),
                WRITTEN: written
                | "Written by video"
                >> beam.Map(lambda clip: (clip.video.name, clip.id)).with_output_types(
                    tuple[str, str]
                ),
            }
            | "Both" >> beam.CoGroupByKey()
            | "Close filtered video"
            >> beam.ParDo(_CloseFilteredVideo(self.writing)).with_outputs(FAILURES, main="closed")
        )


class _CloseFilteredVideo(Writer):
    def process(
        self, group: tuple[str, Mapping[str, Iterable[Any]]]
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        cut = list(group[1][CUT])
        if not cut or any(True for _ in group[1][WRITTEN]):
            return
        close = partial(close_filtered_video, cut, self.writing)
        source, weather = cut[0].video.source, self.writing.weather
        lost = partial(ids, cut)
        yield from tagged(guarded("CloseVideos", source, close, lost, weather=weather))


class _CloseEmptyVideo(Writer):
    def process(
        self, planned: PlannedChunk
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        source, weather = planned.video.source, self.writing.weather
        close = partial(close_planned, planned, self.writing)
        yield from tagged(guarded("CloseVideos", source, close, weather=weather))
