"""What earlier runs, or other attempts of this one, may have left of clips that a run writes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from finecut.io.layout import Artefact
from finecut.io.records import Clip
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.forget.tombstones import of_run
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.write.writing import Writing, planned


def forget_other_files(clip: Clip, writing: Writing) -> None:
    """Remove what an earlier run wrote of this clip and this run does not."""
    if not clip.chunk.again or writing.dry_run:
        return
    belong = planned(clip, writing)
    if not writing.upload_clips:
        # --no-upload-clips writes no video files, and leaves earlier ones alone.
        belong.add(writing.layout.clip(clip.id, clip.kept))
    there = leftovers(clip.id, writing, clip.chunk.told)
    if not clip.kept:  # by another attempt of this run, of which no document tells
        there.update(map(writing.layout.below, _artefacts_of(clip)))
    remove_all(there - belong, writing)


def forget_other_attempts(clips: Iterable[Clip], writing: Writing) -> None:
    """Remove what another attempt of this run may have written of clips that it judged otherwise,
    because a model does not always say the same; of all clips of a chunk in one request.
    """
    layout, algorithm = writing.layout, writing.algorithm
    paths = {layout.clip(clip.id, not clip.kept) for clip in clips}
    for clip in clips:
        if algorithm is not None and not (clip.kept and algorithm in clip.vectors):
            paths.add(layout.embedding(algorithm, clip.id))
        if not clip.kept:
            paths.update(map(layout.below, _artefacts_of(clip)))
    if not writing.dry_run:
        writing.shelf.remove(*sorted(paths))


def _artefacts_of(clip: Clip) -> Iterator[str]:
    """What steps make of a clip that is kept, by paths below the output."""
    for artefact in ARTEFACTS:
        if artefact.per == "clip" and "*" not in artefact.folder:
            yield artefact.path(clip.id)
        elif artefact.per == "window":
            yield from (
                artefact.path(clip.id, each.start_frame, each.end_frame) for each in clip.windows
            )


def forget_clip(clip: Clip, writing: Writing) -> None:
    """Remove what an earlier run wrote of a clip that is nowhere now."""
    if clip.chunk.again and not writing.dry_run:
        remove_all(all_of(clip.id, writing, clip.chunk.told), writing)


def forget_other_tables(chunk: str, kept: Iterable[Clip], writing: Writing) -> None:
    """Remove tables of this chunk that no clip of this run has a vector in."""
    if writing.dry_run:
        return
    wanted = {
        writing.layout.embedding_parquet(name, chunk) for clip in kept for name in clip.vectors
    }
    remove_all(tables(chunk, writing) - wanted, writing)


def all_of(clip: str, writing: Writing, told: bool = False) -> set[str]:
    """Every file there may be of a clip: none where it lies in the pack of its chunk."""
    if writing.layout.packed:
        return set()
    return leftovers(clip, writing, told) | {writing.layout.meta(clip)}


def leftovers(clip: str, writing: Writing, told: bool = False) -> set[str]:
    """Every file there may be of a clip, besides its document."""
    layout = writing.layout
    layouts = (layout, replace(layout, shard_prefix=not layout.shard_prefix))
    paths = {each.clip(clip, kept) for each in layouts for kept in (True, False)}
    return paths.union(artefacts_there(clip, writing, told))


def artefacts_there(clip: str, writing: Writing, told: bool = False) -> Iterator[str]:
    """Every file there may be that a step made of a clip.

    ``told``: its document says of which windows, if it has one. Else, what an earlier run had for
    windows has to be listed.
    """
    folders = list(_folders_of_artefacts(writing))
    has_windows = any(artefact.per == "window" for artefact, _ in folders)
    windows = _windows_of(clip, writing) if told and has_windows else None
    for artefact, folder in folders:
        if artefact.per == "clip":
            yield writing.layout.below(artefact.path_in(folder, clip))
        elif artefact.per == "window":
            of_clip = writing.layout.below(f"{folder}/{clip}")
            is_link = shelf.is_symlink(of_clip)
            if windows is not None and not is_link:
                for window in windows:
                    yield writing.layout.below(artefact.path_in(folder, clip, *window))
                continue
            files = shelf.files_in(of_clip)  # which tells of a link that leads outside
            yield from () if is_link else files


def _windows_of(clip: str, writing: Writing) -> list[tuple[int, int]] | None:
    """The windows that the clip's document names, none if there is no document; nothing if it
    cannot be read.
    """
    try:
        said = read_json(writing.layout.meta(clip)) or {"windows": []}
        return [(int(each["start_frame"]), int(each["end_frame"])) for each in said["windows"]]
    except (BadDocument, KeyError, TypeError, ValueError):
        return None


def tables(chunk: str, writing: Writing) -> set[str]:
    """Every table there may be of a chunk, or its pack."""
    layout = writing.layout
    if layout.packed:
        # What a table says of clips that it does not hold, nobody reads: it goes first.
        return {layout.pack_table(chunk), layout.pack(chunk)}
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


def forget_folders() -> None:
    """Look again which folders the output has, and what was taken back: a run that goes on may have
    made some of them, and others may have forgotten a source in the meantime.
    """
    _folders_of_run.cache_clear()
    of_run.cache_clear()


def remove_all(paths: Iterable[str], writing: Writing) -> None:
    writing.shelf.remove(*sorted(paths))
