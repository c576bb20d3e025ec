"""``finecut report``: an output as a page to look at, without a server and without network.

    DATASET/report/index.html                 the page: what it looks like, what it can do, totals
    DATASET/report/data/clips-0000.<digest>.js   columns that it loads when it needs them

Data is named by its digest and the page goes last, so a page never shows half of another one:
who opens it meanwhile sees the old one, and a run that is killed leaves files nobody speaks of,
which the next one removes. Documents are read one by one and only columns are held.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from finecut.io.dataset.output import NoDataset, Output
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import sweep_dead
from finecut.pipeline.at_work import beside_runs, shelf_in
from finecut.pipeline.commands.report import Made, Report
from finecut.pipeline.options import OptionError
from finecut.pipeline.page import DATA, Chunks, page_text
from finecut.pipeline.page.gather import FAILED, TextOutcome, rules_drawn, rules_of_last
from finecut.pipeline.page.similar import write_alike, write_duplicates
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.weather import sentence_of
from finecut.transforms.registry import titles
from finecut.transforms.report.sources import fields_of
from finecut.transforms.steps.thumbnail import THUMBNAILS

#: Where the page lies in an output, and what it is called.
FOLDER, PAGE = "report", "index.html"
#: Documents of a store that are asked for at the same time.
READERS = 16
#: What data of a page is called: nothing else in its folder is ours to remove.
_DATA_NAME: Final = re.compile(r"[a-z]+-\d{4,}\.[0-9a-f]{12}\.js")


def report(command: Report) -> Made:
    """Make the page that is asked for."""
    options = command.options
    output = output_at(options.dataset)
    folder = shelf.absolute(options.into) if options.into else f"{output.root}/{FOLDER}"
    check_folder(output.root, folder)
    own = shelf_in(folder if options.into else output.root)
    with beside_runs(own, only_marked=bool(options.into)), own.alone(FOLDER):
        return make_report(
            output, own, folder, neighbours=options.neighbours, readers=options.workers
        )


def output_at(root: str) -> Output:
    """The output that lies there; one that is damaged, or all failures, is worth a look, too."""
    try:
        return Output.at(root)
    except NoDataset:
        layout = Layout(shelf.absolute(root))
        if not any(map(shelf.exists, (layout.processed_clip_chunks(), layout.failures()))):
            raise
        return Output(Layout(layout.root, shard_prefix=bool(shelf.folders_in(layout.clips()))))


def report_of_run(layout: Layout, own: Shelf, nothing_new: bool = False) -> str:
    """The page of an output that a run has just written: its path, or why there is none."""
    folder = f"{layout.root}/{FOLDER}"
    # Of runs that end at the same time, each makes it when all before it have: the last one made
    # tells of all of them.
    with own.alone(FOLDER):
        return _page_of_run(layout, own, folder, nothing_new)


def _page_of_run(layout: Layout, own: Shelf, folder: str, nothing_new: bool) -> str:
    if nothing_new and shelf.exists(f"{folder}/{PAGE}"):
        if not sweep_dead(own):  # others may be making a page that names what no page does yet
            _remove_old(own, folder, shelf.files_in(f"{folder}/{DATA}"))
        return f"open: {folder}/{PAGE}"
    made = attempted(lambda: make_report(Output(layout), own, folder, few=True))
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


def make_report(
    output: Output,
    own: Shelf,
    folder: str,
    *,
    neighbours: int = 8,
    few: bool = False,
    readers: int = 0,
) -> Made:
    """Write the page of an output. ``few``: leave out what takes long with many clips."""
    before, links = shelf.files_in(f"{folder}/{DATA}"), relative_links(output.root, folder)
    chunks = Chunks(own, folder)
    contents = TextOutcome(output)
    contents.read(chunks, readers or (READERS if shelf.is_remote(output.root) else 1))
    contents.write_sources(chunks)
    duplicates = write_duplicates(chunks, output.root, contents.rows)
    alike_by = ""
    if neighbours:
        alike_by = write_alike(
            chunks, output, contents.rows, count=contents.clips.count, most=neighbours, few=few
        )
    failed = [source for source in contents.sources if source.state == FAILED]
    facts = {
        "dataset": output.root.rstrip("/").rsplit("/", 1)[-1],
        "links": links,
        "sharded": output.layout.shard_prefix,
        "thumbnails": shelf.exists(output.layout.below(THUMBNAILS.folder)),
        "count": contents.clips.count,
        "bytes": contents.clips.bytes,
        "captioned": contents.clips.captioned,
        "marked": contents.clips.marked,
        "reasons": contents.clips.reasons,
        "totals": [[key, *value] for key, value in sorted(contents.clips.totals.items())],
        "scores": contents.clips.scores,
        "titles": contents.titles() | titles(),
        "rules": rules_drawn(rules_of_last(contents.runs), contents.clips.reasons),
        "sources": len(contents.sources),
        "fields": fields_of((source.told, source.count) for source in contents.sources),
        "folder": contents.common,
        "lost": sum(len(lost) for lost in contents.lost.values()),
        "failures": contents.num_failures,
        "failed": len(failed),
        "failed_in_part": sum(source.count > 0 for source in failed),
        "groups": duplicates,
        "alike": alike_by,
        "unreadable": contents.unreadable,
        "runs": contents.runs,
        "chunks": chunks.names,
    }
    path = f"{folder}/{PAGE}"
    own.write(path, page_text(facts).encode())
    _remove_old(own, folder, before)
    return Made(path, contents.clips.count, contents.unreadable, tuple(sorted(contents.bad)))


def _remove_old(own: Shelf, folder: str, before: Iterable[str]) -> None:
    """Remove data that was there before and that the page, whoever wrote it last, does not name."""
    page = (shelf.read_if_there(f"{folder}/{PAGE}") or b"").decode(errors="replace")
    for path in before:
        name = path.removeprefix(f"{folder}/{DATA}/")
        if _DATA_NAME.fullmatch(name) and name not in page:
            own.remove(path)
