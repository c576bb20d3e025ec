"""Closing: the documents that say that a chunk, and at last a video, has been written.

A chunk is closed over the clips of which everything planned has a receipt; a video only when all
its chunks are closed and no planned clip is missing. So a document under ``processed_videos/``
says that everything of this video has been written, and is withdrawn while that is not true.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Chunk, Clip, Failure, Lost, PlannedChunk, Video, Written
from finecut.io.storage import files as shelf
from finecut.io.summary import Summary
from finecut.transforms.beam.gather import Gather
from finecut.transforms.beam.guard import FAILURES, LOST, guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.resume.note import (
    forget_clip,
    forget_note,
    forget_other_tables,
    settle,
)
from finecut.transforms.write.documents import chunk_document, serialise, video_document
from finecut.transforms.write.failure_lists import own_list
from finecut.transforms.write.sums import of_chunk
from finecut.transforms.write.writing import (
    Entry,
    Writer,
    Writing,
    WritingTransform,
    by_chunk,
    ids,
    planned,
    tagged,
)

#: Clips of a video that were cut, and those of them that are written.
CUT, WRITTEN = "cut", "written"


@dataclass(frozen=True)
class ChunkClosed:
    """A chunk is on the shelf: these are its clips, in numbers."""

    video: Video
    num_chunks: int
    num_total_clips: int
    path: str
    num_bytes: int
    summary: Summary

    @property
    def num_clips(self) -> int:
        return self.summary.shots_kept + self.summary.shots_rejected


@dataclass(frozen=True)
class ChunkEnded:
    """In a stream: nothing more is to come of a chunk, whether or not it could be closed."""

    video: Video
    chunk: Chunk
    closed: ChunkClosed | None
    failures: tuple[Failure, ...]


class SourceChanged(Exception):
    """A video is not any more what it was when the work on it began."""


@dataclass(frozen=True)
class VideoClosed:
    """Everything of this video is on the shelf."""

    video: Video
    num_clips: int
    path: str
    num_bytes: int


def close_chunk(entries: Iterable[Entry], writing: Writing) -> Iterator[ChunkClosed | Failure]:
    """Write the chunk's document about the clips of which everything planned was written."""
    cut, paths = _told_apart(entries)
    written = (clip for clip in cut if planned(clip, writing) <= paths)
    clips = sorted(written, key=lambda clip: clip.planned.index)
    if not clips:
        return
    chunk, video = clips[0].chunk, clips[0].video
    path = writing.layout.processed_clip_chunk(video.source.relative, chunk.index)
    size = writing.shelf.write(path, serialise(chunk_document(video, chunk.index, clips)))
    kept = [clip for clip in clips if clip.kept]
    if chunk.again or writing.algorithm is not None:
        forget_other_tables(chunk.id, kept, writing)
    yield ChunkClosed(
        video=video,
        num_chunks=chunk.num_chunks,
        num_total_clips=chunk.num_total_clips,
        path=path,
        num_bytes=size,
        summary=of_chunk(clips, kept),
    )


def close_video(chunks: Iterable[ChunkClosed], writing: Writing) -> Iterator[VideoClosed]:
    """Write the video's document, if nothing of the video is missing."""
    chunks = list(chunks)
    first = chunks[0]
    num_clips = sum(chunk.num_clips for chunk in chunks)
    if len(chunks) < first.num_chunks or num_clips < first.num_total_clips:
        return
    yield _write_video_document(first.video, num_clips, first.num_chunks, writing)


def close_empty_video(planned: PlannedChunk, writing: Writing) -> Iterator[VideoClosed]:
    """A video too short for a clip is finished too: both its documents say so."""
    path = writing.layout.processed_clip_chunk(planned.video.source.relative, 0)
    writing.shelf.write(path, serialise(chunk_document(planned.video, 0, [])))
    yield _write_video_document(planned.video, 0, 0, writing)


def close_filtered_video(cut: Sequence[Clip], writing: Writing) -> Iterator[VideoClosed]:
    """A video of which no clip came to be written, although all were cut: it is finished, too, with
    the documents of a video that has none.

    What an earlier run wrote of these clips goes: nobody would know of it any more.
    """
    first = min(cut, key=lambda clip: clip.planned.index)
    if len({clip.id for clip in cut}) < first.chunk.num_total_clips:
        return  # something failed: the video will be done again
    for clip in cut:
        forget_clip(clip, writing)
    yield from close_empty_video(PlannedChunk(first.video, first.chunk, ()), writing)


def _write_video_document(
    video: Video, num_clips: int, num_chunks: int, writing: Writing
) -> VideoClosed:
    _refuse_changed(video)
    settle(video, num_chunks, writing)
    if writing.streams:
        # What failed before is repaired. (A batch writes one list of all, at its end.)
        writing.shelf.remove(own_list(video.source, writing.layout))
    path = writing.layout.processed_video(video.source.relative)
    data = serialise(video_document(video, num_clips, num_chunks, writing.configuration))
    closed = VideoClosed(video, num_clips, path, writing.shelf.write(path, data))
    forget_note(video, writing)
    if writing.streams:
        count("videos closed")
    LOG.info("finished %s: %d clips in %d chunks", video.name, num_clips, num_chunks)
    return closed


def _refuse_changed(video: Video) -> None:
    """A promise names the file it was made of; half of this one may be of another."""
    source = video.source
    if source.version and shelf.version_of(source.uri) != source.version:
        raise SourceChanged(
            f"{source.name} changed while finecut was working on it, so its clips may come from "
            "two versions. Usually it was still being copied. Run again when the copy is "
            "complete."
        )


def chunk_is_complete(entries: Sequence[Entry], writing: Writing) -> bool:
    """Whether all clips of the chunk are here or lost, and a receipt of everything planned of those
    that are here.
    """
    clips, paths = _told_apart(entries)
    lost = _lost_in(entries)
    return all_clips_are_here(entries) and all(
        clip.id in lost or planned(clip, writing) <= paths for clip in clips
    )


def _told_apart(entries: Iterable[Entry]) -> tuple[list[Clip], set[str]]:
    """Clips, each once, and the paths that there is a receipt of."""
    entries = list(entries)
    paths = {entry.path for entry in entries if isinstance(entry, Written)}
    latest = {entry.id: entry for entry in entries if isinstance(entry, Clip)}
    return list(latest.values()), paths


def _lost_in(entries: Iterable[Entry]) -> set[str]:
    return {id for entry in entries if isinstance(entry, Lost) for id in entry.clips}


def all_clips_are_here(entries: Sequence[Entry]) -> bool:
    """Whether there is a clip of each planned clip of their chunk, or word that it is lost."""
    of_chunk = [entry for entry in entries if not isinstance(entry, Written)]
    known = {entry.id for entry in of_chunk if isinstance(entry, Clip)} | _lost_in(of_chunk)
    return bool(of_chunk) and len(known) == of_chunk[0].chunk.num_clips


def video_has_ended(chunks: Sequence[ChunkEnded]) -> bool:
    return len({each.chunk.index for each in chunks}) == chunks[0].chunk.num_chunks


_Collections = tuple[beam.PCollection[Any], ...]
#: What comes of a chunk, and in a stream also that it has ended.
_OfChunk = (
    ChunkClosed
    | TaggedOutput[Literal["failures"], Failure]
    | TaggedOutput[Literal["lost"], ChunkEnded]
)
_OfVideo = (
    VideoClosed | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
)


class CloseChunks(WritingTransform[_Collections, Any]):
    """(Clips, receipts) → ``closed`` chunks. In a stream, (clips, receipts, lost clips), and all
    chunks that have ended → ``lost``.
    """

    def expand(self, inputs: "_Collections") -> Any:
        names = ("Clips", "Receipts", "Lost clips")
        kind = tuple[str, Entry] if self.writing.streams else tuple[str, Clip | Written]
        return (
            [
                each | f"{name} by chunk" >> beam.Map(by_chunk).with_output_types(kind)
                for name, each in zip(names, inputs, strict=False)
            ]
            | "Ledger" >> beam.Flatten()
            | "Wait for the chunk"
            >> Gather(partial(chunk_is_complete, writing=self.writing), self.writing.patience)
            | "Close chunk"
            >> beam.ParDo(_CloseChunk(self.writing)).with_outputs(
                *self.writing.accidents, main="closed"
            )
        )


class CloseVideos(WritingTransform[beam.PCollection[Any], Any]):
    """Closed chunks → ``closed`` videos. In a stream, chunks that have ended, and of a video that
    cannot be closed all that went wrong → ``lost``.
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
                | "Cut by video" >> beam.Map(_by_video).with_output_types(tuple[str, Clip]),
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
        yield from tagged(guarded("CloseVideos", cut[0].video.source, close, partial(ids, cut)))


class _CloseChunk(Writer):
    def process(self, group: tuple[str, Iterable[Entry]]) -> Iterable[_OfChunk]:
        entries = list(group[1])
        of_chunk = [entry for entry in entries if not isinstance(entry, Written)]
        if not of_chunk:
            return
        video, chunk = of_chunk[0].video, of_chunk[0].chunk
        close = partial(close_chunk, entries, self.writing)
        missing = partial(ids, [entry for entry in of_chunk if isinstance(entry, Clip)])
        closed: ChunkClosed | None = None
        failures = [f for entry in of_chunk if isinstance(entry, Lost) for f in entry.failures]
        for outcome in guarded("CloseChunks", video.source, close, missing):
            if isinstance(outcome, ChunkClosed):
                count("clips written", outcome.num_clips)
                closed = outcome
            else:
                failures.append(outcome)
            yield from tagged([outcome])
        if self.writing.streams:
            ended: Any = TaggedOutput(LOST, ChunkEnded(video, chunk, closed, tuple(failures)))
            yield ended


class _CloseVideo(Writer):
    def process(
        self, group: tuple[str, Iterable[ChunkClosed]]
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        chunks = list(group[1])
        yield from tagged(
            guarded(
                "CloseVideos",
                chunks[0].video.source,
                lambda: close_video(chunks, self.writing),
            )
        )


class _EndVideo(Writer):
    """The same in a stream, where chunks come to their end that cannot be closed."""

    def process(self, group: tuple[str, Iterable[ChunkEnded]]) -> Iterable[_OfVideo]:
        # A chunk that was given up ends again when its rest comes after all.
        chunks = list({each.chunk.index: each for each in group[1]}.values())
        video, chunk = chunks[0].video, chunks[0].chunk
        closed = [each.closed for each in chunks if each.closed is not None]
        close = partial(close_video, closed, self.writing)
        outcomes = list(guarded("CloseVideos", video.source, close)) if closed else []
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


class _CloseEmptyVideo(Writer):
    def process(
        self, planned: PlannedChunk
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        yield from tagged(
            guarded(
                "CloseVideos",
                planned.video.source,
                lambda: close_empty_video(planned, self.writing),
            )
        )


def _by_video(one: Clip | ChunkClosed | ChunkEnded) -> tuple[str, Clip | ChunkClosed | ChunkEnded]:
    return one.video.name, one
