"""Leftovers: what earlier runs wrote of a video and this one does not.

They are removed when the new files are complete, before the video's document promises them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from finecut.io.layout import Artefact, chunk_id
from finecut.io.records import Clip, Video
from finecut.io.storage import files as shelf
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.resume.note import read_note
from finecut.transforms.write.writing import Writing, planned


def settle(video: Video, num_chunks: int, writing: Writing) -> None:
    """Remove what earlier runs left of a video that is complete now; its promise comes next."""
    layout, relative = writing.layout, video.source.relative
    note = read_note(relative, writing)
    if writing.dry_run or (not note.old and note.chunks <= max(1, num_chunks)):
        return
    for clip in sorted({*note.old} - {*note.new}):
        _remove(leftovers(clip, writing) | {layout.meta(clip)}, writing)
    for index in range(num_chunks, note.chunks):
        if index:  # also a video without clips has its first chunk's document
            writing.shelf.remove(layout.processed_clip_chunk(relative, index))
    for name in note.names:
        beyond = 0 if name != video.name else num_chunks
        for index in range(beyond, note.chunks):
            _remove(tables(chunk_id(name, index), writing), writing)


def forget_note(video: Video, writing: Writing) -> None:
    """The promise is written: nothing more has to be known.

    A dry run removed nothing, and its documents do not name all that lies there.
    """
    relative = video.source.relative
    if not writing.dry_run or not read_note(relative, writing).old:
        writing.shelf.remove(writing.layout.open_video(relative))


def forget_other_files(clip: Clip, writing: Writing) -> None:
    """Remove what an earlier run wrote of this clip and this run does not."""
    if not clip.chunk.again or writing.dry_run:
        return
    belong = planned(clip, writing)
    if not writing.upload_clips:
        # --no-upload-clips writes no video files, and leaves earlier ones alone.
        belong.add(writing.layout.clip(clip.id, clip.kept))
    _remove(leftovers(clip.id, writing) - belong, writing)


def forget_clip(clip: Clip, writing: Writing) -> None:
    """Remove what an earlier run wrote of a clip that is nowhere now."""
    if clip.chunk.again and not writing.dry_run:
        _remove(leftovers(clip.id, writing) | {writing.layout.meta(clip.id)}, writing)


def forget_other_tables(chunk: str, kept: Iterable[Clip], writing: Writing) -> None:
    """Remove tables of this chunk that no clip of this run has a vector in."""
    if writing.dry_run:
        return
    wanted = {
        writing.layout.embedding_parquet(name, chunk) for clip in kept for name in clip.vectors
    }
    _remove(tables(chunk, writing) - wanted, writing)


def leftovers(clip: str, writing: Writing) -> set[str]:
    """Every file there may be of a clip, besides its document."""
    layout = writing.layout
    layouts = (layout, replace(layout, shard_prefix=not layout.shard_prefix))
    paths = {each.clip(clip, kept) for each in layouts for kept in (True, False)}
    return paths.union(artefacts_there(clip, writing))


def artefacts_there(clip: str, writing: Writing) -> Iterator[str]:
    """Every file there may be that a step made of a clip."""
    for artefact, folder in _folders_of_artefacts(writing):
        if artefact.per == "clip":
            yield writing.layout.below(artefact.path_in(folder, clip))
        elif artefact.per == "window":
            # An earlier run may have had other windows.
            of_clip = writing.layout.below(f"{folder}/{clip}")
            files = shelf.files_in(of_clip)
            yield from files if files and not shelf.is_symlink(of_clip) else ()


def tables(chunk: str, writing: Writing) -> set[str]:
    """Every table there may be of a chunk."""
    return {
        writing.layout.below(artefact.path_in(folder, chunk))
        for artefact, folder in _folders_of_artefacts(writing)
        if artefact.per == "chunk"
    }


def _folders_of_artefacts(writing: Writing) -> Iterator[tuple[Artefact, str]]:
    for path in _folders_of_run(writing.layout.root, writing.shelf.staging):
        folder = path.rsplit("/", 1)[-1]
        yield from ((each, folder) for each in ARTEFACTS if each.lies_in(folder))


@lru_cache(maxsize=8)
def _folders_of_run(root: str, _staging: str) -> tuple[str, ...]:
    """The output's folders; those that come later are this run's own, whose files are planned."""
    return tuple(shelf.folders_in(root))


def _remove(paths: Iterable[str], writing: Writing) -> None:
    for path in sorted(paths):
        writing.shelf.remove(path)
