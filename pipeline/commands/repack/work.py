"""The work of ``finecut repack``."""

import json
import uuid
from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.at_work import occupying, refuse_half_forgotten, tray
from finecut.pipeline.commands.repack import Repack
from finecut.transforms.catalogue.on_workers import CompactCatalogue
from finecut.transforms.packs.repack import Group, Regrouped, groups, regroup, settle

MB = 1_000_000


class Repacked(NamedTuple):
    """What was done."""

    folder: str
    chunks: int
    dropped: int
    removed: int


def repack_dataset(command: Repack) -> Repacked:
    """Do it, where nobody else is at work."""
    options = command.options
    output = Output.at(options.dataset, packs=True)
    layout = output.layout
    if not layout.packed:
        raise NoDataset(
            f"{output.root} consists of files: finecut repack is for datasets that were curated "
            "with --layout packed"
        )
    own = Shelf(layout.root, layout.staging_of(uuid.uuid4().hex), fence=command.fence)
    alone = occupying(own, "the dataset", ends_with_us=command.ends_with_us)
    with alone, tray(own, command.in_process) as reports:
        refuse_half_forgotten(output.root)
        told = f"{reports.root}/repacked"
        wanted = list(groups(output, options.pack_mb * MB))

        def tell(
            _once: int, done: Iterable[Regrouped], removed: Iterable[int], _compacted: Iterable[int]
        ) -> None:
            done = list(done)
            sums = [sum(each.chunks for each in done), sum(each.dropped for each in done)]
            reports.write(told, json.dumps([*sums, *removed]).encode())

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            done = (
                pipeline
                | "Groups" >> beam.Create(wanted).with_output_types(Group)
                | "Share out" >> beam.Reshuffle()
                | "Regroup"
                >> beam.Map(lambda group: regroup(group, output, own)).with_output_types(Regrouped)
            )
            settled = once | "Settle" >> beam.Map(
                lambda _, _done: settle(output, own), AsList(done)
            ).with_output_types(int)
            compacted = settled | "CompactCatalogue" >> CompactCatalogue(layout, own)
            _ = once | "Tell" >> beam.Map(tell, AsList(done), AsList(settled), AsList(compacted))

        # Also where nothing is to be done: one that was stopped may not have compacted its rows.
        command.run_pipeline(build, own)
        chunks, dropped, removed = json.loads(shelf.read(told))
    return Repacked(layout.packs(), chunks, dropped, removed)
