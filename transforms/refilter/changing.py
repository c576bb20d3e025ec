"""Refiltering: clips of a finished output are judged anew, by what was measured of them.

No film is opened and no model is asked. What is written is what curation with the new rules would
have written, in the order that makes a document a promise (see :mod:`again`):

    .finecut/open/a.mp4.json      1. what is to be done, and every clip of the video
    processed_videos/a.mp4.json   2. withdrawn, and so are the documents of chunks that change
    clips/ ⇄ filtered_clips/      3. moved; previews and vectors of rejected ones go; metas
    processed_clip_chunks/…       4. written
    processed_videos/a.mp4.json   5. written
    .finecut/open/a.mp4.json      6. removed

Killed anywhere, the note says what was to be done: the next refiltering does it, and curation does
the video again. A film that failed in part has no document to withdraw: its clips are treated
alike, and its note stays, as curation leaves it. A video of which one clip cannot be judged (or
would be kept without what kept clips have) is not touched: its document keeps the old
configuration, so curation does it again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from finecut.io.dataset.output import Entry, Output
from finecut.io.layout import chunk_id, embedding_folder
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.on_disk import NotAFile
from finecut.io.tables.packs import Floats, PackTable, Vectors
from finecut.io.tables.parquet import embedding_table, facts_of, rows_of
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.catalogue.chunks import OfChunk, enter, rows_of_chunk
from finecut.transforms.catalogue.rows import OF_VIDEO
from finecut.transforms.refilter.judging import (
    CHANGE,
    DISAGREE,
    OTHER_OPTIONS,
    Change,
    OutOfReach,
    Part,
    Read,
    Refiltering,
    Verdict,
    changed,
    read_change,
    read_chunks,
    read_document,
    read_video,
    verdicts_on,
)
from finecut.transforms.refilter.rewriting import (
    Untouched,
    Yields,
    chunk_rewritten,
    has_file,
    with_vectors,
)
from finecut.transforms.refilter.telling import is_bereft, told_of
from finecut.transforms.resume.leftovers import artefacts_there
from finecut.transforms.resume.retelling import metadata_in
from finecut.transforms.verify.checks.shapes import VIDEO
from finecut.transforms.write.documents import CONFIGURATION, serialise
from finecut.transforms.write.writing import Writing

#: What comes of a video.
REFILTERED, UNCHANGED, UNTOUCHED = "refiltered", "unchanged", "untouched"


def prepare(relative: str, refiltering: Refiltering) -> tuple[Read, Change | None, Yields]:
    """Judge all clips of a video, and write nothing: the video as it is, what is to be done to it
    (nothing, if no file of it changes but its document), and what comes of it."""
    read = read_video(relative, refiltering)
    entries = read.entries
    verdicts: dict[str, Verdict] = {}
    became = UNCHANGED
    if read.configuration != refiltering.writing.configuration:
        if read.configuration not in refiltering.known:
            raise OutOfReach(OTHER_OPTIONS)
        verdicts, became = verdicts_on(entries, refiltering), REFILTERED
    after = after_all(entries, verdicts, refiltering)
    bereft = sum(is_bereft(entry, refiltering) for entry in entries)
    yields = told_of(entries, after, refiltering, bereft)
    change = change_of(read, verdicts, after, Making(relative, refiltering))
    return read, change, replace(yields, videos={became: 1})


def after_all(
    entries: Iterable[Entry], verdicts: Mapping[str, Verdict], refiltering: Refiltering
) -> dict[str, Entry]:
    """The clips after these verdicts on them."""
    try:
        return {
            entry.id: changed(entry, verdicts.get(entry.id), refiltering.layout)
            for entry in entries
        }
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfReach(DISAGREE) from error


class Making(NamedTuple):
    """A video, and how it is refiltered."""

    relative: str
    refiltering: Refiltering


def change_of(
    read: Read, verdicts: Mapping[str, Verdict], after: Mapping[str, Entry], making: Making
) -> Change | None:
    """What is to be done to a video, if any of its clips changes."""
    relative, refiltering = making
    others = [entry for entry in read.entries if after[entry.id].document != entry.document]
    ids = {entry.id for entry in others}
    if not ids:
        return None
    return Change(
        relative,
        refiltering.writing.configuration,
        document=read.document,
        parts=tuple(part for part, _ in read.parts if ids & {*part.clips}),
        verdicts={id: verdicts[id] for id in sorted(ids)},
        algorithms=tuple(sorted({name for entry in others for name in with_vectors(entry)})),
        previews=refiltering.previews,
        uploads=refiltering.writing.upload_clips,
        note=read.note,
    )


def foresee(relative: str, refiltering: Refiltering) -> Iterator[Yields]:
    """What would come of a video."""
    try:
        yield prepare(relative, refiltering)[-1]
    except OutOfReach as error:
        yield untouched(relative, str(error), number_of_clips(relative, refiltering.writing))


def number_of_clips(relative: str, writing: Writing) -> int:
    """How many clips a video has, by its document or by the note of a change that has begun."""
    with suppress(OutOfReach):
        document = read_document(writing.layout.processed_video(relative), VIDEO)
        change = None if document is not None else read_change(relative, writing)
        number = (document or (change and change.document) or {}).get("num_total_clips")
        return number if type(number) is int else 0
    return 0


def untouched(relative: str, why: str, clips: int) -> Yields:
    """What comes of a video that is left as it is."""
    return Yields(
        videos={UNTOUCHED: 1}, untouched=(Untouched(relative, why, clips),), clips_untouched=clips
    )


# ── doing it ─────────────────────────────────────────────────────────────────────────────────────


def refilter(relative: str, refiltering: Refiltering) -> Iterator[Yields]:
    """Do it; what has come of the video."""
    writing, layout = refiltering.writing, refiltering.layout
    try:
        begun = read_change(relative, writing)
        if begun is not None and not shelf.exists(layout.processed_video(relative)):
            carry_out(begun, writing)
        read, change, yields = prepare(relative, refiltering)
        if change is not None:
            _refuse_unready(change, writing)
    except OutOfReach as error:
        count("videos untouched")
        yield untouched(relative, str(error), number_of_clips(relative, writing))
        return
    _do(relative, change, read, writing)
    if begun is not None and not read.note:
        # A run that was killed on its last step leaves it.
        writing.shelf.remove(layout.open_video(relative))
    yield yields


def refilter_chunks(
    relative: str, refiltering: Refiltering, *, chunks: Set[str], yields: Yields
) -> Iterator[Yields]:
    """Do it to a finished video of which clips change in these chunks only, as the catalogue says;
    what comes of it is known. Documents say what is done to the clips of these chunks."""
    writing = refiltering.writing
    try:
        document = read_document(refiltering.layout.processed_video(relative), VIDEO)
        if document is None or document.get(CONFIGURATION) not in refiltering.known:
            # Somebody else was at work, or this run before.
            yield from refilter(relative, refiltering)
            return
        read = read_chunks(relative, document, chunks, refiltering)
        verdicts = verdicts_on(read.entries, refiltering)
        after = after_all(read.entries, verdicts, refiltering)
        change = change_of(read, verdicts, after, Making(relative, refiltering))
        _refuse_to_lose(told_of(read.entries, after, refiltering, 0), yields)
        if change is not None:
            _refuse_unready(change, writing)
    except OutOfReach as error:
        count("videos untouched")
        yield untouched(relative, str(error), number_of_clips(relative, writing))
        return
    _do(relative, change, read, writing)
    yield yields


def _refuse_to_lose(found: Yields, told: Yields) -> None:
    """Nobody was asked about what documents have and the catalogue does not know."""
    for what, number in found.losing.items():
        if number > told.losing.get(what, 0):
            raise OutOfReach(
                f"{number - told.losing.get(what, 0)} {what} would be lost that its documents have "
                "and the catalogue does not know: finecut compact --rebuild tells it"
            )


def _do(relative: str, change: Change | None, read: Read, writing: Writing) -> None:
    if change is not None:
        _note(change, read, writing)
        carry_out(change, writing)
    elif read.configuration != writing.configuration:
        _conclude(read, relative, writing.configuration, writing)
    count("videos refiltered")
    LOG.info("refiltered %s", relative)


def _note(change: Change, read: Read, writing: Writing) -> None:
    """Write down what will be done. Curation reads the names of clips, and does all again."""
    document, note = read.document, read.note
    ids = {id for part, _ in read.parts for id in part.clips}
    said = {
        "old": sorted({*ids, *read.others, *note.get("old", ()), *note.get("new", ())}),
        "new": (),
        "chunks": max(1, int(note.get("chunks") or document["num_clip_chunks"])),
        "names": note.get("names") or (document["video"],),
        "metadata": metadata_in(document) or note.get("metadata", {}),
        "video": note.get("video") or {key: document.get(key) for key in OF_VIDEO.values()},
        CHANGE: asdict(change),
    }
    writing.shelf.write(writing.layout.open_video(change.relative), serialise(said))


def carry_out(change: Change, writing: Writing) -> None:
    """Make a change that is noted. Doing it twice, or the rest of it, is doing it once."""
    layout, own, relative = writing.layout, writing.shelf, change.relative
    own.remove(layout.processed_video(relative))
    own.remove(*(layout.processed_clip_chunk(relative, part.index) for part in change.parts))
    for part in change.parts:
        _change_part(part, change, writing)
    _conclude(change, relative, change.configuration, writing)
    if not change.note:
        own.remove(layout.open_video(relative))


def _conclude(said: Change | Read, relative: str, configuration: str, writing: Writing) -> None:
    """Say how it is made now: in the video's document, or in the note of one that has none."""
    layout = writing.layout
    path = layout.open_video(relative) if said.note else layout.processed_video(relative)
    document = {**(said.note or said.document), CONFIGURATION: configuration}
    writing.shelf.write(path, serialise(document))


def _change_part(part: Part, change: Change, writing: Writing) -> None:
    """Change what lies there of a chunk, its document last."""
    entries = change.clips_of(part, writing)
    if writing.layout.packed:
        _change_pack(part, entries, writing)
    else:
        _change_files(part, entries, change, writing)
    document = chunk_rewritten(part.document, entries, change.previews)
    chunk = chunk_id(part.document["video"], part.index)
    of = OfChunk(change.relative, chunk, change.note.get("video") or change.document)
    rows = rows_of_chunk(of, entries, writing.layout)
    enter(chunk, rows, writing.layout, writing.shelf)
    path = writing.layout.processed_clip_chunk(change.relative, part.index)
    writing.shelf.write(path, serialise(document))


def _change_files(part: Part, entries: Sequence[Entry], change: Change, writing: Writing) -> None:
    """Change tables of vectors, then move what changes, and write its documents."""
    for path, data in _tables(part, entries, change, writing).items():
        if data is None:
            writing.shelf.remove(path)
        else:
            writing.shelf.write(path, data)
    others = [entry for entry in entries if entry.id in change.verdicts]
    list(in_order(partial(_change_clip, writing=writing), others, writing.threads))


def _change_pack(part: Part, entries: Sequence[Entry], writing: Writing) -> None:
    """Change the table of a pack: a verdict is a column, and archives stay as they are."""
    chunk = chunk_id(part.document["video"], part.index)
    table = Output(writing.layout).table(chunk)
    told = {entry.id: entry for entry in entries}
    clips = [
        replace(clip, kept=told[clip.id].kept, document=serialise(dict(told[clip.id].document)))
        for clip in table.clips()
        if clip.id in told
    ]
    vectors = {
        folder: Vectors(facts, _of_those(table.vectors(folder), folder, entries))
        for folder, facts in table.facts.items()
    }
    left = {folder: one for folder, one in vectors.items() if one.of_clips}
    new = PackTable.of(clips, left, table.digest)
    writing.shelf.write(writing.layout.pack_table(chunk), new.to_bytes())


def _of_those(
    vectors: Mapping[str, Floats], folder: str, entries: Iterable[Entry]
) -> dict[str, Floats]:
    """The vectors of clips whose documents say that they have one."""
    having = {entry.id for entry in entries if folder in map(embedding_folder, with_vectors(entry))}
    return {id: vector for id, vector in vectors.items() if id in having}


def _change_clip(entry: Entry, writing: Writing) -> None:
    """Change what lies there of a clip to what this says, its document last."""
    layout, own, document = writing.layout, writing.shelf, entry.document
    if not entry.kept:
        own.remove(*artefacts_there(entry.id, writing))
    elsewhere = layout.clip(entry.id, not entry.kept)
    if has_file(document) and shelf.exists(elsewhere):
        own.publish(elsewhere, entry.path, document["num_bytes"])
    own.write(layout.meta(entry.id), serialise(dict(document)))


def _tables(
    part: Part, entries: Sequence[Entry], change: Change, writing: Writing
) -> dict[str, bytes | None]:
    """The chunk's tables that change: what they will be, or nothing where no row is left."""
    chunk = chunk_id(part.document["video"], part.index)
    found: dict[str, bytes | None] = {}
    for algorithm in change.algorithms:
        wanted = {entry.id for entry in entries if algorithm in with_vectors(entry)}
        path = writing.layout.embedding_parquet(algorithm, chunk)
        data, rows = _rows_at(path)
        if not wanted <= {id for id, _ in rows}:
            raise OutOfReach(
                f"{path} does not have the vectors of all its clips (see finecut verify)"
            )
        left = [(id, vector) for id, vector in rows if id in wanted]
        if data is not None and len(left) < len(rows):
            found[path] = embedding_table(left, facts_of(data)) if left else None
    return found


def _rows_at(path: str) -> tuple[bytes | None, list[tuple[str, list[float]]]]:
    """The table that lies there, and its rows."""
    try:
        data = shelf.read_if_there(path)
    except NotAFile as error:
        raise OutOfReach(f"{path} {error.strerror}") from error
    try:
        return data, [
            (str(id), [float(number) for number in vector])
            for id, vector in ([] if data is None else rows_of(data))
        ]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise OutOfReach(f"{path} is not a table of vectors (see finecut verify)") from error


def _refuse_unready(change: Change, writing: Writing) -> None:
    """Whatever would stop the work on the way is known before a promise is withdrawn."""
    for part in change.parts:
        entries = change.clips_of(part, writing)
        if writing.layout.packed:
            continue  # reading it was all that could go wrong
        _tables(part, entries, change, writing)
        for entry in entries if change.uploads else ():
            places = (entry.path, writing.layout.clip(entry.id, not entry.kept))
            moves = entry.id in change.verdicts and has_file(entry.document)
            if moves and not any(map(shelf.exists, places)):
                raise OutOfReach(f"{entry.id}.mp4 is missing (see finecut verify)")


# ── the transform ────────────────────────────────────────────────────────────────────────────────

Work = Callable[[str, Refiltering], Iterable[Yields]]


def worked(source: Source, work: Work, refiltering: Refiltering) -> Iterator[Yields]:
    made, weather = partial(work, source.relative, refiltering), refiltering.writing.weather
    for outcome in guarded("refilter", source, made, weather=weather):
        if isinstance(outcome, Failure):
            count("videos failed")
            clips = number_of_clips(source.relative, refiltering.writing)
            yield Yields(failures=(outcome,), num_failures=1, clips_failed=clips)
        else:
            yield outcome
