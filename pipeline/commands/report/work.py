"""``finecut report``: an output as a page to look at, without a server and without network.

    DATASET/report/index.html                 the page: what it looks like, what it can do, totals
    DATASET/report/data/clips-0000.<digest>.js   columns that it loads when it needs them

Data is named by its digest and the page goes last, so a page never shows half of another one:
who opens it meanwhile sees the old one, and a run that is killed leaves files nobody speaks of,
which the next one removes. Documents are read one by one and only columns are held.
"""

import json
import os
import posixpath
from collections.abc import Iterator
from urllib.parse import quote

import apache_beam as beam

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import sweep_dead
from finecut.pipeline.at_work import beside_runs, shelf_in, tray
from finecut.pipeline.commands.report import Made, Report
from finecut.pipeline.commands.report.making import (
    PAGE,
    READERS,
    Making,
    Wish,
    make_report,
    remove_old,
)
from finecut.pipeline.options import OptionError, cores
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.weather import sentence_of
from finecut.transforms.report.counting import Totals, from_json, to_json
from finecut.transforms.report.frames import Drawing
from finecut.transforms.report.on_workers import CountClips, MakeParts
from finecut.transforms.report.parts import DATA, Showing
from finecut.transforms.report.parts import Made as MadePart

#: Where the page lies in an output.
FOLDER = "report"

__all__ = ["FOLDER", "PAGE", "READERS", "output_at", "report", "report_of_run"]


def report(command: Report) -> Made:
    """Make the page that is asked for."""
    options = command.options
    output = output_at(options.dataset)
    folder = shelf.absolute(options.into) if options.into else f"{output.root}/{FOLDER}"
    check_folder(output.root, folder)
    own = shelf_in(folder if options.into else output.root)
    wish = Wish(
        neighbours=options.neighbours,
        threads=options.local_workers,
        pictures=0 if options.no_pictures else options.picture_width,
        most=options.clips,
    )
    links = relative_links(output.root, folder)
    with beside_runs(own, only_marked=bool(options.into)), own.alone(FOLDER):
        if options.is_local:
            return make_report(output, own, folder, wish, links)
        with tray(own, command.in_process) as reports:
            making = Making(output, own, folder, wish)
            try:
                return OnEngine(command, making, reports).page(links)
            finally:
                own.sweep()


class OnEngine:
    """A page whose parts the workers of an engine make; they report in files."""

    def __init__(self, command: Report, making: Making, reports: Shelf) -> None:
        self.command, self.making, self.reports = command, making, reports

    def page(self, links: str) -> Made:
        return self.making.page(self._totals(), self._parts, links)

    def _totals(self) -> Totals:
        place, reports, output = f"{self.reports.root}/totals", self.reports, self.making.output

        def tell(totals: Totals) -> None:
            reports.write(place, json.dumps(to_json(totals)).encode())

        def build(pipeline: beam.Pipeline) -> None:
            counted = pipeline | "Once" >> beam.Create([0]) | "CountClips" >> CountClips(output)
            _ = counted | "Tell" >> beam.Map(tell)

        self.command.run_pipeline(build, self.making.own)
        return from_json(json.loads(shelf.read(place)))

    def _parts(self, showing: Showing, drawing: Drawing) -> Iterator[MadePart]:
        folder, reports, making = f"{self.reports.root}/parts", self.reports, self.making

        def tell(made: MadePart) -> None:
            reports.write(f"{folder}/{made.part:06d}", json.dumps(made._asdict()).encode())

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            made = once | "MakeParts" >> MakeParts(making.output, showing, making.own, drawing)
            _ = made | "Tell" >> beam.Map(tell)

        self.command.run_pipeline(build, making.own)
        for path in shelf.files_in(folder):
            yield MadePart(**json.loads(shelf.read(path)))


def output_at(root: str) -> Output:
    """The output that lies there; one that is damaged, or all failures, is worth a look, too."""
    try:
        return Output.at(root, packs=True)
    except NoDataset:
        layout = found(Layout(shelf.absolute(root)))
        if not any(map(shelf.exists, (layout.processed_clip_chunks(), layout.failures()))):
            raise
        return Output(Layout(layout.root, shard_prefix=bool(shelf.folders_in(layout.clips()))))


def report_of_run(
    layout: Layout, own: Shelf, nothing_new: bool = False, *, isolated: bool = True
) -> str:
    """The page of an output that a run has just written: its path, or why there is none."""
    folder = f"{layout.root}/{FOLDER}"
    # Of runs that end at the same time, each makes it when all before it have: the last one made
    # tells of all of them.
    with own.alone(FOLDER):
        wish = Wish(few=True, threads=cores(), isolated=isolated)
        if nothing_new and shelf.exists(f"{folder}/{PAGE}"):
            if not sweep_dead(own):  # others may be making a page that names what no page does yet
                remove_old(own, folder, shelf.files_in(f"{folder}/{DATA}"), ())
            return f"open: {folder}/{PAGE}"
        return _page_of_run(layout, own, folder, wish)


def _page_of_run(layout: Layout, own: Shelf, folder: str, wish: Wish) -> str:
    links = relative_links(layout.root, folder)
    made = attempted(lambda: make_report(Output(layout), own, folder, wish, links))
    if isinstance(made, Exception):
        why = sentence_of(made) or str(made) or type(made).__name__
        return f"no report, because writing it failed: {why}"
    return f"open: {made.path}"


def relative_links(root: str, folder: str) -> str:
    """The way from the page to the dataset, as it stands in links.

    >>> relative_links("/data/out", "/data/pages/out #1")
    '../../out'
    """
    if shelf.is_remote(root):
        return quote(posixpath.relpath(root.split("://", 1)[1], folder.split("://", 1)[1]))
    return quote(os.path.relpath(root, folder).encode("utf-8", "surrogateescape"))


def check_folder(root: str, folder: str) -> None:
    """Refuse a folder where the page or its data would lie among the dataset's own files."""
    whole, places = shelf.identity(root), [*map(shelf.identity, (folder, f"{folder}/{DATA}"))]
    if places[0] == shelf.identity(f"{root}/{FOLDER}"):
        return
    for place in places:
        if place == whole or place.startswith(f"{whole}/"):
            raise OptionError(
                f"--into {folder} would put {place} into the dataset {root}, whose folders "
                "contain only clips and their documents: leave --into out (the page then goes to "
                f"{root}/{FOLDER}), or give a folder outside of the dataset"
            )
