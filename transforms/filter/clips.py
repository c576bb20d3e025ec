"""Keeping: rules speak about clips that were measured; who is rejected says by which rule.

Clips on a list (of duplicates, usually) are rejected before anybody has measured anything.
"""

import threading
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Final

import apache_beam as beam

from finecut.io.held import source_held
from finecut.io.records import Clip, Scores
from finecut.io.tables.drops import DropsError, digest_of, read_drops
from finecut.io.tables.ids import IdSet
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.filter.rules import Rule, verdict

#: What clips on a list are rejected by.
DUPLICATE: Final = "duplicate"
#: One thread of a process reads; the others wait for what it read.
_READING: Final = threading.Lock()


def judged(clip: Clip, rules: Sequence[Rule]) -> Clip:
    """The clip, rejected by the first rule that does not hold; a rejected one stays rejected."""
    rejected_by = verdict(known_of(clip), rules) if clip.kept else None
    return clip if rejected_by is None else _rejected(clip, rejected_by)


def known_of(clip: Clip) -> Scores:
    """What rules may speak of: what was measured, and what is said of the source."""
    metadata = clip.video.source.metadata
    return {**clip.scores, **source_held(metadata)} if metadata else clip.scores


def dropped(clip: Clip, ids: Set[str]) -> Clip:
    """The clip, rejected if it is one of these; a rejected one stays rejected by what it was."""
    return _rejected(clip, DUPLICATE) if clip.kept and clip.id in ids else clip


def _rejected(clip: Clip, by: str) -> Clip:
    count(f"rejected by {by}")
    LOG.debug("rejected %s: %s", clip.id, by)
    return clip.replace(rejected_by=by)


@dataclass(frozen=True)
class Dropping:
    """Lists of clips to leave out: where they lie, and what tells their ids from others.

    The ids themselves may be millions, too many for a pipeline to carry: each worker reads them.
    """

    lists: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, lists: Iterable[str]) -> "Dropping":
        lists = tuple(lists)
        return cls(lists, digest_of(read_drops(lists)))


def ids_of(dropping: Dropping) -> IdSet:
    """Read once in a process, and refused if they are others than those that were planned with."""
    with _READING:
        return _read(dropping)


@cache
def _read(dropping: Dropping) -> IdSet:
    ids = read_drops(dropping.lists)
    if digest_of(ids) != dropping.digest:
        raise DropsError(
            f"{', '.join(dropping.lists)} has different ids than when the run began. Usually "
            "finecut dedup has rewritten it meanwhile: start the run again"
        )
    return ids


@dataclass(eq=False, repr=False)
class KeepClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, judged. Nothing is thrown away: both sorts are written."""

    rules: tuple[Rule, ...]

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Judge" >> beam.Map(judged, self.rules).with_output_types(Clip)

    def display_data(self) -> dict[str, str]:
        return {"rules": ", ".join(rule.name for rule in self.rules)}


@dataclass(eq=False, repr=False)
class DropClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same; those on the lists are rejected."""

    dropping: Dropping

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Drop" >> beam.Map(_dropped_by, self.dropping).with_output_types(Clip)

    def display_data(self) -> dict[str, str]:
        return {"lists": ", ".join(self.dropping.lists)}


def _dropped_by(clip: Clip, dropping: Dropping) -> Clip:
    return dropped(clip, ids_of(dropping))
