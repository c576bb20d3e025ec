"""From the options of ``finecut dedup`` to what is done, after what lies there was read."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from finecut.io.dataset.output import NoDataset, Output
from finecut.io.layout import DEDUP, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LeadsOutside, refuse_outside
from finecut.io.tables.parquet import facts_of, tables_in
from finecut.pipeline.at_work import refuse_unknown_store, shelf_in
from finecut.pipeline.commands.dedup import DedupOptions, FindDuplicates
from finecut.pipeline.options import OptionError
from finecut.transforms.dedup.clustering import Clustering
from finecut.transforms.dedup.folder import STATE, Deduping
from finecut.transforms.dedup.reuse import digest_of, foreign_in, reusing
from finecut.transforms.option import LITE
from finecut.transforms.registry import is_dataset_folder

#: How far apart duplicates may be when their pictures are compared as well, and when only vectors
#: decide. The first line was measured; the others are careful guesses.
EPS: Final = {LITE: (0.3, 0.1)}
OTHER_EPS: Final = (0.2, 0.05)
#: Pairs of a lower cosine are not kept, so no larger eps comes without comparing again.
FLOOR: Final = 0.7


def planned(command: FindDuplicates) -> Deduping:
    """What every step has to know, after reading what lies there."""
    options = command.options
    refuse_unknown_store(options.dataset, "DATASET")
    output = _output(options)
    layout = Layout(shelf.absolute(options.dataset)) if output is None else output.layout
    folder, algorithm = _tables(options, None if options.embeddings else output)
    _check_into(options, layout, folder)
    tables = tables_in(folder)
    if not tables:
        raise NoDataset(
            f"{folder} contains no .parquet files: give the folder that contains the tables of "
            "vectors, with the columns id and embedding"
        )
    facts = _facts(tables[0])
    root = shelf.absolute(options.into or layout.dedup())
    _refuse_outside(root)
    _refuse_foreign(root)
    own = shelf_in(root, command.fence)
    confirms = not options.no_confirm and shelf.exists(layout.clips())
    eps = options.eps
    if eps is None:
        eps = usual_eps(facts.get("algorithm", algorithm or ""), confirms)
    clustering = Clustering(
        own,
        folder,
        clusters=options.clusters or None,
        probes=options.probes,
        floor=min(FLOOR, 1 - eps),
        keep=options.which_to_keep,
        seed=options.seed,
        facts=tuple(sorted(facts.items())),
    )
    notes = {
        "vectors_of": algorithm or folder,
        **facts,
        "which_to_keep": options.which_to_keep,
        "seed": str(options.seed),
        "probes": str(options.probes),
        "floor": f"{clustering.floor:g}",
        "confirmed_by_pictures": "yes" if confirms else "no",
    }
    if not confirms:
        why = "--no-confirm" if options.no_confirm else "the dataset has no clips/"
        notes["why_not"] = why
    return reusing(
        Deduping(
            clustering,
            eps,
            clips=layout if confirms else None,
            dataset=None if output is None else layout,
            digest=digest_of(tables, clustering),
            told=tuple(sorted(notes.items())),
        )
    )


def _refuse_outside(root: str) -> None:
    """The usual folder is not one that the user named: what it leads to is somebody else's."""
    try:
        refuse_outside(root)
    except LeadsOutside as error:
        raise OptionError(str(error)) from error


def _output(options: DedupOptions) -> Output | None:
    """What lies there; vectors that are named need no output around them."""
    try:
        return Output.at(options.dataset)
    except NoDataset:
        if options.embeddings:
            return None
        raise


def _refuse_foreign(root: str) -> None:
    """What another program wrote under the same names is not replaced."""
    if name := foreign_in(root):
        raise OptionError(
            f"{root} contains {name}, but no {STATE}: finecut dedup did not write it, and would "
            "have to replace it. Give --into with a new or empty folder"
        )


def _check_into(options: DedupOptions, layout: Layout, tables: str) -> None:
    """Refuse a folder that holds what is read: a list among vectors would be one of them."""
    if not options.into:
        return
    into, root, tables = map(shelf.identity, (shelf.absolute(options.into), layout.root, tables))
    below = into[len(root) + 1 :] if into.startswith(f"{root}/") else ""
    name = below.partition("/")[0]
    own = name != DEDUP and is_dataset_folder(name)
    if into == root or own or f"{into}/".startswith(f"{tables}/"):
        raise OptionError(
            f"--into {options.into} is the dataset, or one of the folders that hold what it is "
            f"made of, and finecut dedup writes tables of its own: write another folder, or leave "
            f"it out ({layout.dedup()})"
        )


def usual_eps(algorithm: str, confirms: bool) -> float:
    """How far apart duplicates of these vectors may be, if nobody says.

    >>> usual_eps("efficientnet-lite0", confirms=True), usual_eps("cosmos-embed1-224p", False)
    (0.3, 0.05)
    """
    confirmed, believed = EPS.get(algorithm, OTHER_EPS)
    return confirmed if confirms else believed


def _tables(options: DedupOptions, output: Output | None) -> tuple[str, str | None]:
    """The folder of tables, and whose vectors they hold if the folder's name says so."""
    if output is None:
        return shelf.absolute(options.embeddings), None
    found = output.algorithms()
    if not found:
        raise NoDataset(
            f"{output.root} contains no vectors: finecut curate writes them, unless it gets "
            "--no-generate-embeddings. Or give --embeddings FOLDER with a folder of vector tables"
        )
    wanted = options.algorithm or (found[0] if len(found) == 1 else None)
    if wanted is None:
        raise OptionError(
            f"there are vectors of {', '.join(found)}: choose one of them with --algorithm"
        )
    folder = output.layout.embeddings_parquet(wanted)
    if folder not in {output.layout.embeddings_parquet(name) for name in found}:
        raise OptionError(
            f"there are no vectors of --algorithm {wanted} here: give one of {', '.join(found)}"
        )
    return folder, wanted


def _facts(table: str) -> dict[str, str]:
    data = shelf.read(table)
    try:
        return facts_of(data)
    except (pa.ArrowException, OSError):
        return {}  # said when all tables are read
