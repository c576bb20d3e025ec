"""Deciding on all videos on workers: what would come of each, and in which chunks anything changes.

    catalogue ──slices──▶ chunks, judged ─┐
                                          ├─ by video ─▶ Told, video by video ─▶ Yields
    processed_videos/ ──listed──▶ videos ─┘                   │
                                              videos that only documents tell of ─▶ foresee

Nobody holds all videos but the worker that lists them. A video that a run has left open, or whose
document counts other clips than the catalogue has, is looked at by its documents; and all are,
where there is no catalogue. Documents of clips are not read otherwise.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from finecut.io.layout import Layout
from finecut.io.process.threads import in_order
from finecut.io.records import CODING, Source, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.tables.divided import gathered
from finecut.io.tables.ids import RECORD
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.catalogue.reading import Slice, slices
from finecut.transforms.refilter.changing import (
    REFILTERED,
    UNCHANGED,
    UNTOUCHED,
    foresee,
    refilter,
    refilter_chunks,
    untouched,
    worked,
)
from finecut.transforms.refilter.judging import (
    OTHER_OPTIONS,
    OutOfReach,
    Refiltering,
    in_words,
    read_document,
)
from finecut.transforms.refilter.looking import (
    CHUNKS,
    VIDEOS,
    VIDEOS_OF_RANGE,
    Looking,
    Seen,
    list_down,
    look_at_slice,
    videos_of,
)
from finecut.transforms.refilter.rewriting import Yields, merged
from finecut.transforms.verify.checks.shapes import VIDEO
from finecut.transforms.write.documents import CONFIGURATION


@dataclass(frozen=True)
class Told:
    """What is known of a video: what comes of it, and the chunks of which a clip changes; or, if
    that is not known, only its documents tell."""

    relative: str
    yields: Yields | None = None
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decided:
    """What was decided on a range of videos."""

    #: A line for each of them.
    path: str
    yields: Yields
    #: Videos that documents are asked about.
    asked: int = 0


# ── video by video ───────────────────────────────────────────────────────────────────────────────


def decide(number: int, lists: Iterable[str], seen: Iterable[Seen], looking: Looking) -> Decided:
    """Decide on the videos of a range."""
    tray = looking.tray
    videos = gathered(sorted(lists), number, VIDEOS).sort_by("video").to_pylist()
    rows = gathered(sorted(one.path for one in seen), number, CHUNKS)
    rows = rows.sort_by([("video", "ascending"), ("start", "ascending"), ("chunk", "ascending")])
    of_videos = {key: [*each] for key, each in groupby(rows.to_pylist(), itemgetter("video"))}

    def told(video: Mapping[str, Any]) -> Told:
        relative = video["video"].decode(*CODING)
        if video["open"] or not is_complete(looking.layout):
            return Told(relative)
        return told_by(relative, of_videos.get(video["key"], []), looking)

    threads = looking.refiltering.writing.threads if not looking.base else 1
    found = [*in_order(told, videos, threads)]
    path = f"{tray.root}/videos/{number:06d}.jsonl"
    tray.write(path, "".join(f"{to_json(one)}\n" for one in found).encode(*CODING))
    keys = (video["key"] for video in videos)
    sample: dict[str, Any] = {}
    for key, one in zip(keys, found, strict=True):
        for row in of_videos.get(key, ()) if one.yields and one.yields.then else ():
            sample |= json.loads(row["sample"] or "{}")
    yields = merged(one.yields for one in found if one.yields is not None)
    asked = sum(one.yields is None for one in found)
    return Decided(path, replace(yields, sample=sample).trimmed(), asked)


def told_by(relative: str, rows: Sequence[Mapping[str, Any]], looking: Looking) -> Told:
    """What comes of a finished video of which these are the chunks."""
    refiltering, clips = looking.refiltering, sum(row["clips"] for row in rows)
    configuration = looking.base
    if not configuration:
        try:
            document = read_document(looking.layout.processed_video(relative), VIDEO)
        except OutOfReach as error:
            return Told(relative, untouched(relative, str(error), clips))
        if document is None or document.get("num_total_clips") != clips:
            return Told(relative)
        configuration = str(document.get(CONFIGURATION))
    yields = merged(from_json(Yields, row["yields"]) for row in rows)
    if configuration == refiltering.writing.configuration:
        return Told(relative, replace(yields, then=yields.now, losing={}, videos={UNCHANGED: 1}))
    reasons = Counter[str]()
    for row in rows:
        reasons.update(json.loads(row["reasons"] or "{}"))
    if configuration not in refiltering.known:
        return Told(relative, untouched(relative, OTHER_OPTIONS, clips))
    if reasons:
        return Told(relative, untouched(relative, in_words(reasons), clips))
    chunks = tuple(row["chunk"] for row in rows if row["changes"])
    return Told(relative, replace(yields, videos={REFILTERED: 1}), chunks)


def bereft_by(seen: Iterable[Seen]) -> Yields:
    """How many duplicates go for a clip that goes as well."""
    parts = [one for one in seen if one.wanted]
    wanted, staying = (
        np.frombuffer(b"".join(map(shelf.read, paths)), RECORD)
        for paths in ([one.wanted for one in parts], [one.staying for one in parts])
    )
    return Yields(bereft=int(len(wanted) - np.isin(wanted, staying).sum()))


# ── doing it ─────────────────────────────────────────────────────────────────────────────────────


def done_to(relative: str, refiltering: Refiltering, *, told: Told) -> Iterator[Yields]:
    """Do to a video what was decided; what has come of it."""
    yields = told.yields
    if yields is None:
        yield from refilter(relative, refiltering)
    elif yields.videos.get(REFILTERED):
        chunks = frozenset(told.chunks)
        yield from refilter_chunks(relative, refiltering, chunks=chunks, yields=yields)
    else:
        count("videos untouched", yields.videos.get(UNTOUCHED, 0))
        yield yields


# ── the transforms ───────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False, repr=False)
class LookAtVideos(beam.PTransform[beam.PCollection[Any], Any]):
    """One element → ``decided`` (:class:`Decided`, for each range of videos), and ``yields``: what
    would come of all, in one record."""

    looking: Looking

    def expand(self, once: beam.PCollection[Any]) -> Any:
        looking, layout = self.looking, self.looking.layout
        lists = once | "List" >> beam.FlatMap(lambda _: videos_of(layout)).with_output_types(
            list[tuple[str, bool]]
        )
        ranges = AsSingleton(
            lists
            | "Numbers" >> beam.Map(len).with_output_types(int)
            | "All videos" >> beam.CombineGlobally(sum)
            | "Ranges" >> beam.Map(lambda number: max(1, -(-number // VIDEOS_OF_RANGE)))
        )
        listed = lists | "List down" >> beam.Map(
            lambda videos, ranges: list_down(videos, ranges, looking), ranges
        ).with_output_types(str)
        seen = (
            once
            | "Slices" >> beam.FlatMap(lambda _: _slices(layout)).with_output_types(Slice)
            | "Share out slices" >> beam.Reshuffle()
            | "Judge"
            >> beam.Map(
                lambda piece, ranges: look_at_slice(piece, ranges, looking), ranges
            ).with_output_types(Seen)
        )
        decided = (
            once
            | "Numbers of ranges"
            >> beam.FlatMap(lambda _, ranges: range(ranges), ranges).with_output_types(int)
            | "Share out ranges" >> beam.Reshuffle()
            | "Decide"
            >> beam.Map(
                lambda number, lists, seen: decide(number, lists, seen, looking),
                AsList(listed),
                AsList(seen),
            ).with_output_types(Decided)
        )
        asked = (
            decided
            | "To be asked" >> beam.FlatMap(_asked).with_output_types(Told)
            | "Share out the asked" >> beam.Reshuffle()
            | "Foresee" >> beam.FlatMap(_foreseen, looking.refiltering).with_output_types(Yields)
        )
        of_ranges = decided | "Yields" >> beam.Map(_yields_of).with_output_types(Yields)
        bereft = once | "Bereft" >> beam.Map(
            lambda _, seen: bereft_by(seen), AsList(seen)
        ).with_output_types(Yields)
        yields = (
            (of_ranges, asked, bereft)
            | "All" >> beam.Flatten()
            | "Add up" >> beam.CombineGlobally(merged)
        )
        return {"decided": decided, "yields": yields}


def _slices(layout: Layout) -> Iterator[Slice]:
    """Those of the catalogue, if there is one."""
    return slices(layout) if is_complete(layout) else iter(())


def _yields_of(decided: Decided) -> Yields:
    return decided.yields


def _lines_of(decided: Decided) -> Iterator[Told]:
    lines = shelf.read(decided.path).decode(*CODING).split("\n")[:-1]
    return (from_json(Told, line) for line in lines)


def _asked(decided: Decided) -> Iterator[Told]:
    told = _lines_of(decided) if decided.asked else iter(())
    return (one for one in told if one.yields is None)


def _source_of(told: Told) -> Source:
    return Source(uri="", name=told.relative, relative=told.relative)


def _foreseen(told: Told, refiltering: Refiltering) -> Iterator[Yields]:
    return worked(_source_of(told), foresee, refiltering)


@dataclass(eq=False, repr=False)
class DoToVideos(beam.PTransform[beam.PCollection[Decided], beam.PCollection[Yields]]):
    """What was decided on ranges of videos → what came of all of them, in one record."""

    refiltering: Refiltering

    def expand(self, decided: beam.PCollection[Decided]) -> beam.PCollection[Yields]:
        refiltering = self.refiltering
        return (
            decided
            | "Videos" >> beam.FlatMap(_lines_of).with_output_types(Told)
            | "Deal" >> beam.Reshuffle()
            | "Work" >> beam.FlatMap(_done, refiltering).with_output_types(Yields)
            | "Add up" >> beam.CombineGlobally(merged)
        )


def _done(told: Told, refiltering: Refiltering) -> Iterator[Yields]:
    return worked(_source_of(told), partial(done_to, told=told), refiltering)
