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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from finecut.io.layout import chunk_id, is_clip_id
from finecut.io.records import CODING, PlannedChunk, Source, Video, to_json
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.catalogue.chunks import drop_rows, drop_video, facts_of
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.find.metadata import plain
from finecut.transforms.resume.leftovers import all_of, remove_all, tables
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
    #: What its document would say of it: the catalogue's rows have some of that.
    video: Mapping[str, Any] = field(default_factory=dict)
    #: There may be records of chunks that were cut and handed over.
    handed_over: bool = False
    #: What lay there is of a run that finished the video: see :attr:`Chunk.told`.
    told: bool = False


def open_video(
    chunks: Sequence[PlannedChunk], writing: Writing, again: Again
) -> list[PlannedChunk]:
    """Note what lies there and what is to come, and withdraw the promise of an earlier run; chunks
    that are left to do come back.
    """
    layout, relative = writing.layout, chunks[0].video.source.relative
    old, documents, there = _left_by_earlier_runs(chunks[0].video, writing)
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
        video=facts_of(video),
        handed_over=old.handed_over or writing.hands_over,
        told=there.finished,
    )
    made = replace(note, configuration=writing.configuration, source=made_of(video.source))
    stale = () if goes_on else tuple(documents)
    first = not (there.note or there.promise or old.chunks)
    if not (first and writing.shelf.create(layout.open_video(relative), _said(made))):
        _write_note(relative, note if stale else made, writing)
        if not again.overwrite:
            # Another run may have begun with a video of the same path at the same moment.
            refuse_others(read_note(relative, writing).names, video.source, writing)
    if there.promise:
        writing.shelf.remove(layout.processed_video(relative))
    if old.handed_over and not goes_on:
        writing.shelf.remove(*records(relative, note, writing))
    if stale:
        # Of these nothing is promised any more; whoever finds a document finds one of this run.
        writing.shelf.remove(*(layout.processed_clip_chunk(relative, each) for each in stale))
        if not writing.dry_run:
            drop_video(note.names, note.chunks, layout, writing.shelf)
        _write_note(relative, made, writing)
    if not old.chunks:
        return [replace(one, chunk=replace(one.chunk, first=first)) for one in chunks]
    return _left_to_do(chunks, documents if goes_on else {}, note.told)


def _with_known(chunks: Sequence[PlannedChunk], note: Open) -> list[PlannedChunk]:
    """The chunks with what was known of their source, if the inputs of this run say nothing."""
    video = chunks[0].video
    if video.source.metadata or not note.metadata:
        return list(chunks)
    video = replace(video, source=replace(video.source, metadata=note.metadata))
    return [replace(planned, video=video) for planned in chunks]


def _left_to_do(
    chunks: Sequence[PlannedChunk], documents: Mapping[int, frozenset[str]], told: bool
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
            chunk=replace(planned.chunk, again=True, told=told, num_done=len(done)),
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
    writing.shelf.write(writing.layout.open_video(relative), _said(note))


def _said(note: Open) -> bytes:
    return serialise(vars(note))


class _There(NamedTuple):
    """Which documents of a video lie there, be they good or bad; and what that means."""

    note: bool
    promise: bool
    #: The promise is good, and nobody has begun with the video since.
    finished: bool


def _left_by_earlier_runs(
    video: Video, writing: Writing
) -> tuple[Open, dict[int, frozenset[str]], _There]:
    """What is known of it, the clips of each chunk that has a document, and what else there is."""
    layout, relative = writing.layout, video.source.relative
    noted, note = _read_note(relative, writing)
    names = set(note.names)
    promised, document = _read(layout.processed_video(relative))
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
    return old, found, _There(noted, promised, bool(document) and not noted)


def read_note(relative: str, writing: Writing) -> Open:
    """What is known of a video that is not finished."""
    return _read_note(relative, writing)[1]


def _read(
    path: str, tell: Callable[[object], None] = lambda _: None
) -> tuple[bool, dict[str, Any]]:
    """Whether a document is there, and what it says, if that can be used."""
    try:
        said = read_json(path)
    except BadDocument as error:
        tell(error)
        return True, {}
    return said is not None, said or {}


def _read_note(relative: str, writing: Writing) -> tuple[bool, Open]:
    noted, said = _read(writing.layout.open_video(relative), report_bad)
    names, made, source = said.get("names"), said.get(CONFIGURATION), said.get("source")
    metadata = said.get("metadata")
    note = Open(
        old=_ids(said.get("old")),
        new=_ids(said.get("new")),
        chunks=_number(said.get("chunks")),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
        configuration=made if isinstance(made, str) else "",
        source=source if isinstance(source, str) else "",
        metadata=plain(metadata).said if isinstance(metadata, dict) else {},
        video=said["video"] if isinstance(said.get("video"), dict) else {},
        handed_over=said.get("handed_over") is True,
        told=said.get("told") is True,
    )
    return noted, note


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
    paths: set[str] = set()
    for clip in sorted({*note.old} - {*note.new}):
        paths |= all_of(clip, writing, note.told)
    remove_all(paths, writing)
    # Also a video without clips has its first chunk's document.
    remove_all(
        (
            layout.processed_clip_chunk(relative, each)
            for each in range(max(1, num_chunks), note.chunks)
        ),
        writing,
    )
    for name in note.names:
        beyond = 0 if name != video.name else num_chunks
        chunks = [chunk_id(name, index) for index in range(beyond, note.chunks)]
        remove_all((path for chunk in chunks for path in tables(chunk, writing)), writing)
        drop_rows(chunks, layout, writing.shelf)


def forget_note(video: Video, writing: Writing, note: Open) -> None:
    """The promise is written: nothing more has to be known.

    A dry run removed nothing, and its documents do not name all that lies there.
    """
    if not writing.dry_run or not note.old:
        writing.shelf.remove(writing.layout.open_video(video.source.relative))
