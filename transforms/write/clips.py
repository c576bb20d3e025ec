"""Writing: clips that are staged become a dataset on the shelf, in an order that is a promise.

    Clip ─┬─ clips ──────▶ PublishClips      clips/ or filtered_clips/
          ├─ artefacts ──▶ PublishArtefacts  previews/, …       ─┐
          ├─ metas ──────▶ WriteMetas        metas/v0/           ├─▶ CloseChunks ──▶ CloseVideos
          └─ embeddings ─▶ WriteVectors      ce1_embd/           │   processed_      processed_
                      └──▶ WriteParquet      ce1_embd_parquet/  ─┘   clip_chunks/    videos/

:class:`WriteClips` works on any PCollection of Clips, wherever they come from::

    written = clips | WriteClips(Writing(Layout("/out"), Shelf("/out", "/out/.staging/mine")))
    written.metas | ...     # what was written, as Written records

All of that is one step (:mod:`finecut.transforms.write.commit`), so that what was cut in a bundle
is finished with it. Only what was torn apart goes through a shuffle.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Clip, Failure, Lost, Written
from finecut.transforms.beam.gather import Gather
from finecut.transforms.beam.guard import FAILURES, LOST, guarded
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.write.branches import ARTEFACTS, CLIPS, EMBEDDINGS, METAS
from finecut.transforms.write.close import (
    ChunkClosed,
    ChunkEnded,
    VideoClosed,
    chunk_is_complete,
    close_video,
    video_has_ended,
)
from finecut.transforms.write.commit import ENDED, TAGS, TORN, CloseTorn, WriteInBundles
from finecut.transforms.write.failure_lists import ListFailures
from finecut.transforms.write.writing import (
    Entry,
    Outcome,
    Writer,
    WritingTransform,
    tagged,
)


class WrittenClips(NamedTuple):
    """What :class:`WriteClips` gives back: receipts of every branch, and what went wrong."""

    clips: beam.PCollection[Written]
    artefacts: beam.PCollection[Written]
    metas: beam.PCollection[Written]
    embeddings: beam.PCollection[Written]
    chunks: beam.PCollection[ChunkClosed]
    videos: beam.PCollection[VideoClosed]
    failures: beam.PCollection[Failure]


_ClipsOrAlsoLost = beam.PCollection[Clip] | tuple[beam.PCollection[Clip], beam.PCollection[Lost]]


class WriteClips(WritingTransform[_ClipsOrAlsoLost, WrittenClips]):
    """Clips → :class:`WrittenClips`. In a stream, (clips, lost ones): what nobody waits for."""

    def expand(self, given: "_ClipsOrAlsoLost") -> "WrittenClips":
        writing = self.writing
        clips, lost = given if isinstance(given, tuple) else (given, None)
        here = clips | "Write" >> beam.ParDo(WriteInBundles(writing)).with_outputs(
            *TAGS, main="closed"
        )
        torn = (here[TORN],) if lost is None else (here[TORN], lost)
        later = torn | "CloseTornChunks" >> CloseTornChunks(writing)
        tables, chunks = (
            (here[tag], later[tag]) | name >> beam.Flatten()
            for tag, name in ((EMBEDDINGS, "AllVectors"), ("closed", "AllChunks"))
        )
        ended = chunks
        if writing.streams:
            ended = (here[ENDED], later[ENDED]) | "Ended" >> beam.Flatten()
        videos = ended | "CloseVideos" >> CloseVideos(writing)
        if writing.streams:
            _ = videos[LOST] | ListFailures(writing)
        failures = (here[FAILURES], later[FAILURES], videos[FAILURES])
        return WrittenClips(
            clips=here[CLIPS],
            artefacts=here[ARTEFACTS],
            metas=here[METAS],
            embeddings=tables,
            chunks=chunks,
            videos=videos.closed,
            failures=failures | "Failures" >> beam.Flatten(),
        )


_Torn = tuple[beam.PCollection[Any], ...]


class CloseTornChunks(WritingTransform[_Torn, Any]):
    """(chunk, outcome) of chunks that were torn apart, and in a stream lost clips → ``closed`` and
    all else that comes of chunks.
    """

    def expand(self, torn: "_Torn") -> Any:
        outcomes, *lost = torn
        kind = tuple[str, Entry]
        several = [outcomes | "Outcomes" >> beam.Map(_itself).with_output_types(kind)]
        several += [each | "Lost" >> beam.Map(_by_chunk).with_output_types(kind) for each in lost]
        return (
            several
            | "Torn" >> beam.Flatten()
            | "Wait for the chunk" >> Gather(chunk_is_complete, self.writing.patience)
            | "Close" >> beam.ParDo(CloseTorn(self.writing)).with_outputs(*TAGS, main="closed")
        )


# Outputs that are tagged have no type, and Beam chooses the coder of what waits by its type.
def _itself(entry: tuple[str, Outcome]) -> tuple[str, Outcome]:
    return entry


def _by_chunk(lost: Lost) -> tuple[str, Lost]:
    return lost.chunk.id, lost


class CloseVideos(WritingTransform[beam.PCollection[Any], Any]):
    """Closed chunks → ``closed`` videos, each once, whichever of its chunks closed it. In a stream,
    chunks that have ended, and of a video that cannot be closed all that went wrong → ``lost``.
    """

    def expand(self, chunks: beam.PCollection[Any]) -> Any:
        kind: Any = ChunkEnded if self.writing.streams else ChunkClosed
        close = _EndVideo if self.writing.streams else _CloseVideo
        return (
            chunks
            | "By video" >> beam.Map(_by_video).with_output_types(tuple[str, kind])
            | "Wait for the video" >> Gather(video_has_ended, self.writing.patience)
            | "Close video"
            >> beam.ParDo(close(self.writing)).with_outputs(*self.writing.accidents, main="closed")
        )


class _CloseVideo(Writer):
    def process(
        self, group: tuple[str, Iterable[ChunkClosed]]
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        chunks = list(group[1])
        close = partial(close_video, chunks, self.writing)
        source, weather = chunks[0].video.source, self.writing.weather
        yield from tagged(guarded("CloseVideos", source, close, weather=weather))


_OfVideo = (
    VideoClosed | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
)


class _EndVideo(Writer):
    """The same in a stream, where chunks come to their end that cannot be closed."""

    def process(self, group: tuple[str, Iterable[ChunkEnded]]) -> Iterable[_OfVideo]:
        # A chunk that was given up ends again when its rest comes after all.
        chunks = list({each.chunk.index: each for each in group[1]}.values())
        video, chunk = chunks[0].video, chunks[0].chunk
        closed = [each.closed for each in chunks if each.closed is not None]
        close = partial(close_video, closed, self.writing)
        work = guarded("CloseVideos", video.source, close, weather=self.writing.weather)
        outcomes = list(work) if closed else []
        yield from tagged(outcomes)
        failures = tuple(failure for each in chunks for failure in each.failures)
        if not failures and not outcomes:
            LOG.error(
                "%s is given up: nothing was heard of some of its clips within --patience. Usually "
                "a step of --step drops clips; it is processed again when the job is started again",
                video.name,
            )
        if failures and not outcomes:
            lost: Any = TaggedOutput(LOST, Lost(video, chunk, failures))
            yield lost


def _by_video(chunk: ChunkClosed | ChunkEnded) -> tuple[str, ChunkClosed | ChunkEnded]:
    return chunk.video.name, chunk
