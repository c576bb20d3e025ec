"""The note of a video that is worked on: what lies there of it, and what is to come.

``.finecut/open/<video>.json`` is written before the promise of an earlier run is withdrawn, and
removed when the video's own document is there again (see :mod:`videos`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finecut.io.layout import is_clip_id
from finecut.io.records import PlannedChunk, Source, Video
from finecut.io.storage.json_documents import BadDocument, read_json, usable_json
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.write.documents import CONFIGURATION, serialise
from finecut.transforms.write.writing import Writing

#: More chunks than this a document cannot mean: a day of film in chunks of a second.
MOST_CHUNKS = 100_000


class OtherVideo(Exception):
    """Documents of another video lie where those of this one are to be written."""


@dataclass(frozen=True)
class Again:
    """When a video is worked on although an earlier run has done so."""

    overwrite: bool = False
    #: Failures after which a video is set aside; 0: never.
    most_attempts: int = 0


@dataclass(frozen=True)
class Open:
    """What is known of a video while it is worked on."""

    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    #: Chunks there may be documents and tables of, old ones and new ones.
    chunks: int = 0
    #: By what name its chunks were keyed.
    names: tuple[str, ...] = ()
    #: How all was made that lies there; nothing where that is not known, or in several ways.
    configuration: str = ""


def open_video(
    chunks: Sequence[PlannedChunk], writing: Writing, again: Again
) -> list[PlannedChunk]:
    """Note what lies there and what is to come, and withdraw the promise of an earlier run."""
    video = chunks[0].video
    layout, relative = writing.layout, video.source.relative
    old = _left_by_earlier_runs(video, writing)
    if not again.overwrite:
        refuse_others(old.names, video.source, writing)
    new = tuple(sorted(clip.id for planned in chunks for clip in planned.clips))
    alike = not old.chunks or old.configuration == writing.configuration
    note = Open(
        old=old.old,
        new=new,
        chunks=max(old.chunks, len(chunks)),
        names=(*old.names, video.name),
        configuration=writing.configuration if alike else "",
    )
    writing.shelf.write(layout.open_video(relative), serialise(vars(note)))
    if not again.overwrite:
        # Another run may have begun with a video of the same path at the same moment.
        refuse_others(read_note(relative, writing).names, video.source, writing)
    writing.shelf.remove(layout.processed_video(relative))
    if not old.chunks:
        return list(chunks)
    return [replace(planned, chunk=replace(planned.chunk, again=True)) for planned in chunks]


def _left_by_earlier_runs(video: Video, writing: Writing) -> Open:
    layout, relative = writing.layout, video.source.relative
    note = read_note(relative, writing)
    clips = {*note.old, *note.new}
    names = set(note.names)
    document = usable_json(layout.processed_video(relative)) or {}
    least = max(note.chunks, _number(document.get("num_clip_chunks")))
    index = 0
    # Beyond what is promised, until there are no more.
    while said := read_or_report(layout.processed_clip_chunk(relative, index)) or index < least:
        if isinstance(said, dict):
            clips.update(_ids(said.get("clips")), _ids(said.get("filtered_clips")))
            names.update(named_in(said))
        index += 1
    return Open(
        old=tuple(sorted(clips)),
        chunks=index,
        names=tuple(sorted(names - {video.name})),
        configuration=str(document.get(CONFIGURATION) or note.configuration),
    )


def read_note(relative: str, writing: Writing) -> Open:
    """What is known of a video that is not finished."""
    said = read_or_report(writing.layout.open_video(relative)) or {}
    names, made = said.get("names"), said.get(CONFIGURATION)
    return Open(
        old=_ids(said.get("old")),
        new=_ids(said.get("new")),
        chunks=_number(said.get("chunks")),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
        configuration=made if isinstance(made, str) else "",
    )


def named_in(document: dict[str, Any]) -> set[str]:
    """Which video a document is about, if it says so."""
    name = document.get("video")
    return {name} if isinstance(name, str) else set()


def _ids(said: Any) -> tuple[str, ...]:
    """Ids of clips among what a document says. Files are removed by them: nothing else passes."""
    return tuple(filter(is_clip_id, said)) if isinstance(said, list) else ()


def _number(said: Any) -> int:
    """A number of chunks, as far as it can be one."""
    return said if type(said) is int and 0 < said <= MOST_CHUNKS else 0


def read_or_report(path: str) -> dict[str, Any] | None:
    """What a document says; a bad one is named, since what it promised is made again."""
    try:
        return read_json(path)
    except BadDocument as error:
        report_bad(error)
        return None


def report_bad(wrong: object) -> None:
    count("bad documents")
    LOG.error("%s: it is treated as missing, and its video is processed again", wrong)


def refuse_others(names: Iterable[str], source: Source, writing: Writing) -> None:
    """Documents are named by the path below the input; two inputs may have the same ones."""
    others = sorted({*names} - {source.name})
    if others:
        raise OtherVideo(
            f"{writing.layout.processed_video(source.relative)} is about another video, "
            f"{others[0]!r}. Usually two folders are written to one output, or the source videos "
            "were moved: write each folder to a separate output, give --named-as with the folder "
            "where the videos were before, or replace the old results with --overwrite."
        )
