"""Writing: clips that are staged become a dataset on the shelf, in an order that is a promise.

    Clip ─┬─ clips ──────▶ PublishClips      clips/ or filtered_clips/
          ├─ previews ───▶ PublishPreviews   previews/          ─┐
          ├─ metas ──────▶ WriteMetas        metas/v0/           ├─▶ CloseChunks ──▶ CloseVideos
          └─ embeddings ─▶ WriteVectors      ce1_embd/           │   processed_      processed_
                      └──▶ WriteParquet      ce1_embd_parquet/  ─┘   clip_chunks/    videos/

A chunk is closed when everything planned of its clips has been written; a video is closed when
all its chunks are and none of its shots was lost. So a document under ``processed_videos/`` says
that everything of this video is on the shelf.

:class:`WriteClips` works on any PCollection of Clips, wherever they come from::

    written = clips | WriteClips(Writing(Layout("/out"), Shelf("/out", "/out/.staging/mine")))
    written.metas | ...     # what was written, as Written records
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import Layout
from finecut.io.parquet import embedding_pickle, embedding_table
from finecut.io.records import Clip, Failure, Reel, Source, Video, Written
from finecut.io.shelf import Shelf
from finecut.transforms.documents import (
    chunk_document,
    clip_document,
    serialise,
    video_document,
)
from finecut.transforms.guard import FAILURES, guarded
from finecut.transforms.parallel import Write, WriteInParallel
from finecut.transforms.tally import count

CLIPS: Final = "clips"
PREVIEWS: Final = "previews"
METAS: Final = "metas"
EMBEDDINGS: Final = "embeddings"


@dataclass(frozen=True)
class Writing:
    """Where and how much is written."""

    layout: Layout
    shelf: Shelf
    #: ``False``: everything but the clips' own files.
    upload_clips: bool = True
    #: Only the documents of chunks and videos, as the reference does.
    dry_run: bool = False
    threads: int = 6


@dataclass(frozen=True)
class ChunkClosed:
    """A chunk is on the shelf: these are its clips, in numbers."""

    video: Video
    num_chunks: int
    num_total_shots: int
    num_kept: int
    num_rejected: int
    seconds_kept: float
    clip_bytes: int
    frames: int
    path: str
    num_bytes: int


@dataclass(frozen=True)
class VideoClosed:
    """Everything of this video is on the shelf."""

    video: Video
    num_clips: int
    path: str
    num_bytes: int


_LedgerAndReceipts = tuple[beam.PCollection[Clip], beam.PCollection[Written]]


class WrittenClips(NamedTuple):
    """What :class:`WriteClips` gives back: receipts of every branch, and what went wrong."""

    clips: beam.PCollection[Written]
    previews: beam.PCollection[Written]
    metas: beam.PCollection[Written]
    embeddings: beam.PCollection[Written]
    chunks: beam.PCollection[ChunkClosed]
    videos: beam.PCollection[VideoClosed]
    failures: beam.PCollection[Failure]


# What is planned of one clip: pure text, so that "written" can be checked against it.


def planned(clip: Clip, writing: Writing) -> set[str]:
    """Every path that has to exist before this clip counts as written."""
    if writing.dry_run:
        return set()
    layout = writing.layout
    paths = {layout.meta(clip.id)}
    if writing.upload_clips and clip.staged is not None:
        paths.add(layout.clip(clip.id, clip.kept))
    if clip.kept:
        paths |= {
            layout.preview(clip.id, window.start_frame, window.end_frame)
            for window in clip.windows
            if window.preview
        }
        for algorithm in clip.vectors:
            paths.add(layout.embedding(algorithm, clip.id))
            paths.add(layout.embedding_parquet(algorithm, clip.chunk.id))
    return paths


# The small writers, each a function of one clip.


def publish_clip(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Move the clip's file to its final name, or drop it when files are not wanted."""
    if clip.staged is None or clip.file is None:
        return
    if writing.dry_run or not writing.upload_clips:
        _drop(clip.staged, writing)
        return
    path = writing.layout.clip(clip.id, clip.kept)
    size = writing.shelf.publish(clip.staged, path, clip.file.num_bytes)
    yield Written(CLIPS, clip.id, clip.chunk.id, path, size)


def publish_previews(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Move the staged preview of every window to its final name."""
    for window in clip.windows:
        if window.preview is None:
            continue
        if writing.dry_run or not clip.kept:
            _drop(window.preview, writing)
            continue
        path = writing.layout.preview(clip.id, window.start_frame, window.end_frame)
        yield Written(
            PREVIEWS, clip.id, clip.chunk.id, path, writing.shelf.publish(window.preview, path)
        )


def write_meta(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Write what is known of the clip."""
    if not writing.dry_run:
        path = writing.layout.meta(clip.id)
        data = serialise(clip_document(clip, writing.layout))
        yield Written(METAS, clip.id, clip.chunk.id, path, writing.shelf.write(path, data))


def write_vectors(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Write the clip's vectors, one pickle each."""
    if writing.dry_run or not clip.kept:
        return
    for algorithm, vector in clip.vectors.items():
        path = writing.layout.embedding(algorithm, clip.id)
        size = writing.shelf.write(path, embedding_pickle(vector))
        yield Written(EMBEDDINGS, clip.id, clip.chunk.id, path, size)


def tables_of(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """The kept clips each algorithm has a vector of, in the order of their shots."""
    ordered = sorted((clip for clip in clips if clip.kept), key=lambda clip: clip.shot.index)
    algorithms = sorted({name for clip in ordered for name in clip.vectors})
    return {name: [clip for clip in ordered if name in clip.vectors] for name in algorithms}


def write_parquet(
    chunk: str, algorithm: str, clips: Iterable[Clip], writing: Writing
) -> Iterator[Written]:
    """Write one algorithm's vectors of one chunk as one Parquet file."""
    if not writing.dry_run:
        path = writing.layout.embedding_parquet(algorithm, chunk)
        rows = [(clip.id, clip.vectors[algorithm]) for clip in clips]
        size = writing.shelf.write(path, embedding_table(rows))
        yield Written(EMBEDDINGS, chunk, chunk, path, size)


def close_chunk(
    entries: Iterable[Clip | Written], writing: Writing
) -> Iterator[ChunkClosed | Failure]:
    """Write the chunk's document about the clips of which everything planned was written."""
    entries = list(entries)
    paths = {entry.path for entry in entries if isinstance(entry, Written)}
    clips = sorted(
        (
            entry
            for entry in entries
            if isinstance(entry, Clip) and planned(entry, writing) <= paths
        ),
        key=lambda clip: clip.shot.index,
    )
    if not clips:
        return
    chunk, video = clips[0].chunk, clips[0].video
    path = writing.layout.processed_clip_chunk(video.source.relative, chunk.index)
    size = writing.shelf.write(path, serialise(chunk_document(video, chunk.index, clips)))
    kept = [clip for clip in clips if clip.kept]
    yield ChunkClosed(
        video=video,
        num_chunks=chunk.num_chunks,
        num_total_shots=chunk.num_total_shots,
        num_kept=len(kept),
        num_rejected=len(clips) - len(kept),
        seconds_kept=sum(clip.shot.span.length for clip in kept),
        clip_bytes=sum(clip.file.num_bytes for clip in clips if clip.file),
        frames=sum(clip.file.num_frames for clip in clips if clip.file),
        path=path,
        num_bytes=size,
    )


def close_video(chunks: Iterable[ChunkClosed], writing: Writing) -> Iterator[VideoClosed]:
    """Write the video's document, if nothing of the video is missing."""
    chunks = list(chunks)
    first = chunks[0]
    num_clips = sum(chunk.num_kept + chunk.num_rejected for chunk in chunks)
    if len(chunks) < first.num_chunks or num_clips < first.num_total_shots:
        return
    yield _write_video_document(first.video, num_clips, first.num_chunks, writing)


def withdraw(source: Source, writing: Writing) -> Source:
    """Remove the document an earlier run wrote about this video."""
    # What cannot be removed cannot be replaced either: closing the video will fail, and say so.
    with contextlib.suppress(OSError, ValueError):
        writing.shelf.remove(writing.layout.processed_video(source.relative))
    return source


def close_empty_video(reel: Reel, writing: Writing) -> Iterator[VideoClosed]:
    """A video too short for a clip is finished too: both its documents say so."""
    relative = reel.video.source.relative
    path = writing.layout.processed_clip_chunk(relative, 0)
    writing.shelf.write(path, serialise(chunk_document(reel.video, 0, [])))
    yield _write_video_document(reel.video, 0, 0, writing)


def _write_video_document(
    video: Video, num_clips: int, num_chunks: int, writing: Writing
) -> VideoClosed:
    path = writing.layout.processed_video(video.source.relative)
    data = serialise(video_document(video, num_clips, num_chunks))
    return VideoClosed(video, num_clips, path, writing.shelf.write(path, data))


def _drop(staged: str, writing: Writing) -> None:
    """Remove a staged file nobody wants; if that fails, the sweep at the end removes it."""
    with contextlib.suppress(OSError):
        writing.shelf.remove(staged)


# The transforms of the same names.


class WriteClips(beam.PTransform[beam.PCollection[Clip], WrittenClips]):
    """Clips → :class:`WrittenClips`."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, clips: beam.PCollection[Clip]) -> "WrittenClips":
        writing = self.writing
        branch = clips | "Sort into branches" >> beam.ParDo(_Sort()).with_outputs(
            CLIPS, PREVIEWS, METAS, EMBEDDINGS, main="ledger"
        )
        published = branch[CLIPS] | PublishClips(writing)
        previews = branch[PREVIEWS] | PublishPreviews(writing)
        metas = branch[METAS] | WriteMetas(writing)
        vectors = branch[EMBEDDINGS] | WriteVectors(writing)
        tables = branch[EMBEDDINGS] | WriteParquet(writing)
        steps = [published, previews, metas, vectors, tables]
        receipts = [step.written for step in steps] | "Receipts" >> beam.Flatten()
        chunks = (branch.ledger, receipts) | CloseChunks(writing)
        videos = chunks.closed | CloseVideos(writing)
        failures = [step[FAILURES] for step in (*steps, chunks, videos)]
        return WrittenClips(
            clips=published.written,
            previews=previews.written,
            metas=metas.written,
            embeddings=[vectors.written, tables.written] | "All vectors" >> beam.Flatten(),
            chunks=chunks.closed,
            videos=videos.closed,
            failures=failures | "Failures" >> beam.Flatten(),
        )


class _WriteEach(beam.PTransform[beam.PCollection[Clip], Any]):
    """Clip → ``written``, ``failures``: the wiring all small writers share."""

    write: Any

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, clips: beam.PCollection[Clip]) -> Any:
        step = self.default_label()
        write: Write = partial(type(self).write, writing=self.writing)
        return clips | step >> beam.ParDo(
            WriteInParallel(step, write, self.writing.threads)
        ).with_outputs(FAILURES, main="written")


class PublishClips(_WriteEach):
    """Clip → its file under ``clips/`` or ``filtered_clips/``."""

    write = staticmethod(publish_clip)


class PublishPreviews(_WriteEach):
    """Clip → the previews of its windows."""

    write = staticmethod(publish_previews)


class WriteMetas(_WriteEach):
    """Clip → its document."""

    write = staticmethod(write_meta)


class WriteVectors(_WriteEach):
    """Clip → a pickle for each of its vectors."""

    write = staticmethod(write_vectors)


class WriteParquet(beam.PTransform[beam.PCollection[Clip], Any]):
    """Clips → one Parquet file per chunk key (and algorithm)."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, clips: beam.PCollection[Clip]) -> Any:
        return (
            clips
            | "By chunk" >> beam.Map(_by_chunk).with_output_types(tuple[str, Clip])
            | "Gather vectors" >> beam.GroupByKey()
            | "Write table"
            >> beam.ParDo(_WriteParquet(self.writing)).with_outputs(FAILURES, main="written")
        )


class CloseChunks(beam.PTransform[_LedgerAndReceipts, Any]):
    """(Clips, receipts) → ``closed`` chunks."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, inputs: "_LedgerAndReceipts") -> Any:
        ledger, receipts = inputs
        entry = tuple[str, Clip | Written]
        return (
            (
                ledger | "Clips by chunk" >> beam.Map(_by_chunk).with_output_types(entry),
                receipts | "Receipts by chunk" >> beam.Map(_by_chunk).with_output_types(entry),
            )
            | "Ledger" >> beam.Flatten()
            | "Wait for the chunk" >> beam.GroupByKey()
            | "Close chunk"
            >> beam.ParDo(_CloseChunk(self.writing)).with_outputs(FAILURES, main="closed")
        )


class CloseVideos(beam.PTransform[beam.PCollection[ChunkClosed], Any]):
    """Closed chunks → ``closed`` videos."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, chunks: beam.PCollection[ChunkClosed]) -> Any:
        return (
            chunks
            | "By video" >> beam.Map(_by_video).with_output_types(tuple[str, ChunkClosed])
            | "Wait for the video" >> beam.GroupByKey()
            | "Close video"
            >> beam.ParDo(_CloseVideo(self.writing)).with_outputs(FAILURES, main="closed")
        )


class WithdrawPromises(beam.PTransform[beam.PCollection[Source], beam.PCollection[Source]]):
    """Sources → the same, after the documents of earlier runs that say they are finished are gone.

    From the moment a video is worked on again until all of it is written, nothing may say that
    everything of it is on the shelf.
    """

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[Source]:
        return sources | "Withdraw" >> beam.Map(withdraw, writing=self.writing).with_output_types(
            Source
        )


class CloseEmptyVideos(beam.PTransform[beam.PCollection[Reel], Any]):
    """Reels without shots → ``closed`` videos."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing

    def expand(self, reels: beam.PCollection[Reel]) -> Any:
        return reels | "Close empty video" >> beam.ParDo(
            _CloseEmptyVideo(self.writing)
        ).with_outputs(FAILURES, main="closed")


class _Sort(beam.DoFn):
    """Deals a clip to the branches that have something to write of it."""

    def process(
        self, clip: Clip
    ) -> Iterable[
        Clip
        | TaggedOutput[Literal["clips"], Clip]
        | TaggedOutput[Literal["previews"], Clip]
        | TaggedOutput[Literal["metas"], Clip]
        | TaggedOutput[Literal["embeddings"], Clip]
    ]:
        yield from _sorted_into(clip)


class _Writer(beam.DoFn):
    """What the DoFns of this file have in common: they know where to write."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing


class _WriteParquet(_Writer):
    def process(
        self, group: tuple[str, Iterable[Clip]]
    ) -> Iterable[Written | TaggedOutput[Literal["failures"], Failure]]:
        chunk, everything = group
        for algorithm, clips in tables_of(everything).items():
            yield from _tagged(
                guarded(
                    "WriteParquet",
                    clips[0].video.source,
                    partial(write_parquet, chunk, algorithm, clips, self.writing),
                    partial(_ids, clips),
                )
            )


class _CloseChunk(_Writer):
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
            partial(_ids, clips),
        ):
            if isinstance(closed, ChunkClosed):
                count("clips written", closed.num_kept + closed.num_rejected)
            yield from _tagged([closed])


class _CloseVideo(_Writer):
    def process(
        self, group: tuple[str, Iterable[ChunkClosed]]
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        chunks = list(group[1])
        yield from _tagged(
            guarded(
                "CloseVideos",
                chunks[0].video.source,
                lambda: close_video(chunks, self.writing),
            )
        )


class _CloseEmptyVideo(_Writer):
    def process(
        self, reel: Reel
    ) -> Iterable[VideoClosed | TaggedOutput[Literal["failures"], Failure]]:
        yield from _tagged(
            guarded("CloseVideos", reel.video.source, lambda: close_empty_video(reel, self.writing))
        )


def _tagged(outcomes: Iterable[Any]) -> Iterator[Any]:
    for outcome in outcomes:
        yield TaggedOutput(FAILURES, outcome) if isinstance(outcome, Failure) else outcome


def _sorted_into(clip: Clip) -> Iterator[Any]:
    if clip.staged is not None:
        yield TaggedOutput(CLIPS, clip)
    if any(window.preview for window in clip.windows):
        yield TaggedOutput(PREVIEWS, clip)
    yield TaggedOutput(METAS, clip)
    if clip.vectors:
        yield TaggedOutput(EMBEDDINGS, clip)
    yield clip


def _ids(clips: Iterable[Clip]) -> list[str]:
    return [clip.id for clip in clips]


def _by_chunk(entry: Clip | Written) -> tuple[str, Clip | Written]:
    return (entry.chunk.id if isinstance(entry, Clip) else entry.chunk), entry


def _by_video(chunk: ChunkClosed) -> tuple[str, ChunkClosed]:
    return chunk.video.name, chunk
