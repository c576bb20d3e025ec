"""Listing: what of each clip the plan has to know, or why the clip is left out."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from finecut.io.dataset.output import Entry, Output, chunk_named, clips_named, read_document
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, Scores, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import drops_table, read_drops
from finecut.io.tables.ids import IdSet
from finecut.transforms.beam.guard import FAILURES, attempted, failure, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.weather import STRICT, at_work
from finecut.transforms.filter.rules import Rule
from finecut.transforms.shard.books import Books
from finecut.transforms.shard.material import (
    Sharding,
    Tables,
    caption_of,
    entry_of,
    material_of,
    storable,
)
from finecut.transforms.shard.plan import Candidate, candidate_table, mixed_order

#: Why a clip is left out, besides the rules that it breaks.
REJECTED, DUPLICATE, INVALID = "rejected", "duplicate", "marked"
NO_FILE, NO_CAPTION, NO_VECTOR = "no file", "no caption", "no vector"
LISTED_TWICE: Final = "listed twice"
#: What a clip may need to have besides a score.
CAPTION, VECTORS = "caption", "vector"
#: Rows that are put down together.
PART_ROWS: Final = 50_000


@dataclass(frozen=True)
class Part:
    """What a worker put down of the clips it looked at."""

    path: str
    listed: int
    left_out: Mapping[str, int]
    #: The names of all scores and captions of the clips that stay.
    scores: tuple[str, ...]
    captions: tuple[str, ...]
    #: Those of the scores that are labels.
    labels: tuple[str, ...] = ()
    #: Clips that are on the list, whatever else is true of them.
    on_lists: int = 0
    #: A list of those that would be taken if they were not on it, if anybody wants to know.
    fit: str | None = None


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
    """What the plan has to know of a clip; or why it is left out."""
    if not clip.kept:
        return REJECTED
    if clip.id in drops:
        return DUPLICATE
    entry = entry_of(clip.id, clip.chunk, sharding.output)
    if (unfit := _unfit(entry, sharding, tables)) is not None:
        return unfit
    material = material_of(entry, sharding, tables)
    start, end = entry.span
    document = entry.document
    return (
        Candidate(
            id=clip.id,
            chunk=clip.chunk,
            source=storable(clip.source.name),
            start=start,
            bin=sharding.bins.bin_of(document.get("width"), document.get("height"), end - start),
            size=material.size,
            order=mixed_order(clip.id, sharding.seed),
            digest=material.digest,
        ),
        entry.scores,
        frozenset(entry.captions),
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
    if CAPTION in sharding.needs and caption_of(entry, sharding.caption) is None:
        return NO_CAPTION
    if VECTORS in sharding.needs and tables.vector(entry.id, entry.chunk) is None:
        return NO_VECTOR
    if "num_bytes" not in entry.document and not shelf.exists(entry.path):
        return NO_FILE
    return None


def _broken(known: Scores, rules: Iterable[Rule]) -> str | None:
    """The first rule that does not hold; of a source that has no such field, that it has none."""
    rule = next((rule for rule in rules if not rule.holds(known)), None)
    if rule is None:
        return None
    return f"no {rule.score}" if rule.of_source and rule.score not in known else rule.name


def _is_fit(clip: Listed, sharding: Sharding, tables: Tables) -> bool:
    """Whether a clip would be taken, were it not on a list."""

    # It is left out anyway, so what is wrong with it is no failure.
    def unfit() -> str | None:
        return _unfit(entry_of(clip.id, clip.chunk, sharding.output), sharding, tables)

    outcome = attempted(unfit)
    if isinstance(outcome, Exception):
        STRICT.pass_on(outcome, at_work("ListClips", clip.source))
    return outcome is None


# ── the transform ───────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _drops_in(path: str) -> IdSet:
    """The list of a run, once a process: its path is of this run and no other."""
    return read_drops((path,))


@dataclass
class _Found(Books):
    """What was found so far, and is not put down yet."""

    rows: list[Candidate] = field(default_factory=list)
    #: Clips that would be taken if they were not on a list.
    missed: list[str] = field(default_factory=list)

    def put_down(self, tray: Shelf) -> Part:
        path, fit = (f"{tray.root}/{name}/{uuid4().hex}.parquet" for name in ("parts", "fit"))
        tray.write(path, candidate_table(self.rows))
        if self.missed:
            tray.write(fit, drops_table(self.missed))
        return Part(
            path,
            self.listed,
            left_out=dict(sorted(self.left_out.items())),
            scores=tuple(sorted(self.scores)),
            captions=tuple(sorted(self.captions)),
            labels=tuple(sorted(self.labels)),
            on_lists=self.on_lists,
            fit=fit if self.missed else None,
        )


class ListClips(beam.DoFn):
    """Documents of chunks → ``parts`` (:class:`Part`), ``failures``."""

    def __init__(self, sharding: Sharding, tray: Shelf) -> None:
        super().__init__()
        self.sharding, self.tray, self._found = sharding, tray, _Found()

    def start_bundle(self) -> None:
        self._found = _Found()

    def process(self, chunk: str) -> Iterable[Part | TaggedOutput[Literal["failures"], Failure]]:
        source = Source(chunk, chunk, chunk)
        work = partial(clips_of, chunk, self.sharding.output)
        listed = list(guarded("ListClips", source, work, weather=STRICT))
        accidents = [one for one in listed if isinstance(one, Failure)]
        clips = [one for one in listed if isinstance(one, Listed) and not accidents]
        for accident in chain(accidents, self._look_at(clips)):
            yield TaggedOutput(FAILURES, accident)
        if len(self._found.rows) >= PART_ROWS:
            yield self._found.put_down(self.tray)
            self._found = _Found()

    def finish_bundle(self) -> Iterable[Any]:
        if self._found.listed:
            yield GlobalWindows.windowed_value_at_end_of_window(self._found.put_down(self.tray))

    def _look_at(self, clips: list[Listed]) -> Iterator[Failure]:
        sharding, found = self.sharding, self._found
        drops: Set[str] = _drops_in(sharding.drops) if sharding.drops else frozenset()
        tables = Tables(sharding.output, sharding.algorithm)
        found.listed += len(clips)
        found.on_lists += sum(clip.id in drops for clip in clips)
        count("clips listed", len(clips))

        def look(clip: Listed) -> tuple[Listed, Looked | str | Exception]:
            return clip, attempted(lambda: look_at(clip, sharding, tables, drops))

        duplicates = []
        for clip, looked in in_order(look, clips, sharding.threads):
            if isinstance(looked, Exception):
                STRICT.pass_on(looked, at_work("ListClips", clip.source))
                count("clips failed")
                yield failure("ListClips", clip.source, looked, (clip.id,))
            elif isinstance(looked, str):
                found.left_out[looked] += 1
                if looked == DUPLICATE and sharding.grouped:
                    duplicates.append(clip)
            else:
                candidate, scores, captions = looked
                found.rows.append(candidate)
                found.scores |= scores.keys()
                found.captions |= captions
                found.labels |= {*labels_in(scores)}
        is_fit = partial(_is_fit, sharding=sharding, tables=tables)
        fits = in_order(is_fit, duplicates, sharding.threads)
        found.missed += [clip.id for clip, fit in zip(duplicates, fits, strict=True) if fit]
