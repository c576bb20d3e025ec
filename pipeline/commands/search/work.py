"""The work of ``finecut search``: what to search by, the search, and the list of ids.

In the dataset nothing is written; only where workers are on other machines, what they found lies
in its staging folder until it is read.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import apache_beam as beam

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.errors import RunError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import temporary_folder
from finecut.io.tables.drops import drops_table
from finecut.io.tables.parquet import PARQUET
from finecut.pipeline.at_work import beside_runs, refuse_half_forgotten, shelf_in
from finecut.pipeline.commands.chosen import embedder_chosen, path_beside
from finecut.pipeline.commands.search import Search, SearchOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.search.find import SEARCHED, FindLike, FindMeaning, FindWords, Hits, Wanted
from finecut.transforms.search.hits import Hit, from_lines, to_lines
from finecut.transforms.search.meaning import READ
from finecut.transforms.search.nearest import COMPARED, Alike, chunk_with, vector_of
from finecut.transforms.search.texts import terms_of

NO_CATALOGUE: Final = (
    "{0} has no complete catalogue, so each document was read: finecut compact {0} makes one, and "
    "searching takes seconds then"
)


class Found(NamedTuple):
    """What was found."""

    hits: list[Hit]
    troubles: list[str]
    #: The dataset's report, if there is one.
    page: str | None


def search(command: Search) -> Found:
    """The clips that are meant, the best ones first."""
    options = command.options
    output = Output.at(options.dataset, packs=True)
    layout = output.layout
    refuse_half_forgotten(layout.root)
    ids = path_beside(options.ids, layout.root, flag="--ids", command="search")
    way = _way(options, output)
    with _told(layout, command) as own, command.showing(progress_line):
        path = f"{own.root}/hits.jsonl"

        def build(pipeline: beam.Pipeline) -> None:
            found = pipeline | "Once" >> beam.Create([0]) | "Search" >> way
            _ = found | "Tell" >> beam.Map(partial(_tell, own=own, path=path))

        command.run_pipeline(build, own)
        hits = from_lines(shelf.read_if_there(path) or b"")
    if ids:
        _write_ids(ids, hits)
    page = f"{layout.root}/report/index.html"
    return Found(
        hits,
        troubles=[] if is_complete(layout) else [NO_CATALOGUE.format(options.dataset)],
        page=page if shelf.exists(page) else None,
    )


def _tell(hits: list[Hit], own: Shelf, path: str) -> int:
    return own.write(path, to_lines(hits))


@contextmanager
def _told(layout: Layout, command: Search) -> Iterator[Shelf]:
    """Where what was found lies until it is read."""
    if command.ends_with_us:
        with temporary_folder() as folder:
            own = shelf_in(folder, command.fence)
            try:
                yield own
            finally:
                own.sweep()
        return
    staging = shelf_in(layout.root, command.fence).staging
    own = Shelf(f"{staging}/found", staging, command.fence)
    try:
        with beside_runs(shelf_in(layout.root, command.fence)):
            yield own
    finally:
        own.sweep()


# ── by what ───────────────────────────────────────────────────────────────────────────────────────


def _way(options: SearchOptions, output: Output) -> beam.PTransform[Any, Hits]:
    wanted = Wanted(options.limit, options.verdict, options.least)
    if options.like:
        return _like(options, output, wanted)
    if options.model:
        from finecut.transforms.models.sentences import require_sentences

        require_sentences(options.model)
        return FindMeaning(output.layout, options.text, options.model, wanted)
    terms = terms_of(options.text)
    if not terms:
        raise OptionError(f"{options.text!r} contains no words: give letters or numbers")
    return FindWords(output.layout, terms, wanted)


def _like(options: SearchOptions, output: Output, wanted: Wanted) -> FindLike:
    layout, clip = output.layout, options.like
    algorithm = embedder_chosen(options.algorithm, output, "Or search by words")
    chunk = chunk_with(clip, layout)
    if chunk is None:
        raise NoDataset(
            f"there is no clip {clip} in {layout.root}: give the id of one of its kept clips, as "
            "in the names of the files in clips/"
        )
    vector = vector_of(clip, chunk, algorithm, output)
    if vector is None:
        raise NoDataset(
            f"the clip {clip} has no vector of {algorithm}. Usually it was rejected, or its "
            "embedding failed: give the id of a clip that was kept"
        )
    return FindLike(layout, Alike(clip, vector, algorithm, wanted.limit), wanted.least)


# ── what is written, and said ─────────────────────────────────────────────────────────────────────


def _write_ids(path: str, hits: list[Hit]) -> None:
    ids = [hit.id for hit in hits]
    lines = "".join(f"{id}\n" for id in ids).encode()
    own = shelf_in(path.rpartition("/")[0])
    try:
        with beside_runs(own, only_marked=True):
            own.write(path, drops_table(ids) if path.endswith(PARQUET) else lines)
    except OSError as error:
        raise RunError(
            f"--ids {path} could not be written ({error.strerror or error}). Make room, or write "
            "it to another folder, and run the same command again"
        ) from error
    finally:
        own.sweep()


def progress_line(counts: Mapping[str, int], _seconds: float, ended: bool) -> str:
    """One line about these counts.

    >>> progress_line({"search/rows": 1200}, 1.0, False)
    'searching  1200 clips'
    """
    if ended:
        return "done"
    for name, what in ((READ, "captions"), (COMPARED, "vectors"), (SEARCHED, "clips")):
        if counts.get(name):
            return f"searching  {counts[name]} {what}"
    return "searching"
