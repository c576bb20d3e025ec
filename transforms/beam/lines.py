"""Records as one file of JSON lines: what workers report to whoever waits for them."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from finecut.io.records import to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf


class WriteLines(beam.PTransform[beam.PCollection[Any], beam.PCollection[int]]):
    """Records → one file of JSON lines, sorted; nothing is written when there are none."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, records: beam.PCollection[Any]) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(group: tuple[int, Iterable[str]]) -> int:
            text = "".join(f"{line}\n" for line in sorted(group[1]))
            return own.write(path, text.encode(errors="surrogateescape"))

        return (
            records
            | "Lines" >> beam.Map(lambda one: (0, to_json(one))).with_output_types(tuple[int, str])
            | "One file" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(int)
        )


def lines_in(path: str) -> list[str]:
    """The lines of such a file; none where none were written."""
    data = shelf.read_if_there(path)
    return [] if data is None else data.decode(errors="surrogateescape").split("\n")[:-1]
