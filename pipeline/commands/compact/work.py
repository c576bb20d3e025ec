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
    layout, own = _place(command)
    with beside_runs(own), tray(own, command.in_process) as reports:
        told = f"{reports.root}/left-out"

        def tell(left_out: int) -> None:
            reports.write(told, str(left_out).encode())

        def add(pipeline: beam.Pipeline) -> None:
            _ = _compacted(pipeline, command, layout, own) | "Tell" >> beam.Map(tell)

        try:
            command.run_pipeline(add, own)
            left_out = int(shelf.read(told))
        finally:
            own.sweep()
    rows = [_rows(path) for path in files_of(layout) if not path.endswith(LINES)]
    return Compacted(layout.catalogue(), sum(rows), len(rows), left_out)


def build(command: Compact, pipeline: beam.Pipeline) -> None:
    """All of it as one job."""
    layout, own = _place(command)
    done = _compacted(pipeline, command, layout, own)
    _ = done | "Sweep" >> beam.Map(lambda _: own.sweep())


def _place(command: Compact) -> tuple[Layout, Shelf]:
    layout = Output.at(command.options.dataset, packs=True).layout
    own = Shelf(layout.root, layout.staging_of(uuid.uuid4().hex), fence=command.fence)
    return layout, own


def _compacted(
    pipeline: beam.Pipeline, command: Compact, layout: Layout, own: Shelf
) -> beam.PCollection[int]:
    rebuild = command.options.rebuild

    def begin(once: int) -> int:
        if rebuild:
            own.remove(layout.catalogue_facts(), *_files(layout))
        return once

    once = pipeline | "Once" >> beam.Create([0])
    # What was removed is not removed once more when another step is done again.
    begun = once | "Begin" >> beam.Map(begin).with_output_types(int) | "Begun" >> beam.Reshuffle()
    return begun | "CompactCatalogue" >> CompactCatalogue(layout, own)


def _files(layout: Layout) -> Iterator[str]:
    for folder in filter(shelf.exists, (layout.catalogue(), layout.catalogue_rows())):
        yield from shelf.files_below(folder)


def _rows(path: str) -> int:
    with shelf.open_file(path) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)
