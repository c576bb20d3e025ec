"""The work of ``finecut compact``."""

import uuid
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.at_work import beside_runs, tray
from finecut.pipeline.commands.compact import Compact
from finecut.transforms.catalogue.buckets import LINES, files_of
from finecut.transforms.catalogue.on_workers import CompactCatalogue


class Compacted(NamedTuple):
    """What there is now."""

    folder: str
    rows: int
    files: int
    #: Chunks whose documents could not be read.
    left_out: int


def compact_dataset(command: Compact) -> Compacted:
    """Do it; runs may be at work there at the same time."""
    options = command.options
    layout = Output.at(options.dataset, packs=True).layout
    own = Shelf(layout.root, layout.staging_of(uuid.uuid4().hex), fence=command.fence)
    with beside_runs(own), tray(own, command.in_process) as reports:
        told = f"{reports.root}/left-out"

        def tell(left_out: int) -> None:
            reports.write(told, str(left_out).encode())

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            done = once | "CompactCatalogue" >> CompactCatalogue(layout, own)
            _ = done | "Tell" >> beam.Map(tell)

        if options.rebuild:
            own.remove(layout.catalogue_facts(), *_files(layout))
        try:
            command.run_pipeline(build, own)
            left_out = int(shelf.read(told))
        finally:
            own.sweep()
    rows = [_rows(path) for path in files_of(layout) if not path.endswith(LINES)]
    return Compacted(layout.catalogue(), sum(rows), len(rows), left_out)


def _files(layout: Layout) -> Iterator[str]:
    for folder in filter(shelf.exists, (layout.catalogue(), layout.catalogue_rows())):
        yield from shelf.files_below(folder)


def _rows(path: str) -> int:
    with shelf.open_file(path) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)
