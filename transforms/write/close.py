"""Closing: the documents that say that a chunk, and at last a video, has been written.

A chunk is closed over the clips of which everything planned has been written; a video only when all
its chunks are closed and no planned clip is missing. So a document under ``processed_videos/``
says that everything of this video has been written, and is withdrawn while that is not true.

    chunk 0 closed   looks for the document of chunk 1: not there yet
    chunk 1 closed   looks for the document of chunk 0: there, and all planned clips are in the two
                     ─▶ the video is closed

Whoever closes the last chunk closes the video, although nobody knows which one is the last: each
writes its own document first, and looks for those of the others then. Of two at the same moment,
both see all of them, and write the same.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from finecut.io.records import Chunk, Clip, Failure, Lost, PlannedChunk, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.summary import Summary
from finecut.io.tables.packs import PackedClip
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.catalogue.chunks import Lying, write_rows
from finecut.transforms.resume.leftovers import (
    forget_clip,
    forget_other_attempts,
    forget_other_tables,
)
from finecut.transforms.resume.note import (
    Open,
    clips_in,
    forget_note,
    is_of,
    made_of,
    read_note,
    settle,
)
from finecut.transforms.write.documents import chunk_document, serialise, video_document
from finecut.transforms.write.failure_lists import own_list
from finecut.transforms.write.sums import of_chunk
from finecut.transforms.write.writing import Entry, Outcome, Writing, planned

#: Videos whose chunks a process remembers having seen: of more, it looks again.
MOST_SEEN: Final = 1000
NOTHING: Final[Mapping[str, PackedClip]] = MappingProxyType({})


@dataclass(frozen=True)
class VideoClosed:
    """Everything of this video is on the shelf."""

    video: Video
    num_clips: int
    path: str
    num_bytes: int


@dataclass(frozen=True)
class ChunkClosed:
    """A chunk is on the shelf: these are its clips, in numbers."""

    video: Video
    chunk: Chunk
    path: str
    num_bytes: int
    summary: Summary
    #: It was the last of its video, which is closed now, too.
    finished: VideoClosed | None = None

    @property
    def num_chunks(self) -> int:
        return self.chunk.num_chunks

    @property
    def num_total_clips(self) -> int:
        return self.chunk.num_total_clips

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


class Seen:
    """The clips of closed chunks, by video and chunk, as far as this process has seen them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._videos: OrderedDict[str, dict[int, frozenset[str]]] = OrderedDict()

    def of(self, video: Video) -> dict[int, frozenset[str]]:
        with self._lock:
            key = _key(video)
            known = self._videos.setdefault(key, {})
            self._videos.move_to_end(key)
            while len(self._videos) > MOST_SEEN:
                self._videos.popitem(last=False)
            return known

    def forget(self, video: Video) -> None:
        with self._lock:
            self._videos.pop(_key(video), None)


def _key(video: Video) -> str:
    """A video that is replaced, while a run watches for that, has other chunks."""
    return f"{made_of(video.source)} {video.name}"


# ── chunks ───────────────────────────────────────────────────────────────────────────────────────


def close_chunk(
    outcomes: Iterable[Outcome], writing: Writing, packed: Mapping[str, PackedClip] = NOTHING
) -> Iterator[ChunkClosed]:
    """Write the chunk's document about the clips of which everything planned was written;
    ``packed``: where they lie in their pack, if they do.
    """
    clips = written_clips(outcomes, writing)
    if not clips:
        return
    chunk, video = clips[0].chunk, clips[0].video
    path = writing.layout.processed_clip_chunk(video.source.relative, chunk.index)
    if chunk.first and not writing.packs:
        forget_other_attempts(clips, writing)
    if not writing.dry_run:
        lying = Lying(writing.upload_clips, packed)
        write_rows(clips, lying, writing)
    size = writing.shelf.write(path, serialise(chunk_document(video, chunk.index, clips)))
    kept = [clip for clip in clips if clip.kept]
    if not writing.packs and (chunk.again or writing.algorithm is not None):
        forget_other_tables(chunk.id, kept, writing)
    yield ChunkClosed(video, chunk, path, size, summary=of_chunk(clips, kept))


def written_clips(outcomes: Iterable[Outcome], writing: Writing) -> list[Clip]:
    """Those that are whole, each once, in the order of the video."""
    outcomes = list(outcomes)
    paths = {path for outcome in outcomes for path in outcome.paths}
    latest = {outcome.clip.id: outcome.clip for outcome in outcomes}
    whole = (clip for clip in latest.values() if planned(clip, writing) <= paths)
    return sorted(whole, key=lambda clip: clip.planned.index)


def chunk_is_complete(entries: Sequence[Entry]) -> bool:
    """Whether the writers are done with all clips of the chunk that are not lost."""
    known = {entry.clip.id for entry in entries if isinstance(entry, Outcome)}
    known |= {id for entry in entries if isinstance(entry, Lost) for id in entry.clips}
    return bool(entries) and len(known) == entries[0].chunk.num_clips


# ── videos ───────────────────────────────────────────────────────────────────────────────────────


def close_last(
    closed: ChunkClosed, ids: Iterable[str], writing: Writing, seen: Seen
) -> Iterator[VideoClosed]:
    """Write the video's document if this was the last of its chunks, as the documents of the others
    and the video's note tell; ``ids`` are the clips in this one.

    Without a note, as of clips that came from elsewhere, nobody knows whether documents that lie
    there are those of now: such a video is closed when all of its chunks have come together.
    """
    video, index, number = closed.video, closed.chunk.index, closed.chunk.num_chunks
    known = seen.of(video)
    known[index] = frozenset(ids)
    # The next one is the first to be missing where chunks come in order.
    for other in (*range(index + 1, number), *range(index)):
        if other not in known:
            document = chunk_at(video, other, writing)
            if document is None:
                return
            known[other] = clips_in(document)
    note = read_note(video.source.relative, writing)
    if not is_of(note, video.source, writing):
        return
    if frozenset[str]().union(*known.values()) != {*note.new}:
        known.clear()  # part of a chunk failed: its document may be another when it is looked at
        return
    seen.forget(video)
    yield write_video_document(video, len(note.new), number, writing=writing, note=note)


def close_video(chunks: Iterable[ChunkClosed], writing: Writing) -> Iterator[VideoClosed]:
    """The video, if nothing of it is missing; its document is written unless one of its chunks has
    done so.
    """
    chunks = list(chunks)
    video, number = chunks[0].video, chunks[0].num_chunks
    for finished in (each.finished for each in chunks):
        if finished is not None:
            yield finished
            return
    counts = {closed.chunk.index: closed.num_clips for closed in chunks}
    if chunks[0].chunk.num_done:
        counts = _counted(video, range(number), writing) | counts
    if len(counts) < number or sum(counts.values()) < chunks[0].num_total_clips:
        return
    note = read_note(video.source.relative, writing)
    yield write_video_document(video, sum(counts.values()), number, writing=writing, note=note)


def close_planned(planned: PlannedChunk, writing: Writing) -> Iterator[VideoClosed]:
    """A video of which nothing is left to be cut is finished: its documents say so.

    It is too short for a clip; or the run that closed its last chunk was killed before it closed
    the video.
    """
    video, number = planned.video, planned.chunk.num_done
    note = read_note(video.source.relative, writing)
    if not number:
        path = writing.layout.processed_clip_chunk(video.source.relative, 0)
        writing.shelf.write(path, serialise(chunk_document(video, 0, [])))
    clips = planned.chunk.num_total_clips if number else 0
    yield write_video_document(video, clips, number, writing=writing, note=note)


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
    chunk = replace(first.chunk, num_done=0)
    yield from close_planned(PlannedChunk(first.video, chunk, ()), writing)


def write_video_document(
    video: Video, num_clips: int, num_chunks: int, *, writing: Writing, note: Open
) -> VideoClosed:
    _refuse_changed(video)
    settle(video, num_chunks, writing, note)
    if writing.streams:
        # What failed before is repaired. (A batch writes one list of all, at its end.)
        writing.shelf.remove(own_list(video.source, writing.layout))
    path = writing.layout.processed_video(video.source.relative)
    data = serialise(video_document(video, num_clips, num_chunks, writing.configuration))
    closed = VideoClosed(video, num_clips, path, writing.shelf.write(path, data))
    forget_note(video, writing, note)
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


def _counted(video: Video, indices: Iterable[int], writing: Writing) -> dict[int, int]:
    """How many clips there are in the chunks that have a document."""
    found = ((index, chunk_at(video, index, writing)) for index in indices)
    return {index: len(clips_in(document)) for index, document in found if document is not None}


def chunk_at(video: Video, index: int, writing: Writing) -> dict[str, Any] | None:
    return usable_json(writing.layout.processed_clip_chunk(video.source.relative, index))


def video_has_ended(chunks: Sequence[ChunkEnded]) -> bool:
    """Whether all chunks of a video have ended that this run works on."""
    chunk = chunks[0].chunk
    return len({each.chunk.index for each in chunks}) == chunk.num_chunks - chunk.num_done
