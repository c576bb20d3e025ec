"""Judging: a video as its documents tell of it, whatever a killed run had still to do; and which
rule rejects each clip, by what was measured of it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from finecut.io.dataset.output import Entry, Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout, chunk_id, is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.records import from_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.wording import count_of
from finecut.transforms.filter.clips import DUPLICATE, Dropping, ids_of
from finecut.transforms.filter.comparing import read_rule, verdict
from finecut.transforms.refilter.rewriting import (
    Stage,
    chunk_rewritten,
    clip_rewritten,
    has_file,
    was_seen,
)
from finecut.transforms.registry import FAMILIES
from finecut.transforms.resume.note import read_note
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, VIDEO, Shape, faults
from finecut.transforms.write.documents import CONFIGURATION, Document, serialise
from finecut.transforms.write.writing import Writing

#: What the note calls the change that is being made.
CHANGE: Final = "change"

OTHER_OPTIONS: Final = "it was made with other options"
OVERLAPPING: Final = "its scenes overlap, so the order of its clips is not known"
DISAGREE: Final = (
    "its documents contradict each other, or are from another version (finecut verify says what "
    "is wrong)"
)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a clip."""

    rejected_by: str | None
    #: Those that do not look at it any more, because it is rejected before.
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
    previews: bool = False
    #: Each in one word, and whether only clips with windows have it.
    made: tuple[tuple[str, bool], ...] = ()
    #: Clips may overlap in any order.
    unordered: bool = False

    @property
    def layout(self) -> Layout:
        return self.writing.layout

    @property
    def drops(self) -> Set[str]:
        """Clips on the lists of what is left out."""
        return frozenset() if self.dropping is None else ids_of(self.dropping)


class OutOfReach(Exception):
    """A video that cannot be refiltered; the message says why."""


def read_document(path: str, must: Mapping[str, Shape]) -> Document | None:
    """What a document says, or ``None`` if it is missing; a bad one puts its video out of reach."""
    try:
        said = read_json(path)
    except BadDocument as error:
        raise OutOfReach(f"{error} (see finecut verify)") from error
    if said is not None:
        _refuse_faults(path, said, must)
    return said


def _refuse_faults(path: str, said: Mapping[str, Any], must: Mapping[str, Shape]) -> None:
    for fault, should in faults(said, must):
        raise OutOfReach(f"{path} {fault}, but {should} (see finecut verify)")


def judged_anew(entry: Entry, stages: Sequence[Stage], drops: Set[str]) -> Verdict:
    """As curation judges: clips on a list first, then rule by rule in the order of the steps."""
    if not has_file(entry.document):
        return Verdict(entry.document.get("filtered_by"))
    _refuse_rejected_by_step(entry, stages)
    looking = [stage for stage in stages if stage.family]
    if entry.id in drops:
        return Verdict(DUPLICATE, tuple(looking))
    scores = entry.known
    for stage in stages:
        if stage.family:
            looking.remove(stage)
            if not was_seen(entry, stage):
                raise OutOfReach(
                    f"{stage.family} was not measured, because the clip was already rejected"
                )
        if (rejected_by := verdict(scores, stage.rules)) is not None:
            return Verdict(rejected_by, tuple(looking))
    return Verdict(None)


def _refuse_rejected_by_step(entry: Entry, stages: Sequence[Stage]) -> None:
    """A custom step may reject clips by itself, and nobody else knows why it does."""
    custom = [stage.family for stage in stages if stage.scores is not None]
    reason = entry.document.get("filtered_by")
    known = (DUPLICATE, *FAMILIES.values())
    if custom and not entry.kept and reason not in known and read_rule(str(reason)) is None:
        raise OutOfReach(
            f"rejected by {reason}, which is not a rule; a custom step may have set it "
            f"({' or '.join(custom)})"
        )


def missing(entry: Entry, refiltering: Refiltering) -> list[str]:
    """What a clip that was rejected would need to be kept, and has not."""
    return [
        what
        for what, of_windows in refiltering.made
        if entry.document.get("windows") or not of_windows
    ]


def verdicts_on(entries: Iterable[Entry], refiltering: Refiltering) -> dict[str, Verdict]:
    """What becomes of each clip, if that can be said of all of them."""
    verdicts, reasons = verdicts_and_reasons(entries, refiltering)
    if reasons:
        raise OutOfReach(in_words(reasons))
    return verdicts


def in_words(reasons: Mapping[str, int]) -> str:
    """Why a video cannot be refiltered, by the clips that cannot be judged; or by what is wrong
    with all of it, of which there is no number.
    """
    whole = [why for why, number in reasons.items() if not number]
    return (
        whole[0]
        if whole
        else "; ".join(f"{count_of(number, 'clip')}: {why}" for why, number in reasons.items())
    )


def verdicts_and_reasons(
    entries: Iterable[Entry], refiltering: Refiltering
) -> tuple[dict[str, Verdict], Counter[str]]:
    """What becomes of each clip, and why that cannot be said of some."""
    drops = refiltering.drops
    verdicts: dict[str, Verdict] = {}
    reasons: Counter[str] = Counter()
    for entry in entries:
        try:
            verdicts[entry.id] = judged_anew(entry, refiltering.stages, drops)
            wanting = missing(entry, refiltering)
            if not entry.kept and verdicts[entry.id].rejected_by is None and wanting:
                raise OutOfReach(
                    f"would be kept under the new rules, but without {' and '.join(wanting)}"
                )
        except OutOfReach as error:
            reasons[str(error)] += 1
    return verdicts, reasons


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Part:
    """A chunk: its document, and its clips in the order of their planned clips."""

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
    #: What stays noted of a video that failed in part; it has no document.
    note: Document = field(default_factory=dict)

    def clips_of(self, part: Part, writing: Writing) -> list[Entry]:
        """The clips of a chunk after the change, whether it has been made or not."""
        chunk = chunk_id(str(part.document["video"]), part.index)
        return [
            changed(entry, self.verdicts.get(entry.id), writing.layout)
            for entry in read_clips(part.clips, chunk, writing)
        ]


def read_change(relative: str, writing: Writing) -> Change | None:
    """The change that a run was making when it was killed, if there was one."""
    said = read_document(writing.layout.open_video(relative), {}) or {}
    if CHANGE not in said:
        return None
    foreign = f"{writing.layout.open_video(relative)} differs from what was written there"
    try:
        change = from_json(Change, json.dumps(said[CHANGE]))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise OutOfReach(foreign) from error
    # Files are moved and removed by these ids.
    ids = [id for part in change.parts for id in part.clips]
    if change.relative != relative or not all(map(is_clip_id, ids)):
        raise OutOfReach(foreign)
    return change


def read_clips(clips: Sequence[str], chunk: str, writing: Writing) -> list[Entry]:
    """What documents say of these clips."""
    if writing.layout.packed:
        return _packed_clips(clips, chunk, writing)

    def read(clip: str) -> Entry:
        document = read_document(writing.layout.meta(clip), CLIP)
        if document is None:
            raise OutOfReach(f"the document of its clip {clip} is missing")
        kept = "filtered_by" not in document
        return Entry(clip, kept, writing.layout.clip(clip, kept), chunk=chunk, document=document)

    remote = shelf.is_remote(writing.layout.root)
    return list(in_order(read, clips, writing.threads) if remote else map(read, clips))


def _packed_clips(clips: Sequence[str], chunk: str, writing: Writing) -> list[Entry]:
    """The same, of documents in the table of their chunk."""
    output, path = Output(writing.layout), writing.layout.pack_table(chunk)
    try:
        there = output.pack(chunk) if clips else {}
        entries = [output.packed_entry(clip, True, chunk, there) for clip in clips]
    except NoDataset as error:
        raise OutOfReach(f"{error} (see finecut verify)") from error
    for entry in entries:
        _refuse_faults(f"the document of {entry.id} in {path}", entry.document, CLIP)
    return [replace(entry, kept="filtered_by" not in entry.document) for entry in entries]


def overlapping(entries: Iterable[Entry]) -> bool:
    """Whether any of these clips, which are in order, begins before the one before has ended."""
    return any(one.span[1] > other.span[0] for one, other in pairwise(entries))


def read_part(document: Document, refiltering: Refiltering) -> tuple[Part, tuple[Entry, ...]]:
    """A chunk and its clips, if its document says of them what their own do."""
    try:
        listed = [*document["clips"], *document["filtered_clips"]]
        if not all(map(is_clip_id, listed)):
            raise OutOfReach(DISAGREE)
        chunk = chunk_id(document["video"], document["clip_chunk_index"])
        entries = sorted(
            read_clips(listed, chunk, refiltering.writing), key=lambda entry: entry.span
        )
        if refiltering.unordered and overlapping(entries):
            raise OutOfReach(OVERLAPPING)
        told = chunk_rewritten(document, entries, refiltering.previews)
        if told != document or list(told) != list(document):
            raise OutOfReach(DISAGREE)
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfReach(DISAGREE) from error
    return Part(document, tuple(entry.id for entry in entries)), tuple(entries)


@dataclass(frozen=True)
class Read:
    """A video as documents tell of it, whatever a run that was killed had still to do."""

    #: Nothing of a film that failed in part.
    document: Document
    parts: tuple[tuple[Part, tuple[Entry, ...]], ...]
    #: How it was made.
    configuration: str | None
    #: What is noted of a film that failed in part.
    note: Document = field(default_factory=dict)
    #: Clips of other chunks, of which no more is known than that.
    others: tuple[str, ...] = ()

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entries in self.parts for entry in entries]


def read_video(relative: str, refiltering: Refiltering) -> Read:
    """A finished video, or one that a killed refiltering will finish."""
    writing = refiltering.writing
    document = read_document(refiltering.layout.processed_video(relative), VIDEO)
    change = None if document is not None else read_change(relative, writing)
    note: Document = {}
    if change is not None:
        document = {**change.document, CONFIGURATION: change.configuration}
        note = {**change.note, CONFIGURATION: change.configuration} if change.note else {}
    elif document is None:
        document, note = {}, _note_of_part(relative, writing)
    chunks = range(max(1, int(note.get("chunks") or document.get("num_clip_chunks") or 0)))
    found = [_read_chunk(relative, index, change, refiltering) for index in chunks]
    if None in found and not note:
        raise OutOfReach(f"the document of its chunk {found.index(None)} is missing")
    # Of a video that failed in part, all of a chunk may have failed.
    parts = tuple(part for part in found if part is not None)
    if note and not parts:
        raise OutOfReach("it is not finished: a run was killed, or all of it failed")
    if note:
        return Read({}, parts, note[CONFIGURATION], note)
    read = Read(document, parts, document.get(CONFIGURATION))
    if len(read.entries) != document.get("num_total_clips"):
        raise OutOfReach(DISAGREE)
    return read


def read_chunks(
    relative: str, document: Document, chunks: Set[str], refiltering: Refiltering
) -> Read:
    """A finished video with the clips of these chunks; of the others, which there are."""
    parts: list[tuple[Part, tuple[Entry, ...]]] = []
    others: list[str] = []
    number = max(1, int(document.get("num_clip_chunks") or 0)) if chunks else 0
    for index in range(number):
        path = refiltering.layout.processed_clip_chunk(relative, index)
        said = read_document(path, CHUNK)
        if said is None:
            raise OutOfReach(f"the document of its chunk {index} is missing")
        if chunk_id(str(said["video"]), index) in chunks:
            parts.append(read_part(said, refiltering))
        else:
            others += [*said["clips"], *said["filtered_clips"]]
    read = Read(document, tuple(parts), document.get(CONFIGURATION), others=tuple(others))
    if chunks and len(read.entries) + len(others) != document.get("num_total_clips"):
        raise OutOfReach(DISAGREE)
    return read


def _read_chunk(
    relative: str, index: int, change: Change | None, refiltering: Refiltering
) -> tuple[Part, tuple[Entry, ...]] | None:
    """A chunk and its clips, as they are after the change; nothing if it has no document."""
    if change is not None:
        for part in change.parts:
            if part.index == index:
                return part, tuple(change.clips_of(part, refiltering.writing))
    document = read_document(refiltering.layout.processed_clip_chunk(relative, index), CHUNK)
    return None if document is None else read_part(document, refiltering)


def _note_of_part(relative: str, writing: Writing) -> Document:
    """What is noted of a film that failed in part, if all that lies there was made in one way."""
    note = read_note(relative, writing)
    if not note.configuration or not note.names:
        raise OutOfReach(
            "it is not finished: a run was killed, or part of it failed, and what is there was "
            "made with different options than the rest"
        )
    # As it is when it is read again.
    return json.loads(serialise(asdict(note)))


def changed(entry: Entry, after: Verdict | None, layout: Layout) -> Entry:
    """The clip after a verdict on it, if there is one."""
    return clip_rewritten(entry, after.rejected_by, after.unseen, layout) if after else entry
