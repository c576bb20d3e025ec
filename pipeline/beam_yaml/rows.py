"""Rows: how records cross the steps of a pipeline that is written in YAML.

    Clip ──▶ Row(id='d2d0…', video='/films/a.mp4', start=0.0, kept=True, scores={…}, …,
                 record='{"video": …}')

A row says the plain facts of its record, for Beam's own transforms to filter and map by, and holds
the whole record as text in ``record``. That is all the next step of finecut reads: what is changed
in the other fields is for others.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, Optional, TypeVar

import apache_beam as beam
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_element_type

from finecut.io.records import (
    Clip,
    Failure,
    PlannedChunk,
    Skipped,
    Source,
    Video,
    Written,
    from_json,
    to_json,
)
from finecut.io.summary import Summary
from finecut.transforms.write.close import ChunkClosed, VideoClosed

T = TypeVar("T")

RECORD = "record"
ATOMS = (bool, float, int, str)
KINDS = (
    Source,
    Skipped,
    Video,
    PlannedChunk,
    Clip,
    Written,
    ChunkClosed,
    VideoClosed,
    Failure,
    Summary,
)


class RowError(ValueError):
    """Rows that no record can be read from; the message says what to connect instead."""


class Fact(NamedTuple):
    """A field of a row: its type in Python, and how it is read from the record."""

    kind: Any
    read: Callable[[Any], Any]


def scores(clip: Clip) -> Mapping[str, float]:
    """Those that are numbers: what a row holds under one name has one type."""
    return {name: value for name, value in clip.scores.items() if not isinstance(value, str)}


def labels(clip: Clip) -> Mapping[str, str]:
    """Scores that are words."""
    return {name: value for name, value in clip.scores.items() if isinstance(value, str)}


def captions(clip: Clip) -> tuple[str, ...]:
    return tuple(text for window in clip.windows for text in window.captions.values())


def enhanced_captions(clip: Clip) -> tuple[str, ...]:
    return tuple(text for window in clip.windows for text in window.enhanced_captions.values())


def windows(clip: Clip) -> tuple[str, ...]:
    return tuple(f"{window.start_frame}_{window.end_frame}" for window in clip.windows)


#: What a row says beyond the plain fields of its record: where in it that lies, or what tells it.
MORE: Mapping[type, Mapping[str, str | Callable[[Any], Any]]] = {
    Skipped: {"video": "source.name"},
    Video: {"name": "name", "uri": "source.uri", "relative": "source.relative"},
    PlannedChunk: {
        "video": "video.name",
        "chunk": "chunk.id",
        "index": "chunk.index",
        "num_shots": "chunk.num_clips",
    },
    Clip: {
        "id": "id",
        "video": "video.name",
        "chunk": "chunk.id",
        "index": "planned.index",
        "start": "planned.span.start",
        "end": "planned.span.end",
        "seconds": "planned.span.length",
        "width": "file.width",
        "height": "file.height",
        "framerate": "file.framerate",
        "num_frames": "file.num_frames",
        "num_bytes": "file.num_bytes",
        "kept": "kept",
        "scores": scores,
        "labels": labels,
        "windows": windows,
        "captions": captions,
        "enhanced_captions": enhanced_captions,
    },
    ChunkClosed: {
        "video": "video.name",
        "num_chunks": "num_chunks",
        "num_total_clips": "num_total_clips",
        "num_kept": "summary.shots_kept",
        "num_rejected": "summary.shots_rejected",
        "rejected_by": "summary.rejected_by",
        "marked": "summary.marked",
        "seconds_cut": "summary.seconds_cut",
        "seconds_kept": "summary.seconds_kept",
        "clip_bytes": "summary.clip_bytes",
        "frames": "summary.frames",
        "vectors": "summary.vectors",
        "captions": "summary.captions",
        "path": "path",
        "num_bytes": "num_bytes",
        "seconds_rejected": "summary.seconds_rejected",
        "models": "summary.models",
        "transcoded": "summary.transcoded",
        "num_marked": "summary.num_marked",
    },
    VideoClosed: {"video": "video.name"},
    Failure: {"video": "source.name", "uri": "source.uri"},
}


@cache
def facts_of(kind: type) -> Mapping[str, Fact]:
    """The fields that rows of this record have, besides ``record``."""
    more = {name: _fact(kind, said) for name, said in MORE.get(kind, {}).items()}
    own = {f.name: _fact(kind, f.name) for f in dataclasses.fields(kind)}
    return more | {name: fact for name, fact in own.items() if _is_plain(fact.kind)}


@cache
def row_type(kind: type) -> RowTypeConstraint:
    """What Beam is told of rows of this record."""
    told = [(name, _beam_type(fact.kind)) for name, fact in facts_of(kind).items()]
    return RowTypeConstraint.from_fields([*told, (RECORD, str)])


def row_of(record: object) -> beam.Row:
    """The row of a record."""
    kind: Any = type(record)
    told = {name: _plainly(fact.read(record)) for name, fact in facts_of(kind).items()}
    return beam.Row(**told, **{RECORD: to_json(record)})


def record_in(row: Any, kind: type[T]) -> T:
    """The record a row holds."""
    text: Any = getattr(row, RECORD, None)
    try:
        return from_json(kind, text)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RowError(
            f"the field {RECORD!r} of a row does not contain a {kind.__name__}, but "
            f"{str(text)[:80]!r}: the next step reads this field, so keep what the previous step "
            "wrote"
        ) from error


@dataclasses.dataclass(eq=False, repr=False)
class ToRows(beam.PTransform[beam.PCollection[Any], beam.PCollection[Any]]):
    """Records of one kind → their rows."""

    kind: type

    def expand(self, records: beam.PCollection[Any]) -> beam.PCollection[Any]:
        return records | "Row" >> beam.Map(row_of).with_output_types(row_type(self.kind))


@dataclasses.dataclass(eq=False, repr=False)
class FromRows(beam.PTransform[beam.PCollection[Any], beam.PCollection[Any]]):
    """Rows → the records they hold; rows that hold none are refused before anything runs."""

    kind: type
    step: str

    def expand(self, rows: beam.PCollection[Any]) -> beam.PCollection[Any]:
        self._refuse_others(rows.element_type)
        read = partial(record_in, kind=self.kind)
        return rows | "Record" >> beam.Map(read).with_output_types(self.kind)

    def _refuse_others(self, given: Any) -> None:
        wanted = f"{self.step} takes rows of {self.kind.__name__}s"
        names = _names(given)
        if RECORD not in names:
            raise RowError(
                f"{wanted}, but their field {RECORD!r} is gone: keep it where you map fields, "
                "for example with append: true"
            )
        other = next((kind for kind in KINDS if _names(row_type(kind)) == names), self.kind)
        if names != _names(row_type(self.kind)) and other is not self.kind:
            raise RowError(
                f"{wanted}, but it got rows of {other.__name__}s: connect another step, or "
                "another of its outputs"
            )


def _names(given: Any) -> list[str]:
    try:
        return [name for name, _ in named_fields_from_element_type(given)]
    except (TypeError, ValueError):  # rows of nobody knows what
        return []


def _fact(kind: type, said: str | Callable[[Any], Any]) -> Fact:
    if callable(said):
        return Fact(typing.get_type_hints(said)["return"], said)
    return Fact(_kind_at(kind, said), partial(_value_at, path=said))


def _kind_at(kind: Any, path: str) -> Any:
    """The type of what lies there; it may be missing if anything on the way may be."""
    missing = False
    for name in path.split("."):
        base, may_miss = _without_none(kind)
        missing |= may_miss
        found = getattr(base, name, None)
        if isinstance(found, property):
            kind = typing.get_type_hints(found.fget)["return"]
        else:
            kind = typing.get_type_hints(base)[name]
    return Optional[kind] if missing else kind  # noqa: UP045 - Beam reads this spelling only


def _value_at(record: Any, path: str) -> Any:
    for name in path.split("."):
        if record is None:
            return None
        record = getattr(record, name)
    return record


def _without_none(kind: Any) -> tuple[Any, bool]:
    """An optional type without its ``None``, and whether it had one."""
    arguments = typing.get_args(kind)
    if type(None) not in arguments:
        return kind, False
    [base] = [a for a in arguments if a is not type(None)]
    return base, True


def _is_plain(kind: Any) -> bool:
    base, _ = _without_none(kind)
    if typing.get_origin(base) in (tuple, Mapping):
        return all(a in ATOMS or a is ... for a in typing.get_args(base))
    return base in ATOMS


def _beam_type(kind: Any) -> Any:
    base, missing = _without_none(kind)
    arguments = typing.get_args(base)
    if typing.get_origin(base) is tuple:
        base = Sequence[arguments[0]]  # type: ignore[valid-type]
    return Optional[base] if missing else base  # noqa: UP045 - Beam reads this spelling only


def _plainly(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
