"""Closing: the documents that say that a chunk, and at last a video, has been written.

A chunk is closed over the clips of which everything planned has a receipt; a video only when all
its chunks are closed and no planned clip is missing. So a document under ``processed_videos/``
says that everything of this video has been written, and is withdrawn while that is not true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Clip, Failure, PlannedChunk, Summary, Video, Written
from finecut.io.storage import files as shelf
from finecut.transforms.beam.gather import Gather
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.resume.note import (
    forget_clip,
    forget_note,
    forget_other_tables,
    settle,
)
from finecut.transforms.write.documents import chunk_document, serialise, video_document
from finecut.transforms.write.writing import (
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


class SourceChanged(Exception):
    """A video is not any more what it was when the work on it began."""


@dataclass(frozen=True)
class VideoClosed:
    """Everything of this video is on the shelf."""

    video: Video
    num_clips: int
    path: str
    num_bytes: int


def close_chunk(
    entries: Iterable[Clip | Written], writing: Writing
) -> Iterator[ChunkClosed | Failure]:
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
        summary=_summary_of(clips, kept),
    )


def _summary_of(clips: Sequence[Clip], kept: Sequence[Clip]) -> Summary:
    """Their part of what a run did."""
    rejected_by = Counter(clip.rejected_by for clip in clips if clip.rejected_by)
    return Summary(
        shots_kept=len(kept),
        shots_rejected=len(clips) - len(kept),
        rejected_by=dict(rejected_by),
        marked=dict(Counter(name for clip in clips if clip.file for name in clip.errors)),
        num_marked=sum(bool(clip.errors) for clip in clips if clip.file),
        seconds_cut=sum(clip.planned.span.length for clip in clips),
        seconds_kept=sum(clip.planned.span.length for clip in kept),
        clip_bytes=sum(clip.file.num_bytes for clip in clips if clip.file),
        frames=sum(clip.file.num_frames for clip in clips if clip.file),
        vectors=dict(Counter(name for clip in kept for name in clip.vectors)),
        captions=dict(
            Counter(
                told.status
                for clip in kept
                for window in clip.windows
                for told in window.outcomes.values()
            )
        ),
        seconds_rejected={
            rule: sum(clip.planned.span.length for clip in clips if clip.rejected_by == rule)
            for rule in rejected_by
        },
        models={
            name: f"{used.name}@{used.revision}" if used.revision else used.name
            for clip in clips
            for name, used in clip.models.items()
        },
        transcoded=dict(
            Counter(
                clip.file.transcoded.how for clip in clips if clip.file and clip.file.transcoded
            )
        ),
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
    path = writing.layout.processed_video(video.source.relative)
    data = serialise(video_document(video, num_clips, num_chunks, writing.configuration))
    closed = VideoClosed(video, num_clips, path, writing.shelf.write(path, data))
    forget_note(video, writing)
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


def chunk_is_complete(entries: Iterable[Clip | Written], writing: Writing) -> bool:
    """Whether all clips of the chunk are here, and a receipt of everything planned of them."""
    clips, paths = _told_apart(entries)
    latest = {clip.id: clip for clip in clips}.values()
    return all_clips_are_here(clips) and all(planned(clip, writing) <= paths for clip in latest)


def _told_apart(entries: Iterable[Clip | Written]) -> tuple[list[Clip], set[str]]:
    """Clips, and the paths that there is a receipt of."""
    entries = list(entries)
    paths = {entry.path for entry in entries if isinstance(entry, Written)}
    return [entry for entry in entries if isinstance(entry, Clip)], paths


def all_clips_are_here(clips: Sequence[Clip]) -> bool:
    """Whether these are the clips of all planned clips of their chunk."""
    return bool(clips) and len({clip.id for clip in clips}) == clips[0].chunk.num_clips


def video_is_complete(chunks: Sequence[ChunkClosed]) -> bool:
    return len({chunk.path for chunk in chunks}) == chunks[0].num_chunks


_LedgerAndReceipts = tuple[beam.PCollection[Clip], beam.PCollection[Written]]


class CloseChunks(WritingTransform[_LedgerAndReceipts, Any]):
    """(Clips, receipts) → ``closed`` chunks."""

    def expand(self, inputs: "_LedgerAndReceipts") -> Any:
        ledger, receipts = inputs
        entry = tuple[str, Clip | Written]
        return (
            (
                ledger | "Clips by chunk" >> beam.Map(by_chunk).with_output_types(entry),
                receipts | "Receipts by chunk" >> beam.Map(by_chunk).with_output_types(entry),
            )
            | "Ledger" >> beam.Flatten()
            | "Wait for the chunk"
            >> Gather(partial(chunk_is_complete, writing=self.writing), self.writing.patience)
            | "Close chunk"
            >> beam.ParDo(_CloseChunk(self.writing)).with_outputs(FAILURES, main="closed")
        )


class CloseVideos(WritingTransform[beam.PCollection[ChunkClosed], Any]):
    """Closed chunks → ``closed`` videos."""

    def expand(self, chunks: beam.PCollection[ChunkClosed]) -> Any:
        return (
            chunks
            | "By video" >> beam.Map(_by_video).with_output_types(tuple[str, ChunkClosed])
            | "Wait for the video" >> Gather(video_is_complete, self.writing.patience)
            | "Close video"
            >> beam.ParDo(_CloseVideo(self.writing)).with_outputs(FAILURES, main="closed")
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
    def process(
        self, group: tuple[str, Iterable[Clip | Written]]
    ) -> Iterable[ChunkClosed | TaggedOutput[Literal["failures"], Failure]]:
        entries = list(group[1])
        clips = [entry for entry in entries if isinstance(entry, Clip)]
        if not clips:
            return
        for closed in guarded(
            "CloseChunks",
            clips[0].video.source,
            lambda: close_chunk(entries, self.writing),
            partial(ids, clips),
        ):
            if isinstance(closed, ChunkClosed):
                count("clips written", closed.num_clips)
            yield from tagged([closed])


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


def _by_video(one: Clip | ChunkClosed) -> tuple[str, Clip | ChunkClosed]:
    return one.video.name, one
