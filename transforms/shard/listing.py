"""Listing: what of each clip the plan has to know, or why the clip is left out.

Clips are looked at slice by slice: as the catalogue tells of them (:mod:`from_rows`), or, where
there is none, document by document. Both ways give the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Entry, Output, chunk_named, clips_named, read_document
from finecut.io.process.threads import in_order
from finecut.io.records import Scores, Source, to_json
from finecut.io.storage import files as shelf
from finecut.io.tables.drops import read_drops
from finecut.io.tables.ids import IdSet
from finecut.transforms.beam.guard import attempted, failure
from finecut.transforms.beam.weather import STRICT, at_work
from finecut.transforms.catalogue.fields import REJECTED as FALLEN
from finecut.transforms.filter.rules import Rule
from finecut.transforms.shard.from_rows import RowsOfClips, kept_clips
from finecut.transforms.shard.material import (
    Members,
    Sharding,
    Tables,
    Told,
    caption_of,
    is_key,
    material_of,
    missing,
    small_members,
    storable,
)
from finecut.transforms.shard.plan import Candidate, mixed_order
from finecut.transforms.write.secrets import told

#: Why a clip is left out, besides the rules that it breaks.
REJECTED, DUPLICATE, INVALID = "rejected", "duplicate", "marked"
NO_FILE, NO_CAPTION, NO_VECTOR = "no file", "no caption", "no vector"
LISTED_TWICE: Final = "listed twice"
#: What a clip may need to have besides a score.
CAPTION, VECTORS = "caption", "vector"
STEP: Final = "ListClips"


class Listed(NamedTuple):
    """A clip as its chunk lists it."""

    id: str
    kept: bool
    chunk: str
    source: Source


def clips_of(chunk: str, output: Output) -> Iterator[Listed]:
    """The clips of a chunk's document, kept ones first."""
    said = read_document(chunk)
    key = chunk_named(said, chunk)
    video = str(said["video"])
    below = chunk[len(output.layout.processed_clip_chunks()) + 1 :]
    source = Source(video, video, below.rpartition("_")[0])
    return (Listed(id, kept, key, source) for id, kept in clips_named(said, chunk))


#: What the plan has to know of a clip, its scores, and the names of its captions.
Looked = tuple[Candidate, Scores, frozenset[str]]


def look_at(
    clip: Listed, sharding: Sharding, tables: Tables, drops: Set[str] = frozenset()
) -> Looked | str:
    """What the plan has to know of a clip, by its document; or why it is left out."""
    if not clip.kept:
        return REJECTED
    if clip.id in drops:
        return DUPLICATE
    entry = tables.entry(clip.id, clip.chunk)
    if (unfit := _unfit(entry, sharding, tables)) is not None:
        return unfit
    start, end = entry.span
    size = entry.document.get("width"), entry.document.get("height")
    members = material_of(entry, sharding, tables).members
    candidate = _candidate(clip, Shown(start, end, *size), members, sharding)
    return candidate, entry.scores, frozenset(entry.captions)


class Shown(NamedTuple):
    """What bins are made by."""

    start: float
    end: float
    width: Any
    height: Any


def _candidate(clip: Listed, shown: Shown, members: Members, sharding: Sharding) -> Candidate:
    return Candidate(
        id=clip.id,
        chunk=clip.chunk,
        source=storable(clip.source.name),
        start=shown.start,
        bin=sharding.bins.bin_of(shown.width, shown.height, shown.end - shown.start),
        size=members.size(clip.id),
        order=mixed_order(clip.id, sharding.seed),
        digest=members.digest(clip.id),
    )


def labels_in(scores: Scores) -> Iterator[str]:
    """The names of those scores that are labels and no numbers."""
    return (name for name, value in scores.items() if isinstance(value, str))


def _unfit(entry: Entry, sharding: Sharding, tables: Tables) -> str | None:
    """Why a clip that was kept is not wanted, if it is not."""
    if not entry.document.get("valid") and not sharding.invalid:
        return INVALID
    if (broken := _broken(entry.known, sharding.rules)) is not None:
        return broken
    if CAPTION in sharding.needs and caption_of(entry.captions, sharding.caption) is None:
        return NO_CAPTION
    if VECTORS in sharding.needs and tables.vector(entry.id, entry.chunk) is None:
        return NO_VECTOR
    if "num_bytes" not in entry.document and not entry.has_film:
        return NO_FILE
    return None


def _broken(known: Scores, rules: Iterable[Rule]) -> str | None:
    """The first rule that does not hold; of a source that has no such field, that it has none."""
    rule = next((rule for rule in rules if not rule.holds(known)), None)
    if rule is None:
        return None
    return f"no {rule.score}" if rule.of_source and rule.score not in known else rule.name


# ── slice by slice ───────────────────────────────────────────────────────────────────────────────


@dataclass
class Found:
    """What was found so far, and is not put down yet."""

    #: Candidates, and clips that could not be looked at.
    rows: list[dict[str, Any]] = field(default_factory=list)
    listed: int = 0
    #: Clips that are on the lists, whatever else is true of them.
    on_lists: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: The names of all scores and captions of the clips that stay; which scores are labels.
    scores: set[str] = field(default_factory=set)
    captions: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    #: Clips that would be taken if they were not on a list.
    missed: list[str] = field(default_factory=list)

    def fine(self, candidate: Candidate) -> None:
        said = {**vars(candidate), "digest": bytes.fromhex(candidate.digest), "trouble": None}
        self.rows.append(said)

    def broken(self, clip: Listed, error: Exception, sharding: Sharding) -> None:
        STRICT.pass_on(error, at_work(STEP, clip.source))
        lost = failure(STEP, clip.source, error, (clip.id,))
        order = mixed_order(clip.id, sharding.seed)
        row: dict[str, Any] = {"id": clip.id, "chunk": clip.chunk, "source": "", "start": 0.0}
        row |= {"bin": "", "size": 0, "order": order, "digest": None}
        self.rows.append({**row, "trouble": to_json(told(lost))})


@lru_cache(maxsize=1)
def drops_in(path: str) -> IdSet:
    """The list of a run, once a process: its path is of this run and no other."""
    return read_drops((path,))


def _drops_of(sharding: Sharding) -> Set[str]:
    return drops_in(sharding.drops) if sharding.drops else frozenset()


def look_at_chunk(clips: Sequence[Listed], sharding: Sharding, found: Found) -> None:
    """Look at the clips of a chunk, document by document."""
    drops, tables = _drops_of(sharding), Tables(sharding.output, sharding.algorithm)
    found.listed += len(clips)
    found.on_lists += sum(clip.id in drops for clip in clips)

    def look(clip: Listed) -> tuple[Listed, Looked | str | Exception]:
        return clip, attempted(lambda: look_at(clip, sharding, tables, drops))

    duplicates = []
    for clip, looked in in_order(look, clips, sharding.threads):
        _enter(clip, looked, sharding, found)
        if looked == DUPLICATE and sharding.grouped:
            duplicates.append(clip)
    is_fit = partial(_is_fit, sharding=sharding, tables=tables)
    fits = in_order(is_fit, duplicates, sharding.threads)
    found.missed += [clip.id for clip, fit in zip(duplicates, fits, strict=True) if fit]


def _enter(
    clip: Listed, looked: Looked | str | Exception, sharding: Sharding, found: Found
) -> None:
    if isinstance(looked, Exception):
        found.broken(clip, looked, sharding)
    elif isinstance(looked, str):
        found.left_out[looked] += 1
    else:
        candidate, scores, captions = looked
        found.fine(candidate)
        found.scores |= scores.keys()
        found.captions |= captions
        found.labels |= {*labels_in(scores)}


def _is_fit(clip: Listed, sharding: Sharding, tables: Tables) -> bool:
    """Whether a clip would be taken, were it not on a list."""

    # It is left out anyway, so what is wrong with it is no failure.
    def unfit() -> str | None:
        return _unfit(tables.entry(clip.id, clip.chunk), sharding, tables)

    outcome = attempted(unfit)
    if isinstance(outcome, Exception):
        STRICT.pass_on(outcome, at_work(STEP, clip.source))
    return outcome is None


# ── as the catalogue tells ───────────────────────────────────────────────────────────────────────


def has_films(output: Output) -> bool:
    """Whether there are files of clips at all."""
    layout = output.layout
    return shelf.exists(layout.packs() if layout.packed else layout.clips())


def look_at_rows(table: Any, sharding: Sharding, found: Found) -> None:
    """Look at the clips of a slice of the catalogue."""
    drops = _drops_of(sharding)
    clips = kept_clips(table, sharding.rules)
    looking = _Looking(clips, sharding, drops, has_films(sharding.output))
    found.listed += len(table)
    found.on_lists += sum(id in drops for id in table["id"].to_pylist()) if drops else 0
    if rejected := table["verdict"].to_pylist().count(FALLEN):
        found.left_out[REJECTED] += rejected
    taken: list[int] = []
    places = range(len(clips.table))
    # Vectors are in a table for each chunk.
    by_chunk = groupby(places, clips.values["chunk"].__getitem__)
    chunks = [[*some] for _, some in by_chunk] if sharding.algorithm else [[*places]]
    looks_at = in_order(looking.at_all, chunks, sharding.threads)
    for some, looks in zip(chunks, looks_at, strict=True):
        for place, looked in zip(some, looks, strict=True):
            if isinstance(looked, Candidate):
                found.fine(looked)
                taken.append(place)
            else:
                _enter(looking.listed(place), looked, sharding, found)
            if looked == DUPLICATE and sharding.grouped and looking.is_fit(place):
                found.missed.append(clips.values["id"][place])
    scores, labels = clips.names_of_scores(taken)
    found.scores |= scores
    found.labels |= labels
    found.captions |= {name for place in taken for name in clips.captions.get(place, ())}


@dataclass
class _Looking:
    """Looking at rows; what they do not say of a clip, its document does."""

    clips: RowsOfClips
    sharding: Sharding
    drops: Set[str]
    #: Whether there are files of clips at all.
    has_files: bool

    def __post_init__(self) -> None:
        self._tables = Tables(self.sharding.output, self.sharding.algorithm)

    def at_all(self, places: Sequence[int]) -> list[Candidate | Looked | str | Exception]:
        return [attempted(partial(self.at, place)) for place in places]

    def at(self, place: int) -> Candidate | Looked | str:
        values = self.clips.values
        if values["id"][place] in self.drops:
            return DUPLICATE
        if not self._says_all(place):
            return look_at(self.listed(place), self.sharding, self._tables)
        unfit = self._unfit(place)
        return self._candidate(place) if unfit is None else unfit

    def is_fit(self, place: int) -> bool:
        if self._says_all(place):
            return self._unfit(place) is None
        return _is_fit(self.listed(place), self.sharding, self._tables)

    def listed(self, place: int) -> Listed:
        values = self.clips.values
        video = str(values["source_video"][place] or "")
        source = Source(video, video, str(values["video"][place] or ""))
        return Listed(str(values["id"][place]), True, values["chunk"][place], source)

    def _says_all(self, place: int) -> bool:
        values = self.clips.values
        return is_key(values["id"][place] or "") and all(
            values[name][place] is not None
            for name in ("start", "end", "num_bytes", "sha256", "meta_bytes", "meta_digest")
        )

    def _unfit(self, place: int) -> str | None:
        sharding, values = self.sharding, self.clips.values
        if not values["valid"][place] and not sharding.invalid:
            return INVALID
        if sharding.rules:
            broken = _broken(self.clips.known_of(place), sharding.rules)
            if broken is not None:
                return broken
        if CAPTION in sharding.needs and self._caption(place) is None:
            return NO_CAPTION
        if VECTORS in sharding.needs and self._vector(place) is None:
            return NO_VECTOR
        return None

    def _candidate(self, place: int) -> Candidate:
        sharding, values = self.sharding, self.clips.values
        clip = self.listed(place)
        if not self.has_files or values["clip"][place] is None:
            raise missing(sharding.output.layout.clip(clip.id))
        others = small_members(clip.id, self._caption(place), self._vector(place))
        size = values["meta_bytes"][place] + sharding.place_bytes
        document = Told(size, values["meta_digest"][place])
        return _candidate(
            clip,
            Shown(*(values[name][place] for name in Shown._fields)),
            Members(values["num_bytes"][place], values["sha256"][place], document, others),
            sharding,
        )

    def _caption(self, place: int) -> str | None:
        return caption_of(self.clips.captions.get(place, {}), self.sharding.caption)

    def _vector(self, place: int) -> Any:
        values = self.clips.values
        return self._tables.vector(values["id"][place], values["chunk"][place])
