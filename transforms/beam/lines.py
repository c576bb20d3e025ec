"""Records as one file of JSON lines: what workers report to whoever waits for them."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from finecut.io.records import Failure, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.write.secrets import told


class WriteLines(beam.PTransform[beam.PCollection[Any], beam.PCollection[int]]):
    """Records → one file of JSON lines, sorted; nothing is written when there are none."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, records: beam.PCollection[Any]) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(group: tuple[int, Iterable[str]]) -> int:
            return own.write(path, as_lines(group[1]))

        return (
            records
            | "Lines" >> beam.Map(_line).with_output_types(tuple[int, str])
            | "One file" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(int)
        )


def _line(record: Any) -> tuple[int, str]:
    return 0, to_json(told(record) if isinstance(record, Failure) else record)


def as_lines(lines: Iterable[str]) -> bytes:
    """The bytes of such a file."""
    return "".join(f"{line}\n" for line in sorted(lines)).encode(errors="surrogateescape")


def lines_in(path: str) -> list[str]:
    """The lines of such a file; none where none were written."""
    data = shelf.read_if_there(path)
    return [] if data is None else data.decode(errors="surrogateescape").split("\n")[:-1]
