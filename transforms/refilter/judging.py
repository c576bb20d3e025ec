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

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import apache_beam as beam
import pyarrow as pa

from finecut.io.dataset.output import Entry
from finecut.io.layout import Layout, chunk_id, is_clip_id
from finecut.io.records import Failure, Source, from_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.tables.parquet import embedding_table, facts_of, rows_of
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.beam.parallel import in_order
from finecut.transforms.dedup.keepers import keepers_of
from finecut.transforms.filter.clips import DUPLICATE, Dropping
from finecut.transforms.filter.comparing import parts_of, verdict
from finecut.transforms.refilter.rewriting import (
    Stage,
    chunk_rewritten,
    clip_rewritten,
    has_file,
    was_seen,
    with_vectors,
)
from finecut.transforms.refilter.yields import KEPT, Amount, Untouched, Yields, merged
from finecut.transforms.registry import FAMILIES
from finecut.transforms.resume.videos import read_note
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, VIDEO, Shape, faults
from finecut.transforms.write.documents import CONFIGURATION, Document, serialise
from finecut.transforms.write.writing import Writing

#: What the note calls the change that is being made.
CHANGE: Final = "change"
REFILTERED, UNCHANGED, UNTOUCHED = "refiltered", "unchanged", "untouched"
STEP: Final = "refilter"
DISAGREE: Final = (
    "its documents do not agree with each other, or are of another version (finecut verify says "
    "what is wrong)"
)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a clip."""

    rejected_by: str | None
    #: Those who do not look at it any more, because it is rejected before.
    unseen: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Refiltering:
    """How clips are judged, and of which videos that can be done."""

    #: Where they lie, and the configuration they will have.
    writing: Writing
    stages: tuple[Stage, ...]
    dropping: Dropping | None = None
    #: Configurations that differ from the new one in rules only.
    known: frozenset[str] = frozenset()
    #: What kept clips have, and rejected ones have not.
    vectors: bool = False
    captions: bool = False
    previews: bool = False
    #: Shots may overlap in any order.
    unordered: bool = False

    @property
    def layout(self) -> Layout:
        return self.writing.layout


class OutOfReach(Exception):
    """A video that cannot be refiltered; the message says why."""


def read_document(path: str, must: Mapping[str, Shape]) -> Document | None:
    """What a document says, or ``None`` if there is none; a bad one puts its video out of reach."""
    try:
        said = read_json(path)
    except BadDocument as error:
        raise OutOfReach(f"{error} (see finecut verify)") from error
    for fault, should in () if said is None else faults(said, must):
        raise OutOfReach(f"{path} {fault}, and {should} (see finecut verify)")
    return said


# ── judging ──────────────────────────────────────────────────────────────────────────────────────


def judged_anew(entry: Entry, stages: Sequence[Stage], drops: frozenset[str]) -> Verdict:
    """As curation judges: who is on a list first, then rule by rule in the order of the steps."""
    if not has_file(entry.document):
        return Verdict(entry.document.get("filtered_by"))
    _refuse_rejected_by_step(entry, stages)
    looking = [stage for stage in stages if stage.family]
    if entry.id in drops:
        return Verdict(DUPLICATE, tuple(looking))
    scores = entry.scores
    for stage in stages:
        if stage.family:
            looking.remove(stage)
            if not was_seen(entry, stage):
                raise OutOfReach(f"nobody looked for {stage.family}, as it was rejected before")
        rejected_by = verdict(scores, stage.rules)
        if rejected_by is not None:
            return Verdict(rejected_by, tuple(looking))
    return Verdict(None)


def _refuse_rejected_by_step(entry: Entry, stages: Sequence[Stage]) -> None:
    """A custom step may reject clips by itself, and nobody else knows why it does."""
    custom = [stage.family for stage in stages if stage.scores is not None]
    reason = entry.document.get("filtered_by")
    if not custom or entry.kept or reason in (DUPLICATE, *FAMILIES.values()):
        return
    if parts_of(str(reason)) is None:
        raise OutOfReach(f"rejected by {reason}, no rule, as {' or '.join(custom)} may have said")


def missing(entry: Entry, refiltering: Refiltering) -> list[str]:
    """What a clip that was rejected would need to be kept, and has not."""
    windows = bool(entry.document.get("windows"))
    needed = {
        "vector": refiltering.vectors,
        "caption": refiltering.captions and windows,
        "preview": refiltering.previews and windows,
    }
    return [what for what, is_needed in needed.items() if is_needed]


def _verdicts(entries: Iterable[Entry], refiltering: Refiltering) -> dict[str, Verdict]:
    """What becomes of each clip, if that can be said of all of them."""
    dropping, stages = refiltering.dropping, refiltering.stages
    drops = frozenset[str]() if dropping is None else dropping.ids()
    verdicts: dict[str, Verdict] = {}
    reasons: dict[str, int] = {}
    for entry in entries:
        try:
            verdicts[entry.id] = judged_anew(entry, stages, drops)
            wanting = missing(entry, refiltering)
            if not entry.kept and verdicts[entry.id].rejected_by is None and wanting:
                raise OutOfReach(f"would be kept, and has no {' and no '.join(wanting)} yet")
        except OutOfReach as error:
            reasons[str(error)] = reasons.get(str(error), 0) + 1
    if reasons:
        raise OutOfReach(
            "; ".join(f"of {number} of its clips: {why}" for why, number in reasons.items())
        )
    return verdicts


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Part:
    """A chunk: its document, and its clips in the order of their shots."""

    document: Document
    clips: tuple[str, ...]

    @property
    def index(self) -> int:
        return int(self.document["clip_chunk_index"])


@dataclass(frozen=True)
class Change:
    """What is to be done to a video: all that has to be known to do it, or to go on with it."""

    relative: str
    configuration: str
    #: The video's document, as it was.
    document: Document
    #: Chunks that change, as they were.
    parts: tuple[Part, ...]
    #: Of clips of which anything changes.
    verdicts: Mapping[str, Verdict]
    algorithms: tuple[str, ...]
    previews: bool
    uploads: bool
    #: What stays noted of a film that failed in part; it has no document.
    note: Document = dataclasses.field(default_factory=dict)


def read_change(relative: str, writing: Writing) -> Change | None:
    """The change that a run was making when it was killed, if there was one."""
    said = read_document(writing.layout.open_video(relative), {}) or {}
    if CHANGE not in said:
        return None
    try:
        change = from_json(Change, json.dumps(said[CHANGE]))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise OutOfReach(
            f"{writing.layout.open_video(relative)} is not what was written there"
        ) from error
    # Files are moved and removed by these ids.
    ids = [id for part in change.parts for id in part.clips]
    if change.relative != relative or not all(map(is_clip_id, ids)):
        raise OutOfReach(f"{writing.layout.open_video(relative)} is not what was written there")
    return change


def read_clips(clips: Sequence[str], chunk: str, writing: Writing) -> list[Entry]:
    """What documents say of these clips."""

    def read(clip: str) -> Entry:
        document = read_document(writing.layout.meta(clip), CLIP)
        if document is None:
            raise OutOfReach(f"the document of its clip {clip} is missing")
        kept = "filtered_by" not in document
        return Entry(clip, kept, writing.layout.clip(clip, kept), chunk, document)

    if not shelf.is_remote(writing.layout.root):
        return [read(clip) for clip in clips]
    return list(in_order(read, clips, writing.threads))


def _read_part(document: Document, refiltering: Refiltering) -> tuple[Part, list[Entry]]:
    """A chunk and its clips, if its document says of them what their own do."""
    try:
        listed = [*document["clips"], *document["filtered_clips"]]
        if not all(map(is_clip_id, listed)):
            raise OutOfReach(DISAGREE)
        chunk = chunk_id(document["video"], document["clip_chunk_index"])
        entries = read_clips(listed, chunk, refiltering.writing)
        entries.sort(key=lambda entry: entry.span)
        if refiltering.unordered and any(
            one.span[1] > other.span[0] for one, other in itertools.pairwise(entries)
        ):
            raise OutOfReach("its scenes overlap, so the order of its clips is not known")
        told = chunk_rewritten(document, entries, refiltering.previews)
        if told != document or list(told) != list(document):
            raise OutOfReach(DISAGREE)
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfReach(DISAGREE) from error
    return Part(document, tuple(entry.id for entry in entries)), entries


@dataclass(frozen=True)
class Read:
    """A video as documents tell of it, whatever a run that was killed had still to do."""

    #: Nothing of a film that failed in part.
    document: Document
    parts: tuple[tuple[Part, tuple[Entry, ...]], ...]
    #: How it was made.
    configuration: str | None
    #: What is noted of a film that failed in part.
    note: Document = dataclasses.field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entries in self.parts for entry in entries]


def read_video(relative: str, refiltering: Refiltering) -> Read:
    """A finished video, or one that a killed refiltering will finish."""
    writing, layout = refiltering.writing, refiltering.layout
    document = read_document(layout.processed_video(relative), VIDEO)
    note: Document = {}
    noted = {}
    change = None if document is not None else read_change(relative, writing)
    if change is not None:
        document = {**change.document, CONFIGURATION: change.configuration}
        note = {**change.note, CONFIGURATION: change.configuration} if change.note else {}
        noted = {part.index: part for part in change.parts}
    elif document is None:
        document, note = {}, _note_of_part(relative, writing)
    parts = []
    chunks = note.get("chunks") or document.get("num_clip_chunks")
    for index in range(max(1, int(chunks or 0))):
        if change is not None and index in noted:
            part = noted[index]
            entries = _changed(part, change, writing)
        else:
            said = read_document(layout.processed_clip_chunk(relative, index), CHUNK)
            if said is None and note:
                continue  # all of it failed
            if said is None:
                raise OutOfReach(f"the document of its chunk {index} is missing")
            part, entries = _read_part(said, refiltering)
        parts.append((part, tuple(entries)))
    if note and not parts:
        raise OutOfReach("it is not finished: a run was killed, or all of it failed")
    if note:
        return Read({}, tuple(parts), note[CONFIGURATION], note)
    read = Read(document, tuple(parts), document.get(CONFIGURATION))
    if len(read.entries) != document.get("num_total_clips"):
        raise OutOfReach(DISAGREE)
    return read


def _note_of_part(relative: str, writing: Writing) -> Document:
    """What is noted of a film that failed in part, if all that lies there was made in one way."""
    note = read_note(relative, writing)
    if not note.configuration or not note.names:
        raise OutOfReach(
            "it is not finished: a run was killed, or part of it failed, and what lies there was "
            "made with other options than the rest"
        )
    return json_of(dataclasses.asdict(note))


def json_of(said: Document) -> Document:
    """The same as a document that is read gives it."""
    plain: Document = json.loads(serialise(said))
    return plain


def _changed(part: Part, change: Change, writing: Writing) -> list[Entry]:
    """The clips of a chunk after the change, whether it has been made or not."""
    name, index = str(part.document["video"]), part.index
    entries = read_clips(part.clips, chunk_id(name, index), writing)
    return [_after(entry, change.verdicts.get(entry.id), writing.layout) for entry in entries]


def _after(entry: Entry, after: Verdict | None, layout: Layout) -> Entry:
    if after is None:
        return entry
    return clip_rewritten(entry, after.rejected_by, after.unseen, layout)


# ── what is to be done ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Prepared:
    """What is to be done to a video, and what comes of it."""

    #: The video as it is.
    read: Read
    #: ``None``: no file of it changes but that document.
    change: Change | None
    clips: tuple[str, ...]
    yields: Yields


def prepare(relative: str, refiltering: Refiltering) -> Prepared:
    """Judge all clips of a video, and write nothing."""
    read = read_video(relative, refiltering)
    target = refiltering.writing.configuration
    before = read.configuration
    verdicts: dict[str, Verdict] = {}
    if before != target:
        if before not in refiltering.known:
            raise OutOfReach("it was made with other options")
        verdicts = _verdicts(read.entries, refiltering)
    after = _afterwards(read.entries, verdicts, refiltering.layout)
    changed = [e for e in read.entries if after[e.id].document != e.document]
    change = None
    if changed:
        ids = {entry.id for entry in changed}
        change = Change(
            relative,
            target,
            read.document,
            tuple(part for part, _ in read.parts if ids & {*part.clips}),
            {id: verdicts[id] for id in sorted(ids)},
            tuple(sorted({name for entry in changed for name in with_vectors(entry)})),
            refiltering.previews,
            refiltering.writing.upload_clips,
            read.note,
        )
    return Prepared(
        read,
        change,
        tuple(entry.id for entry in read.entries),
        _yields(read.entries, after, before != target, refiltering),
    )


def _afterwards(
    entries: Iterable[Entry], verdicts: Mapping[str, Verdict], layout: Layout
) -> dict[str, Entry]:
    """Each clip as it will be."""
    try:
        return {entry.id: _after(entry, verdicts.get(entry.id), layout) for entry in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfReach(DISAGREE) from error


def _yields(
    entries: Sequence[Entry], after: Mapping[str, Entry], done: bool, refiltering: Refiltering
) -> Yields:
    """What comes of a video, in numbers."""
    scores = {rule.score for stage in refiltering.stages for rule in stage.rules}
    losing = {
        "vectors": sum(bool(with_vectors(e)) for e in entries if not after[e.id].kept),
        "captions": sum(bool(e.captions) for e in entries if e.kept and not after[e.id].kept),
        "previews": sum(refiltering.previews for e in entries if e.kept and not after[e.id].kept),
    }
    dropping = refiltering.dropping
    drops = frozenset[str]() if dropping is None else dropping.ids()
    return Yields(
        videos={REFILTERED if done else UNCHANGED: 1},
        on_lists=sum(entry.id in drops for entry in entries),
        bereft=sum(_is_bereft(entry, refiltering) for entry in entries if entry.id in drops),
        now=_amounts(entries),
        then=_amounts(after.values()),
        losing={what: number for what, number in losing.items() if number},
        sample={
            entry.id: {name: value for name, value in entry.scores.items() if name in scores}
            for entry in entries
        },
    ).trimmed()


@cache
def _keepers_of(dropping: Dropping) -> Mapping[str, str]:
    """Read once in a process."""
    return keepers_of(dropping.lists)


def _is_bereft(entry: Entry, refiltering: Refiltering) -> bool:
    """Whether a clip that would be kept goes for one that goes as well."""
    dropping = refiltering.dropping
    keeper = None if dropping is None else _keepers_of(dropping).get(entry.id)
    if keeper is None or not _stays(entry, refiltering, frozenset()):
        return False
    assert dropping is not None
    try:
        [other] = read_clips([keeper], entry.chunk, refiltering.writing)
    except OutOfReach:
        return True
    return not _stays(other, refiltering, dropping.ids())


def _stays(entry: Entry, refiltering: Refiltering, drops: frozenset[str]) -> bool:
    """Whether a clip is kept, as far as rules go."""
    try:
        return judged_anew(entry, refiltering.stages, drops).rejected_by is None
    except OutOfReach:
        return False


def _amounts(entries: Iterable[Entry]) -> dict[str, Amount]:
    amounts: dict[str, Amount] = {}
    for entry in entries:
        start, end = entry.span
        name = entry.document.get("filtered_by") or KEPT
        amounts[name] = amounts.get(name, Amount()) + Amount(1, end - start)
    return amounts


def foresee(relative: str, refiltering: Refiltering) -> Iterator[Yields]:
    """What would come of a video."""
    try:
        yield prepare(relative, refiltering).yields
    except OutOfReach as error:
        yield _untouched(relative, str(error), refiltering.writing)


def _number_of_clips(relative: str, writing: Writing) -> int:
    """How many clips a video has, by its document or by the note of a change that has begun."""
    with suppress(OutOfReach):
        document = read_document(writing.layout.processed_video(relative), VIDEO)
        if document is None:
            change = read_change(relative, writing)
            document = None if change is None else change.document
        number = None if document is None else document.get("num_total_clips")
        return number if type(number) is int else 0
    return 0


def _untouched(relative: str, why: str, writing: Writing) -> Yields:
    clips = _number_of_clips(relative, writing)
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
        prepared = prepare(relative, refiltering)
        if prepared.change is not None:
            _refuse_unready(prepared.change, writing)
    except OutOfReach as error:
        count("videos untouched")
        yield _untouched(relative, str(error), writing)
        return
    if prepared.change is not None:
        _note(prepared, writing)
        carry_out(prepared.change, writing)
    elif prepared.read.configuration != writing.configuration:
        read = prepared.read
        _conclude(relative, (read.document, read.note), writing.configuration, writing)
    if begun is not None and not prepared.read.note:
        # A run that was killed on its last step leaves it.
        writing.shelf.remove(layout.open_video(relative))
    count("videos refiltered")
    LOG.info("refiltered %s", relative)
    yield prepared.yields


def _note(prepared: Prepared, writing: Writing) -> None:
    """Write down what will be done. Curation reads the names of clips, and does all again."""
    change = prepared.change
    assert change is not None
    document, note = prepared.read.document, prepared.read.note
    said = {
        "old": sorted({*prepared.clips, *note.get("old", ()), *note.get("new", ())}),
        "new": (),
        "chunks": max(1, int(note.get("chunks") or document["num_clip_chunks"])),
        "names": note.get("names") or (document["video"],),
        CHANGE: dataclasses.asdict(change),
    }
    writing.shelf.write(writing.layout.open_video(change.relative), serialise(said))


def carry_out(change: Change, writing: Writing) -> None:
    """Make a change that is noted. Doing it twice, or the rest of it, is doing it once."""
    layout, own, relative = writing.layout, writing.shelf, change.relative
    own.remove(layout.processed_video(relative))
    for part in change.parts:
        own.remove(layout.processed_clip_chunk(relative, part.index))
    for part in change.parts:
        _change_part(part, change, writing)
    _conclude(relative, (change.document, change.note), change.configuration, writing)
    if not change.note:
        own.remove(layout.open_video(relative))


def _conclude(
    relative: str, documents: tuple[Document, Document], configuration: str, writing: Writing
) -> None:
    """Say how it is made now: in the video's document, or in the note of one that has none."""
    document, note = documents
    path = writing.layout.open_video(relative) if note else writing.layout.processed_video(relative)
    writing.shelf.write(path, serialise({**(note or document), CONFIGURATION: configuration}))


def _change_part(part: Part, change: Change, writing: Writing) -> None:
    """Change what lies there of a chunk, its document last."""
    entries = _changed(part, change, writing)
    for path, data in _tables(part, entries, change, writing).items():
        if data is None:
            writing.shelf.remove(path)
        else:
            writing.shelf.write(path, data)
    changed = [entry for entry in entries if entry.id in change.verdicts]
    work = partial(_change_clip, change=change, writing=writing)
    for _ in in_order(work, changed, writing.threads):
        pass
    path = writing.layout.processed_clip_chunk(change.relative, part.index)
    writing.shelf.write(path, serialise(chunk_rewritten(part.document, entries, change.previews)))


def _change_clip(entry: Entry, change: Change, writing: Writing) -> None:
    """Change what lies there of a clip to what this says, its document last."""
    layout, own, document = writing.layout, writing.shelf, entry.document
    if not entry.kept:
        for algorithm in change.algorithms:
            own.remove(layout.embedding(algorithm, entry.id))
        for window in document["windows"] if change.previews else ():
            first, last = int(window["start_frame"]), int(window["end_frame"])
            own.remove(layout.preview(entry.id, first, last))
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
            raise OutOfReach(f"{path} has not the vectors of all its clips (see finecut verify)")
        left = [(id, vector) for id, vector in rows if id in wanted]
        if data is not None and len(left) < len(rows):
            found[path] = embedding_table(left, facts_of(data)) if left else None
    return found


def _rows_at(path: str) -> tuple[bytes | None, list[tuple[str, list[float]]]]:
    """The table that lies there, and its rows."""
    try:
        data = shelf.read_if_there(path)
    except shelf.NotAFile as error:
        raise OutOfReach(f"{path} {error.strerror}") from error
    try:
        rows = [] if data is None else rows_of(data)
        return data, [(str(id), [float(number) for number in vector]) for id, vector in rows]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise OutOfReach(f"{path} is no table of vectors (see finecut verify)") from error


def _refuse_unready(change: Change, writing: Writing) -> None:
    """Whatever would stop the work on the way is known before a promise is withdrawn."""
    for part in change.parts:
        entries = _changed(part, change, writing)
        _tables(part, entries, change, writing)
        for entry in entries if change.uploads else ():
            moves = entry.id in change.verdicts and has_file(entry.document)
            places = (entry.path, writing.layout.clip(entry.id, not entry.kept))
            if moves and not any(map(shelf.exists, places)):
                raise OutOfReach(f"{entry.id}.mp4 is missing (see finecut verify)")


# ── the transforms ───────────────────────────────────────────────────────────────────────────────

Work = Callable[[str, Refiltering], Iterable[Yields]]


class EachVideo(beam.PTransform[beam.PCollection[Source], beam.PCollection[Yields]]):
    """Videos, by their paths below the input → what came of all of them, in one record."""

    def __init__(self, work: Work, refiltering: Refiltering) -> None:
        super().__init__()
        self.work, self.refiltering = work, refiltering

    def expand(self, videos: beam.PCollection[Source]) -> beam.PCollection[Yields]:
        return (
            videos
            | "Deal" >> beam.Reshuffle()
            | "Work" >> beam.ParDo(_Each(self.work, self.refiltering))
            | "Add up" >> beam.CombineGlobally(merged)
        )


class _Each(beam.DoFn):
    def __init__(self, work: Work, refiltering: Refiltering) -> None:
        super().__init__()
        self.work, self.refiltering = work, refiltering

    def process(self, source: Source) -> Iterable[Yields]:
        relative = source.relative
        for outcome in guarded(STEP, source, lambda: self.work(relative, self.refiltering)):
            if isinstance(outcome, Failure):
                count("videos failed")
                clips = _number_of_clips(relative, self.refiltering.writing)
                yield Yields(failures=(outcome,), num_failures=1, clips_failed=clips)
            else:
                yield outcome
