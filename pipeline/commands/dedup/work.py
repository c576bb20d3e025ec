"""The work of ``finecut dedup``: planned, withdrawn, found, and read back."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.errors import RunError, UserError
from finecut.io.layout import DEDUP, GROUPS, Layout, embedding_folder
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LeadsOutside, refuse_outside
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.packs import BadPack, PackTable
from finecut.io.tables.parquet import facts_of, tables_in
from finecut.io.wording import count_of
from finecut.pipeline.at_work import (
    occupying,
    refuse_half_forgotten,
    refuse_unknown_store,
    shelf_in,
)
from finecut.pipeline.cli.disk import refusal
from finecut.pipeline.cli.outlets import lines_of, shown
from finecut.pipeline.commands.chosen import embedder_chosen
from finecut.pipeline.commands.dedup import DedupOptions, FindDuplicates
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.weather import sentence_of
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.dedup.clusters import Clustering
from finecut.transforms.dedup.descriptors import NoDescriber, digest_of_model
from finecut.transforms.dedup.duplicates import Dedup
from finecut.transforms.dedup.folder import (
    STATE,
    SUMMARY,
    UNSEEN,
    Deduped,
    Deduping,
    digest_of,
    foreign_in,
    forget,
    reusing,
    summary_of,
    withdraw,
)
from finecut.transforms.dedup.thresholds import threshold_of
from finecut.transforms.registry import is_dataset_folder

STAY: Final = {
    "best": "best ones",
    "hard": "least typical ones",
    "easy": "most typical ones",
    "random": "randomly chosen ones",
}


def dedup(command: FindDuplicates) -> tuple[Deduping, Deduped]:
    """What was found, and how. Raises when there is nothing to compare."""
    deduping = planned(command)
    own = deduping.clustering.own
    with (
        occupying(own, "--into", ends_with_us=command.ends_with_us),
        _doubting(deduping),
        command.showing(progress_line),
    ):
        withdraw(deduping)
        command.run_pipeline(lambda pipeline: pipeline | "Dedup" >> Dedup(deduping), own)
        unseen = shelf.read_if_there(f"{own.staging}/{UNSEEN}")
    if unseen is not None:
        assert deduping.clips is not None
        raise RunError(
            f"not one of the {int(unseen)} close pairs could be compared, so nothing was listed: "
            f"the clips are not in {deduping.clips.clips()}, or cannot be read. Usually they were "
            "moved, or are still being copied: put them there, or add --no-confirm to decide by "
            "vectors alone"
        )
    deduped = summary_of(own.root)
    if deduped is None:
        raise RunError(f"the run ended without {deduping.path(SUMMARY)}: see the log of the runner")
    return deduping, deduped


@contextmanager
def _doubting(deduping: Deduping) -> Iterator[None]:
    """Where neither a disk nor a store is to blame, what was used again may be what went wrong: the
    next run makes it anew.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        blamed = isinstance(error, UserError) or sentence_of(error) or refusal(error)
        if not blamed:
            forget(deduping)
        raise


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def final_words(deduping: Deduping, deduped: Deduped, seconds: float) -> list[str]:
    """A short table for people."""
    d, facts, root = deduped, dict(deduping.told), deduping.clustering.own.root
    pointless = f" ({d.pointless} more are all zeros)" if d.pointless else ""
    unseen = (
        f"; {d.unseen} could not be compared because their clips could not be read"
        if d.unseen
        else ""
    )
    frames = (
        f"{d.compared - d.unseen} of {count_of(d.compared, 'pair')} compared, {d.same} are "
        f"duplicates{unseen}"
    )
    if deduping.clips is None:
        why = facts.get("why_not", "")
        frames = f"not compared ({why}): vectors alone decided, with --eps {d.eps:g}"
    stay = STAY[facts["which_to_keep"]]
    if facts["which_to_keep"] == "best" and deduping.clustering.catalogue is None:
        stay = "first ones by id, since no catalogue says which are best,"
    saved = "" if d.seconds is None else f", {d.seconds:.1f} s of video"
    reused = "; the clusters and pairs of the last run were used again" if deduping.again else ""
    lines = lines_of(
        [
            f"vectors  {d.items} of {facts['vectors_of']}{pointless}, in "
            f"{count_of(d.clusters, 'cluster')}",
            f"pairs    {d.pairs} with a cosine of at least {1 - d.eps:g} (--eps {d.eps:g})",
            f"frames   {frames}",
            f"groups   {d.groups} (the {stay} of each group stay); "
            f"{d.removed} of {count_of(d.items, 'clip')} to leave out{saved}",
            (d.carried, f"already  {d.carried} rejected as duplicates since the last run"),
            (
                d.released,
                f"restore  {d.released} that were rejected as duplicates of clips that a rule now "
                "rejects: finecut refilter --drop brings them back",
            ),
            "",
            f"time     {seconds:.1f} s{reused}",
            f"groups: {deduping.path(GROUPS)}",
            f"list of duplicates: {d.path if '://' in d.path else deduping.path(d.path)}",
            (
                d.removed,
                f"to leave them out: finecut curate … --drop {root}, or finecut shard --drop",
            ),
        ]
    )
    return [shown(line) for line in lines]


def progress_line(counts: Mapping[str, int], _seconds: float, ended: bool) -> str:
    """One line about these counts.

    >>> progress_line({"pieces": 4, "pieces compared": 1, "vectors compared": 900}, 1.0, False)
    'comparing  900 vectors, 1 of 4 pieces'
    """
    if ended:
        return "done"
    if asked := counts.get("pairs to compare", 0):
        compared, seen = counts.get("pairs compared"), counts.get("clips looked at", 0)
        so_far = f"comparing  {compared}" if compared else f"sampling   {count_of(seen, 'clip')}"
        return f"{so_far} of {asked} close pairs"
    if ranked := counts.get("clusters ranked", 0):
        return f"ranking    {count_of(ranked, 'cluster')}"
    if pieces := counts.get("pieces", 0):
        done = counts.get("pieces compared", 0)
        return f"comparing  {counts.get('vectors compared', 0)} vectors, {done} of {pieces} pieces"
    laid = counts.get("vectors laid down", 0)
    return f"clustering {laid} vectors" if laid else "reading    vectors"


# ── planning ──────────────────────────────────────────────────────────────────────────────────────

#: Pairs of a lower cosine are not kept, so no larger eps comes without comparing again.
FLOOR: Final = 0.7


def planned(command: FindDuplicates) -> Deduping:
    """What every step has to know, after reading what lies there."""
    options = command.options
    refuse_unknown_store(options.dataset, "DATASET")
    output = _output(options)
    layout = Layout(shelf.absolute(options.dataset)) if output is None else output.layout
    refuse_half_forgotten(layout.root)
    _refuse_without_places(layout)
    folder, algorithm = _tables(options, None if options.embeddings else output)
    _check_into(options, layout, folder)
    tables = tables_in(folder)
    if not tables:
        raise NoDataset(
            f"{folder} contains no .parquet files: give the folder that contains the tables of "
            "vectors, with the columns id and embedding"
        )
    column = embedding_folder(algorithm) if algorithm and layout.packed else ""
    facts = _facts_of_packs(tables, column) if column else _facts(tables[0])
    model, digest = _model(options)
    root = shelf.absolute(options.into or layout.dedup())
    _refuse_foreign(root)
    confirms = not options.no_confirm and _has_clips(layout)
    threshold = threshold_of(facts.get("algorithm", algorithm or ""))
    usual = threshold.confirmed if confirms else threshold.alone
    eps = usual if options.eps is None else options.eps
    clustering = Clustering(
        shelf_in(root, command.fence),
        folder,
        clusters=options.clusters or None,
        probes=options.probes,
        floor=min(FLOOR, 1 - eps),
        keep=options.which_to_keep,
        seed=options.seed,
        facts=tuple(sorted(facts.items())),
        column=column,
        catalogue=layout if output is not None and is_complete(layout) else None,
    )
    notes = {
        "vectors_of": algorithm or folder,
        **facts,
        "which_to_keep": options.which_to_keep,
        "seed": str(options.seed),
        "probes": str(options.probes),
        "floor": f"{clustering.floor:g}",
        "confirmed_by_pictures": "yes" if confirms else "no",
        "eps_rests_on": threshold.measured if options.eps is None else "--eps",
    }
    if not confirms:
        notes["why_not"] = "--no-confirm" if options.no_confirm else "the dataset has no clips/"
    return reusing(
        Deduping(
            clustering,
            eps,
            clips=layout if confirms else None,
            dataset=None if output is None else layout,
            digest=digest_of(tables, clustering),
            model=model,
            model_digest=digest,
            told=tuple(sorted(notes.items())),
        )
    )


def _output(options: DedupOptions) -> Output | None:
    """What lies there; vectors that are named need no output around them."""
    try:
        return Output.at(options.dataset, packs=True)
    except NoDataset:
        if options.embeddings:
            return None
        raise


def _model(options: DedupOptions) -> tuple[str, str]:
    """The model that is asked as well, and its digest; nothing if there is none."""
    if not options.confirm_model:
        return "", ""
    path = shelf.absolute(options.confirm_model)
    try:
        return path, digest_of_model(path)
    except NoDescriber as error:
        raise OptionError(f"--confirm-model {options.confirm_model} {error}") from error


def _refuse_foreign(root: str) -> None:
    """What another program wrote under the same names is not replaced; and the usual folder is not
    one that the user named: what it leads to is somebody else's.
    """
    try:
        refuse_outside(root)
    except LeadsOutside as error:
        raise OptionError(str(error)) from error
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
    name = into.removeprefix(f"{root}/").partition("/")[0]
    own = name != DEDUP and is_dataset_folder(name)
    if into == root or own or f"{into}/".startswith(f"{tables}/"):
        raise OptionError(
            f"--into {options.into} is the dataset, or one of the folders that hold what it is "
            f"made of, and finecut dedup writes tables of its own: write another folder, or leave "
            f"it out ({layout.dedup()})"
        )


def _tables(options: DedupOptions, output: Output | None) -> tuple[str, str | None]:
    """The folder of tables, and whose vectors they hold if the folder's name says so."""
    if output is None:
        return shelf.absolute(options.embeddings), None
    otherwise = "Or give --embeddings FOLDER with a folder of vector tables"
    wanted = embedder_chosen(options.algorithm, output, otherwise)
    layout = output.layout
    return layout.packs() if layout.packed else layout.embeddings_parquet(wanted), wanted


def _refuse_without_places(layout: Layout) -> None:
    if layout.packed and not is_complete(layout):
        raise NoDataset(
            f"{layout.root} has no complete catalogue, and only that says where in archives clips "
            f"lie: make one with finecut compact {layout.root}"
        )


def _has_clips(layout: Layout) -> bool:
    if layout.packed:
        return shelf.some_file_in(layout.packs(), ".tar") is not None
    return shelf.exists(layout.clips())


def _facts_of_packs(tables: Iterable[str], column: str) -> Mapping[str, str]:
    """What the first table that has such vectors says of them."""
    for path in tables:
        try:
            said = PackTable.read(shelf.read(path), ["id"]).facts
        except BadPack:
            continue  # said when all tables are read
        if column in said:
            return said[column]
    return {}


def _facts(table: str) -> dict[str, str]:
    try:
        return facts_of(shelf.read(table))
    except (pa.ArrowException, OSError) as error:
        pass_on_outlasted(error)
        return {}  # said when all tables are read
