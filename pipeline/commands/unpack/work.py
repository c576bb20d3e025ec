"""The work of ``finecut unpack``."""

import json
import uuid
from typing import NamedTuple

import apache_beam as beam

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.errors import RunError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.at_work import occupying, refuse_half_forgotten, tray
from finecut.pipeline.commands.unpack import Unpack
from finecut.transforms.packs.on_workers import UnpackDataset
from finecut.transforms.packs.unpack import Unpacking, note_of


class Unpacked(NamedTuple):
    """What there is now."""

    folder: str
    clips: int


def unpack_dataset(command: Unpack) -> Unpacked:
    """Do it, into a folder where nobody else is at work."""
    options = command.options
    output = Output.at(options.dataset, packs=True)
    if not output.layout.packed:
        raise NoDataset(
            f"{output.root} consists of files already: finecut unpack is for datasets that were "
            "curated with --layout packed"
        )
    layout = Layout(shelf.absolute(options.output))
    refuse_half_forgotten(output.root)
    _refuse_other(layout, output.root)
    own = Shelf(layout.root, layout.staging_of(uuid.uuid4().hex), fence=command.fence)
    alone = occupying(own, "--output", ends_with_us=command.ends_with_us)
    with alone, tray(own, command.in_process) as reports:
        own.write(note_of(layout), json.dumps({"of": output.root}, indent=4).encode())
        told = f"{reports.root}/clips"

        def tell(clips: int) -> None:
            reports.write(told, str(clips).encode())

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            done = once | "Unpack" >> UnpackDataset(Unpacking(output, layout, own))
            _ = done | "Tell" >> beam.Map(tell)

        command.run_pipeline(build, own)
        clips = int(shelf.read(told))
        own.remove(note_of(layout))
    return Unpacked(layout.root, clips)


def _refuse_other(layout: Layout, dataset: str) -> None:
    """Files of two datasets must not mix; what was stopped half-way is gone on with."""
    if f"{layout.root}/".startswith(f"{dataset}/") or f"{dataset}/".startswith(f"{layout.root}/"):
        raise RunError(
            f"--output {layout.root} and the dataset {dataset} lie in each other: give another "
            "folder"
        )
    if (usable_json(note_of(layout)) or {}).get("of") == dataset:
        return
    places = (layout.processed_clip_chunks(), layout.processed_videos(), layout.arrangement())
    if any(map(shelf.exists, places)):
        raise RunError(
            f"--output {layout.root} is a dataset already, and files of two must not mix: give a "
            "new folder"
        )
