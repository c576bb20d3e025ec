"""Again: videos that are finished are skipped, others replace what an earlier run left of them.

    processed_videos/a.mp4.json   same name, same file, same configuration   →  skipped
                                  anything else                              →  done again:

    .finecut/open/a.mp4.json      1. every clip the old documents name, and those now planned
    processed_videos/a.mp4.json   2. withdrawn
    clips/, metas/, …             3. cut and written as ever
                                  4. whatever is left of the old clips is removed
    processed_videos/a.mp4.json   5. written
    .finecut/open/a.mp4.json      6. removed

Killed anywhere, the next run knows from the note in ``.finecut/open/`` what may lie about, so
nothing is orphaned, whatever its options are.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from finecut.io.layout import Artefact, chunk_id, is_clip_id
from finecut.io.records import CODING, Clip, PlannedChunk, Source, Video, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json, usable_json
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.find.metadata import plain
from finecut.transforms.forget.tombstones import of_run
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.write.documents import CONFIGURATION, serialise
from finecut.transforms.write.writing import Writing, planned

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
    #: What decides by a source's metadata: a video is worked on if the new one decides otherwise.
    rules: tuple[Rule, ...] = ()
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Open:
    """What is known of a video while it is worked on."""

    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    #: Chunks there may be documents and tables of, old ones and new ones.
    chunks: int = 0
    #: By what name its chunks were keyed.
    names: tuple[str, ...] = ()
    #: How all that documents of chunks name was made; nothing where that is not known.
    configuration: str = ""
    #: Of which version of the source, of which this was said (see :func:`made_of`).
    source: str = ""
    #: What was said of the source: its document, which knew that, is withdrawn.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: There may be records of chunks that were cut and handed over.
    handed_over: bool = False


def open_video(
    chunks: Sequence[PlannedChunk], writing: Writing, again: Again
) -> list[PlannedChunk]:
    """Note what lies there and what is to come, and withdraw the promise of an earlier run; chunks
    that are left to do come back.
    """
    layout, relative = writing.layout, chunks[0].video.source.relative
    old, documents = _left_by_earlier_runs(chunks[0].video, writing)
    if not again.overwrite:
        refuse_others(old.names, chunks[0].video.source, writing)
        chunks = _with_known(chunks, old)
    video = chunks[0].video
    goes_on = not again.overwrite and is_of(old, video.source, writing)
    note = Open(
        old=old.old,
        new=tuple(sorted(clip.id for planned in chunks for clip in planned.clips)),
        chunks=max(old.chunks, len(chunks)),
        names=(*old.names, video.name),
        metadata=video.source.metadata,
        handed_over=old.handed_over or writing.hands_over,
    )
    made = replace(note, configuration=writing.configuration, source=made_of(video.source))
    stale = () if goes_on else tuple(documents)
    _write_note(relative, note if stale else made, writing)
    if not again.overwrite:
        # Another run may have begun with a video of the same path at the same moment.
        refuse_others(read_note(relative, writing).names, video.source, writing)
    writing.shelf.remove(layout.processed_video(relative))
    if old.handed_over and not goes_on:
        writing.shelf.remove(*records(relative, note, writing))
    if stale:
        # Of these nothing is promised any more; whoever finds a document finds one of this run.
        writing.shelf.remove(*(layout.processed_clip_chunk(relative, each) for each in stale))
        _write_note(relative, made, writing)
    if not old.chunks:
        return list(chunks)
    return _left_to_do(chunks, documents if goes_on else {})


def _with_known(chunks: Sequence[PlannedChunk], note: Open) -> list[PlannedChunk]:
    """The chunks with what was known of their source, if the inputs of this run say nothing."""
    video = chunks[0].video
    if video.source.metadata or not note.metadata:
        return list(chunks)
    video = replace(video, source=replace(video.source, metadata=note.metadata))
    return [replace(planned, video=video) for planned in chunks]


def _left_to_do(
    chunks: Sequence[PlannedChunk], documents: Mapping[int, frozenset[str]]
) -> list[PlannedChunk]:
    """The chunks whose documents do not have all their clips; the first tells of the others."""
    done = [
        planned
        for planned in chunks
        if planned.clips
        and frozenset(clip.id for clip in planned.clips) == documents.get(planned.chunk.index)
    ]
    left = [planned for planned in chunks if planned not in done]
    if not left:
        left = [replace(chunks[0], clips=())]
    clips = sum(len(planned.clips) for planned in done)
    return [
        replace(
            planned,
            chunk=replace(planned.chunk, again=True, num_done=len(done)),
            num_done=0 if number else clips,
        )
        for number, planned in enumerate(left)
    ]


def made_of(source: Source) -> str:
    """What tells this version of a source from others, and what is said of it; nothing if its
    version is not known.
    """
    told = to_json([source.version, dict(source.metadata)]).encode(*CODING)
    return hashlib.sha256(told).hexdigest()[:16] if source.version else ""


def is_of(note: Open, source: Source, writing: Writing) -> bool:
    """Whether all documents of chunks that lie there are those that this run would write."""
    made = (note.configuration, note.source)
    return all(made) and made == (writing.configuration, made_of(source))


def _write_note(relative: str, note: Open, writing: Writing) -> None:
    writing.shelf.write(writing.layout.open_video(relative), serialise(vars(note)))


def _left_by_earlier_runs(video: Video, writing: Writing) -> tuple[Open, dict[int, frozenset[str]]]:
    """What is known of it, and the clips of each chunk that has a document."""
    layout, relative = writing.layout, video.source.relative
    note = read_note(relative, writing)
    names = set(note.names)
    document = usable_json(layout.processed_video(relative)) or {}
    least = max(note.chunks, _number(document.get("num_clip_chunks")))
    index = 0
    found: dict[int, frozenset[str]] = {}
    # Beyond what is promised, until there are no more.
    while said := read_or_report(layout.processed_clip_chunk(relative, index)) or index < least:
        if isinstance(said, dict):
            found[index] = clips_in(said)
            names.update(named_in(said))
        index += 1
    old = Open(
        old=tuple(sorted({*note.old, *note.new}.union(*found.values()))),
        chunks=index,
        names=tuple(sorted(names - {video.name})),
        configuration=str(document.get(CONFIGURATION) or note.configuration),
        # What is finished and done again nevertheless is not gone on with.
        source="" if document else note.source,
        metadata=note.metadata,
        handed_over=note.handed_over,
    )
    return old, found


def read_note(relative: str, writing: Writing) -> Open:
    """What is known of a video that is not finished."""
    said = read_or_report(writing.layout.open_video(relative)) or {}
    names, made, source = said.get("names"), said.get(CONFIGURATION), said.get("source")
    metadata = said.get("metadata")
    return Open(
        old=_ids(said.get("old")),
        new=_ids(said.get("new")),
        chunks=_number(said.get("chunks")),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
        configuration=made if isinstance(made, str) else "",
        source=source if isinstance(source, str) else "",
        metadata=plain(metadata).said if isinstance(metadata, dict) else {},
        handed_over=said.get("handed_over") is True,
    )


def records(relative: str, note: Open, writing: Writing) -> list[str]:
    """Where there may be records of chunks that were handed over."""
    return [writing.layout.cut_chunk(relative, index) for index in range(note.chunks)]


def clips_in(document: dict[str, Any]) -> frozenset[str]:
    """The clips that the document of a chunk names, kept or rejected."""
    return frozenset((*_ids(document.get("clips")), *_ids(document.get("filtered_clips"))))


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


# ── what is left over ────────────────────────────────────────────────────────────────────────────


def settle(video: Video, num_chunks: int, writing: Writing, note: Open) -> None:
    """Remove what earlier runs left of a video that is complete now; its promise comes next."""
    layout, relative = writing.layout, video.source.relative
    if note.handed_over:
        writing.shelf.remove(*records(relative, note, writing))
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


def forget_note(video: Video, writing: Writing, note: Open) -> None:
    """The promise is written: nothing more has to be known.

    A dry run removed nothing, and its documents do not name all that lies there.
    """
    if not writing.dry_run or not note.old:
        writing.shelf.remove(writing.layout.open_video(video.source.relative))


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


def forget_folders() -> None:
    """Look again which folders the output has, and what was taken back: a run that goes on may have
    made some of them, and others may have forgotten a source in the meantime.
    """
    _folders_of_run.cache_clear()
    of_run.cache_clear()


def _remove(paths: Iterable[str], writing: Writing) -> None:
    for path in sorted(paths):
        writing.shelf.remove(path)
