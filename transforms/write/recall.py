"""Recalling: what was cut for machines of another kind is not cut again.

    a chunk that is cut ─▶ its record ─▶ files under their final names ─▶ the record: they lie there

    .finecut/cut/<video>_<chunk>.json   its clips as they are, whatever becomes of the job

A clip gets its final name only when the record knows it. So whenever a job or a worker is killed,
whatever clip lies under its final name is known, and who comes next reads it instead of cutting it:
the next run, and in the same one a worker that does a bundle again. Only clips that do not lie
there are cut; then the chunk is handed over in two pieces, and closed when both have come.

While files are given their names, nobody knows how far that has come, and an older file may lie
under such a name. Until the record says that it is done, a file is taken only if its bytes are
those that were cut.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import CODING, Clip, PlannedChunk, Source, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.transforms.beam.gather import Waiting
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.resume.note import made_of
from finecut.transforms.write.writing import Writer, Writing, WritingTransform

#: Tag of clips that were cut before.
RECALLED: Final = "recalled"
#: Bytes of a file that are read together.
AT_ONCE: Final = 1 << 20


@dataclass(frozen=True)
class Handed:
    """Clips of one chunk, as they were cut and judged."""

    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Record:
    """What is known of the clips of a chunk that were cut."""

    #: With which options, and of which version of the source.
    made: tuple[str, str]
    clips: tuple[Clip, ...]
    #: Those that have their final names for sure.
    lying: tuple[str, ...] = ()


# ── noting ───────────────────────────────────────────────────────────────────────────────────────


def note_cut(clips: Iterable[Clip], writing: Writing) -> None:
    """Note clips of one chunk that were cut, before their files are given their final names."""
    if writing.dry_run:
        return
    _note([_as_it_will_lie(clip, writing) for clip in clips if _is_to_lie(clip, writing)], writing)


def note_lying(clips: Iterable[Clip], writing: Writing) -> None:
    """Note which of them have got their names."""
    if not writing.dry_run:
        _note([clip for clip in clips if _lies(clip, writing)], writing, lie=True)


def _note(clips: list[Clip], writing: Writing, lie: bool = False) -> None:
    if not clips:
        return
    chunk, source = clips[0].chunk, clips[0].video.source
    path = writing.layout.cut_chunk(source.relative, chunk.index)
    made = (writing.configuration, made_of(source))
    new = Record(made, tuple(clips), tuple(clip.id for clip in clips) if lie else ())
    if len(clips) == chunk.num_clips:
        wrong = attempted(lambda: writing.shelf.write(path, _packed(new)))
    else:  # others have the rest
        wrong = attempted(lambda: writing.shelf.update(path, partial(_with, new)))
    if isinstance(wrong, Exception):
        LOG.error("%s: %s. If the run is stopped, its chunk is cut again", path, wrong)


def _with(new: Record, there: bytes) -> bytes:
    """The record with these clips, and with the others that it has."""
    old = attempted(lambda: _unpacked(there)) if there else None
    if not isinstance(old, Record) or old.made != new.made:
        return _packed(new)
    ids = {clip.id for clip in new.clips}
    clips = (*(clip for clip in old.clips if clip.id not in ids), *new.clips)
    lying = (*(id for id in old.lying if id not in ids), *new.lying)
    ordered = sorted(clips, key=lambda clip: clip.planned.index)
    return _packed(replace(new, clips=tuple(ordered), lying=tuple(sorted(lying))))


def _packed(record: Record) -> bytes:
    return to_json(record).encode(*CODING)


def _unpacked(data: bytes) -> Record:
    return from_json(Record, data.decode(*CODING))


def _is_to_lie(clip: Clip, writing: Writing) -> bool:
    return clip.staged is None or writing.upload_clips


def _as_it_will_lie(clip: Clip, writing: Writing) -> Clip:
    staged = None if clip.staged is None else writing.layout.clip(clip.id, clip.kept)
    return clip.replace(staged=staged)


def _lies(clip: Clip, writing: Writing) -> bool:
    """Whether its file lies where the run's end does not remove it."""
    return bool(clip.written) or _as_it_will_lie(clip, writing).staged == clip.staged


# ── recalling ────────────────────────────────────────────────────────────────────────────────────


def recalled(planned: PlannedChunk, writing: Writing) -> tuple[Clip, ...]:
    """The clips of this chunk that were cut, and whose files are there."""
    source = planned.video.source
    record = _read(source, planned.chunk.index, writing) if planned.clips else None
    if record is None:
        return ()
    decided, lying = {clip.id: clip for clip in planned.clips}, frozenset(record.lying)
    found = (_found(clip, clip.id in lying, writing) for clip in record.clips if clip.id in decided)
    return tuple(
        clip.replace(video=planned.video, chunk=planned.chunk, planned=decided[clip.id])
        for clip in found
        if clip is not None
    )


def _read(source: Source, chunk: int, writing: Writing) -> Record | None:
    """The record of a chunk, if this run would make the same."""
    made = (writing.configuration, made_of(source))
    path = writing.layout.cut_chunk(source.relative, chunk)
    data = shelf.read_if_there(path) if all(made) else None
    if data is None:
        return None
    record = attempted(lambda: _unpacked(data))
    if isinstance(record, Exception):
        LOG.error("%s is damaged (%s): its chunk is cut again", path, record)
        return None
    return record if record.made == made else None


def _found(clip: Clip, lies: bool, writing: Writing) -> Clip | None:
    """The clip with its file where that is now: a model may have rejected it before the kill."""
    if clip.written:
        paths = {writing.layout.clip(clip.id, clip.kept), writing.layout.meta(clip.id)}
        if {*clip.written} == paths and all(map(shelf.exists, paths)):
            return clip
        clip = clip.replace(written=())
    if clip.staged is None:
        return clip
    places = (writing.layout.clip(clip.id, kept) for kept in (True, False))
    is_there = shelf.exists if lies else partial(_holds, clip)
    staged = next((path for path in places if is_there(path)), None)
    return None if staged is None else clip.replace(staged=staged)


def _holds(clip: Clip, path: str) -> bool:
    """Whether the bytes of this clip lie there."""
    with contextlib.suppress(FileNotFoundError):
        if clip.file is not None and shelf.size_of(path) == clip.file.num_bytes:
            digest = hashlib.sha256()
            with shelf.open_file(path) as file:
                while data := file.read(AT_ONCE):
                    digest.update(data)
            return digest.hexdigest() == clip.file.sha256
    return False


class Recall(WritingTransform[beam.PCollection[PlannedChunk], Any]):
    """Chunk → ``to_cut``, with the clips that are to be cut; and those that were → ``recalled``."""

    def expand(self, chunks: beam.PCollection[PlannedChunk]) -> Any:
        return chunks | "Read records" >> beam.ParDo(_Recall(self.writing)).with_outputs(
            RECALLED, main="to_cut"
        )


class _Recall(Writer):
    def process(
        self, planned: PlannedChunk
    ) -> Iterable[PlannedChunk | TaggedOutput[Literal["recalled"], Waiting]]:
        found = attempted(lambda: recalled(planned, self.writing))
        clips = () if isinstance(found, Exception) else found
        if clips:
            item: Any = TaggedOutput(RECALLED, Waiting(Handed(clips)))
            yield item
        ids = {clip.id for clip in clips}
        left = tuple(clip for clip in planned.clips if clip.id not in ids)
        if left or not planned.clips:
            yield replace(planned, clips=left)
