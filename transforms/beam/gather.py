"""Gathering: what belongs together, as soon as all of it is there.

Where the input has an end, all of it is there when the end has come: a GroupByKey. In a stream it
never comes, and no window knows how long a clip takes. So entries wait, each key by itself, until
``complete`` says that nothing is missing::

    chunk 7   clip, clip, receipt, …, clip, receipt   ──complete──▶  (chunk 7, all of them)
    chunk 9   clip, receipt, …     (a clip failed)    ──patience──▶  (chunk 9, what there is)

What is still missing when the patience is over is taken for lost. If it comes after all, everything
is handed out again, so that nothing is ever made of the late part alone.

Records that wait, in a shuffle or in the state of a stream, are packed by a coder of our own. Beam
would pickle them, with the name of each field again and again. The same record gives the same bytes
here, and a clip on its way to its chunk's document takes less than half as many.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.coders import BooleanCoder, Coder, registry
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.typehints import Iterable as BeamIterable
from apache_beam.typehints import Tuple as BeamTuple

from finecut.io.records import CODING, from_json, to_json

#: Patience after which nobody remembers a key whose rest did not come.
FORGET_AFTER: Final = 10
#: Twice as fast as zlib's usual level; a twentieth larger.
LEVEL: Final = 1


class Waiting(NamedTuple):
    """A record that waits: a type of its own, because Beam chooses coders by type."""

    record: Any


class RecordCoder(Coder):
    """The name of a record's kind and its JSON, deflated."""

    def encode(self, value: Waiting) -> bytes:
        kind = type(value.record)
        text = f"{kind.__module__}:{kind.__qualname__}\n{to_json(value.record)}"
        return zlib.compress(text.encode(*CODING), LEVEL)

    def decode(self, encoded: bytes) -> Waiting:
        name, _, text = zlib.decompress(encoded).decode(*CODING).partition("\n")
        return Waiting(from_json(resolve_name(name), text))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type[Waiting]:
        return Waiting


registry.register_coder(Waiting, RecordCoder)


@dataclass(eq=False, repr=False)
class Gather(beam.PTransform[Any, Any]):
    """(key, record) → (key, all records of this key).

    ``patience`` in seconds is for streams; without it, the input has an end.
    """

    complete: Callable[[Sequence[Any]], bool]
    patience: float | None

    def expand(self, entries: beam.PCollection[Any]) -> Any:
        kind: Any = entries.element_type
        key, record = kind.tuple_types
        gathered = BeamTuple[key, BeamIterable[record]]
        waiting = entries | "Wait" >> beam.MapTuple(
            lambda key, record: (key, Waiting(record))
        ).with_output_types(BeamTuple[key, Waiting])
        if self.patience is not None:
            return waiting | "Gather" >> beam.ParDo(
                _Wait(self.complete, self.patience)
            ).with_output_types(gathered)
        return (
            waiting
            | "Gather" >> beam.GroupByKey()
            | "All" >> beam.MapTuple(_gathered).with_output_types(gathered)
        )


def _gathered(key: Any, entries: Iterable[Waiting]) -> tuple[Any, list[Any]]:
    return key, [entry.record for entry in entries]


@dataclass(eq=False, repr=False)
class _Wait(beam.DoFn):
    ENTRIES = BagStateSpec("entries", RecordCoder())
    GIVEN_UP = ReadModifyWriteStateSpec("given up", BooleanCoder())
    PATIENCE = TimerSpec("patience", TimeDomain.REAL_TIME)

    complete: Callable[[Sequence[Any]], bool]
    patience: float

    def process(
        self,
        element: tuple[Any, Waiting],
        entries: Any = beam.DoFn.StateParam(ENTRIES),
        given_up: Any = beam.DoFn.StateParam(GIVEN_UP),
        timer: Any = beam.DoFn.TimerParam(PATIENCE),
    ) -> Iterable[tuple[Any, list[Any]]]:
        key, entry = element
        entries.add(entry)
        group = _gathered(key, entries.read())
        if self.complete(group[1]):
            for state in (entries, given_up, timer):
                state.clear()
            yield group
        elif given_up.read():
            yield group
        else:
            timer.set(time.time() + self.patience)

    @on_timer(PATIENCE)
    def lose_patience(
        self,
        key: Any = beam.DoFn.KeyParam,
        entries: Any = beam.DoFn.StateParam(ENTRIES),
        given_up: Any = beam.DoFn.StateParam(GIVEN_UP),
        timer: Any = beam.DoFn.TimerParam(PATIENCE),
    ) -> Iterable[tuple[Any, list[Any]]]:
        if given_up.read():
            entries.clear()
            given_up.clear()
            return
        given_up.write(True)
        timer.set(time.time() + FORGET_AFTER * self.patience)
        group = _gathered(key, entries.read())
        if group[1]:
            yield group
