"""``finecut dedup``: which clips show the same, which of each kind stays, and a list of the others.

Nothing of the dataset is touched: the list is for ``finecut curate --drop`` and ``finecut shard
--drop``. Clusters and near pairs stay where they are, so another threshold costs seconds.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final

import apache_beam as beam
import pyarrow as pa

from finecut.io.dataset.output import NoDataset, Output
from finecut.io.errors import UserError
from finecut.io.layout import GROUPS, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LeadsOutside, refuse_outside
from finecut.io.storage.halting import halt
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive, sweep_dead
from finecut.io.storage.stores import UnknownStore
from finecut.io.storage.temporary import sweep_temporary
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import facts_of, tables_in
from finecut.pipeline.cli.final_words import shown
from finecut.pipeline.cli.own_process import said_once
from finecut.pipeline.cli.progress import Progress
from finecut.pipeline.cli.stopping import given_up_by
from finecut.pipeline.commands.options import DedupOptions
from finecut.pipeline.commands.shell import Command, perform
from finecut.pipeline.elsewhere import NOBODY_AT_WORK
from finecut.pipeline.engine import RunError, run_pipeline
from finecut.pipeline.options import OptionError
from finecut.transforms.dedup.clustering import CLUSTERS, PAIRS, PAIRWISE, Clustering
from finecut.transforms.dedup.duplicates import Dedup
from finecut.transforms.dedup.folder import (
    FORM,
    LIKENESS,
    STATE,
    SUMMARY,
    UNSEEN,
    Deduped,
    Deduping,
    State,
    is_ranked,
    is_whole,
    read_state,
    summary_of,
    write_state,
)
from finecut.transforms.option import LITE

#: How far apart duplicates may be when their pictures are compared as well, and when only vectors
#: decide. The first line was measured; the others are careful guesses.
EPS: Final = {LITE: (0.3, 0.1)}
OTHER_EPS: Final = (0.2, 0.05)
#: Pairs of a lower cosine are not kept, so no larger eps comes without comparing again.
FLOOR: Final = 0.7
#: Folders of a dataset that others read: dedup puts nothing into them.
OWN_FOLDERS: Final = re.compile(
    r"(clips|filtered_clips|metas|previews|failures|runs|report|processed_[^/]*|[^/]*_embd"
    r"|[^/]*_embd_parquet|\.finecut|\.staging)(/.*)?"
)
#: Engines hand on the text of what went wrong on their workers. These are a disk's refusals.
_REFUSED: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_LED_OUTSIDE: Final = re.compile(r"LeadsOutside: (.*?)(?: \[while running|$)", re.DOTALL)
_NUMBERED: Final = re.compile(r"\[Errno (\d+)\] ([^:\[\n]+)")


class FindDuplicates(Command[DedupOptions, tuple[Deduping, Deduped]]):
    """What was found, and how."""

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.into

    def work(self) -> tuple[Deduping, Deduped]:
        return _dedup(self.options.check(), self.runner_arguments, self.progress)

    def unreachable(self, error: OSError) -> str:
        return (
            f"{self.options.dataset} could not be read, or what was found not be written "
            f"({error}). Usually there is no permission, no room, or no network: mend that, and "
            "run the same command again"
        )

    def troubles(self, result: tuple[Deduping, Deduped]) -> Iterator[str]:
        _, deduped = result
        yield from (f"finecut: left out: {trouble}" for trouble in deduped.troubles)

    def tell(self, result: tuple[Deduping, Deduped], seconds: float) -> list[str]:
        return final_words(*result, seconds)


def main(options: DedupOptions, runner_arguments: Sequence[str]) -> int:
    """Find them, and say how many there are."""
    with said_once(options.is_local and not options.verbose):
        return perform(FindDuplicates(options, runner_arguments, progress=not options.quiet))


def dedup(
    options: DedupOptions, runner_arguments: Sequence[str] = (), progress: bool = False
) -> tuple[Deduping, Deduped]:
    """What was found, and how. Raises when there is nothing to compare."""
    return FindDuplicates(options, runner_arguments, progress).run()


def _dedup(
    options: DedupOptions, runner_arguments: Sequence[str], progress: bool
) -> tuple[Deduping, Deduped]:
    deduping = planned(options)
    own = deduping.clustering.own
    with (
        given_up_by(partial(_give_up, own), options.is_local),
        _said_plainly(deduping),
        _alone(deduping, options.is_local),
        Progress(progress and options.is_local, line=progress_line),
    ):
        ended = False
        try:
            _withdraw(deduping)
            build = partial(_build, deduping)
            run_pipeline(build, options.runner, options.local_workers, runner_arguments, own=own)
            unseen = shelf.read_if_there(f"{own.staging}/{UNSEEN}")
            ended = True
        except NOBODY_AT_WORK:
            ended = True
            raise
        finally:
            # A cluster's job may outlive this process.
            if ended or options.is_local:
                own.sweep()
    if unseen is not None:
        raise _nothing_seen(deduping, int(unseen))
    deduped = summary_of(own.root)
    if deduped is None:
        raise RunError(f"the run ended without {deduping.path(SUMMARY)}: see the runner's own log")
    return deduping, deduped


def _give_up(own: Shelf) -> None:
    """Write nothing any more."""
    halt(own.staging)
    own.sweep()


@contextmanager
def _said_plainly(deduping: Deduping) -> Iterator[None]:
    """What went wrong, as a sentence where the disk is to blame, here or at a worker."""
    root = deduping.clustering.own.root
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        if (why := _refusal(error)) is None:
            _forget(deduping)
            raise
        raise RunError(
            f"{root} could not be written ({why}). Make room, or see what is in its way there, and "
            "run the same command again"
        ) from error


def _refusal(error: Exception) -> str | None:
    """Why the disk did not take what was written; nothing if that is not what went wrong."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.strerror
    if led := _LED_OUTSIDE.search(str(error)):
        return led[1]
    found = _NUMBERED.findall(str(error))
    return next((said.strip() for number, said in found if int(number) in _REFUSED), None)


def _forget(deduping: Deduping) -> None:
    """What was used again may be what went wrong: the next run makes it anew."""
    if deduping.again:
        with suppress(OSError):
            write_state(replace(deduping, digest=""), None, is_ranked=False)


def _nothing_seen(deduping: Deduping, pairs: int) -> RunError:
    assert deduping.clips is not None
    return RunError(
        f"not one of the {pairs} near pairs could be looked at, so nothing was listed: the clips "
        f"are not in {deduping.clips.clips()}, or cannot be read. Usually they were moved, or are "
        "still being copied: put them there, or write --no-confirm, and vectors alone decide"
    )


def _build(deduping: Deduping, pipeline: beam.Pipeline) -> None:
    _ = pipeline | "Dedup" >> Dedup(deduping)


# ── from options to what is done ─────────────────────────────────────────────────────────────────


def planned(options: DedupOptions) -> Deduping:
    """What is told to every step, after a look at what lies there."""
    _check_store(options.dataset)
    output = _output(options)
    layout = Layout(shelf.absolute(options.dataset)) if output is None else output.layout
    folder, algorithm = _tables(options, None if options.embeddings else output)
    _check_into(options, layout, folder)
    tables = tables_in(folder)
    if not tables:
        raise NoDataset(
            f"{folder} holds no .parquet: write the folder that holds the tables of vectors, with "
            "the columns id and embedding"
        )
    facts = _facts(tables[0])
    root = shelf.absolute(options.into or layout.dedup())
    _refuse_outside(root)
    own = Shelf(root, f"{root}/.staging/{uuid.uuid4().hex}", FindDuplicates(options).fence)
    confirms = not options.no_confirm and shelf.exists(layout.clips())
    eps = options.eps
    if eps is None:
        eps = usual_eps(facts.get("algorithm", algorithm or ""), confirms)
    clustering = Clustering(
        own,
        folder,
        options.clusters or None,
        options.probes,
        min(FLOOR, 1 - eps),
        options.which_to_keep,
        options.seed,
        facts=tuple(sorted(facts.items())),
    )
    told = {
        "vectors_of": algorithm or folder,
        **facts,
        "which_to_keep": options.which_to_keep,
        "seed": str(options.seed),
        "probes": str(options.probes),
        "floor": f"{clustering.floor:g}",
        "confirmed_by_pictures": "yes" if confirms else "no",
        **({} if confirms else {"why_not": _why_not(options)}),
    }
    return _again(
        Deduping(
            clustering,
            eps,
            layout if confirms else None,
            None if output is None else layout,
            digest=_digest(tables, clustering),
            told=tuple(sorted(told.items())),
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


def _why_not(options: DedupOptions) -> str:
    return "--no-confirm" if options.no_confirm else "the dataset has no clips/"


def _check_into(options: DedupOptions, layout: Layout, tables: str) -> None:
    """Refuse a folder that holds what is read: a list among vectors would be one of them."""
    if not options.into:
        return
    into, root, tables = map(shelf.identity, (shelf.absolute(options.into), layout.root, tables))
    below = into[len(root) + 1 :] if into.startswith(f"{root}/") else ""
    if into == root or OWN_FOLDERS.fullmatch(below) or f"{into}/".startswith(f"{tables}/"):
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


def _check_store(uri: str) -> None:
    try:
        shelf.check_store(uri)
    except UnknownStore as error:
        raise OptionError(f"DATASET: {error}") from error


def _tables(options: DedupOptions, output: Output | None) -> tuple[str, str | None]:
    """The folder of tables, and whose vectors they hold if the folder's name says so."""
    if output is None:
        return shelf.absolute(options.embeddings), None
    found = output.algorithms()
    if not found:
        raise NoDataset(
            f"{output.root} holds no vectors: finecut curate writes them unless it is told "
            "--no-generate-embeddings. Or write --embeddings FOLDER, where tables of vectors lie"
        )
    wanted = options.algorithm or (found[0] if len(found) == 1 else None)
    if wanted is None:
        raise OptionError(
            f"there are vectors of {', '.join(found)}: write --algorithm and one of them"
        )
    folder = output.layout.embeddings_parquet(wanted)
    if folder not in {output.layout.embeddings_parquet(name) for name in found}:
        raise OptionError(
            f"--algorithm {wanted} has no vectors here: write one of {', '.join(found)}"
        )
    return folder, wanted


def _facts(table: str) -> dict[str, str]:
    data = shelf.read(table)
    try:
        return facts_of(data)
    except (pa.ArrowException, OSError):
        return {}  # said when all tables are read


def _digest(tables: Sequence[str], clustering: Clustering) -> str:
    """What tells apart tables and options that make other clusters or pairs."""
    c = clustering
    parts = [FORM, c.clusters, c.probes, c.seed, c.piece_rows, c.facts]
    versions = _versions(c.tables, tables)
    said = json.dumps([parts, sorted(versions.items())], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _versions(folder: str, tables: Sequence[str]) -> Mapping[str, str]:
    """What changes when a table is replaced; of a store in one listing."""
    if shelf.is_remote(folder):
        wanted = set(tables)
        return {p: str(written) for p, written in shelf.written_below(folder) if p in wanted}
    return {path.rsplit("/", 1)[-1]: shelf.version_of(path) for path in tables}


def _again(deduping: Deduping) -> Deduping:
    """The same, with what an earlier run left, if it is of these tables and options."""
    clustering = deduping.clustering
    state = read_state(clustering.own.root)
    if state is None:
        _refuse_foreign(clustering.own.root)
    if not _is_of(state, deduping):
        return deduping
    assert state is not None
    assert state.settled is not None
    if not is_whole(state.settled, deduping):
        return deduping
    ranked = (state.keep, state.seed) == (clustering.keep, clustering.seed)
    # A lower floor than asked for has all pairs that are asked for.
    clustering = replace(clustering, floor=state.floor)
    told = {**dict(deduping.told), "floor": f"{state.floor:g}"}
    return replace(
        deduping,
        clustering=clustering,
        again=True,
        ranked=ranked and is_ranked(state.settled, deduping),
        told=tuple(sorted(told.items())),
    )


def _is_of(state: State | None, deduping: Deduping) -> bool:
    return (
        state is not None
        and state.form == FORM
        and state.digest == deduping.digest
        and state.settled is not None
        and state.floor <= deduping.clustering.floor
    )


def _refuse_foreign(root: str) -> None:
    """What another program wrote under the same names is not replaced."""
    for name in (CLUSTERS, PAIRWISE, PAIRS, DUPLICATES, GROUPS):
        if shelf.exists(f"{root}/{name}"):
            raise OptionError(
                f"{root} holds {name}, and no {STATE}: finecut dedup did not write that, and would "
                "have to replace it. Write --into and a folder that is empty or new"
            )


@contextmanager
def _alone(deduping: Deduping, is_local: bool) -> Iterator[None]:
    """Within, nobody else writes there."""
    own = deduping.clustering.own
    try:
        with alive(own, deduping.digest, elsewhere=not is_local):
            own.prepare()
            sweep_temporary()
            for other in sweep_dead(own):
                raise OptionError(
                    f"{own.root} is being written by another dedup (process {other.process} on "
                    f"{other.host}): wait until it has ended, or write --into another folder"
                )
            yield
    except PermissionError as error:
        raise OptionError(
            f"{own.root} cannot be written to ({error.strerror}): write --into a folder that can"
        ) from error


def _withdraw(deduping: Deduping) -> None:
    """Take back what will not be true for a while; the summary is what a folder promises."""
    own = deduping.clustering.own
    own.remove(deduping.path(SUMMARY))
    if not deduping.again or deduping.clips is None:
        # It is of other tables, or no part of what vectors alone decide.
        own.remove(deduping.path(LIKENESS))
    if not deduping.again:
        unsettled = replace(deduping, digest="")
        write_state(unsettled, None, is_ranked=False)


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def progress_line(counts: Mapping[str, int], _seconds: float, ended: bool) -> str:
    """One line about these counts.

    >>> progress_line({"pieces": 4, "pieces compared": 1, "vectors compared": 900}, 1.0, False)
    'comparing  900 vectors, 1 of 4 pieces'
    """
    if ended:
        return "done"
    if asked := counts.get("pairs to compare", 0):
        if not counts.get("pairs compared"):
            return f"looking    at {counts.get('clips looked at', 0)} clips of {asked} near pairs"
        return f"looking    {counts['pairs compared']} of {asked} near pairs compared"
    if ranked := counts.get("clusters ranked", 0):
        return f"ranking    {ranked} clusters"
    if pieces := counts.get("pieces", 0):
        done = counts.get("pieces compared", 0)
        return f"comparing  {counts.get('vectors compared', 0)} vectors, {done} of {pieces} pieces"
    if laid := counts.get("vectors laid down", 0):
        return f"clustering {laid} vectors"
    return "reading    vectors"


def final_words(deduping: Deduping, deduped: Deduped, seconds: float) -> list[str]:
    """A short table for people."""
    d, told = deduped, dict(deduping.told)
    pointless = f" ({d.pointless} more point nowhere)" if d.pointless else ""
    lines = [
        f"vectors  {d.items} of {told['vectors_of']}{pointless}, in {d.clusters} clusters",
        f"pairs    {d.pairs} of a cosine of at least {1 - d.eps:g} (--eps {d.eps:g})",
    ]
    if deduping.clips is not None:
        unseen = f", {d.unseen} could not be looked at" if d.unseen else ""
        lines.append(f"pictures {d.compared} pairs compared, {d.same} show the same{unseen}")
    else:
        why = told.get("why_not", "")
        lines.append(f"pictures not compared ({why}): vectors alone decided, by --eps {d.eps:g}")
    lines.append(
        f"groups   {d.groups}, of each the {_kept(told['which_to_keep'])} stay; {d.removed} of "
        f"{d.items} clips to remove{_saved(d.seconds)}"
    )
    if d.carried:
        lines.append(f"carried  {d.carried} that are rejected as duplicates by now")
    if d.released:
        lines.append(
            f"released {d.released} that were rejected as duplicates of clips that a rule rejects "
            "by now: finecut refilter --drop brings them back"
        )
    reused = "; clusters and pairs of the last run were used again" if deduping.again else ""
    lines += ["", f"{seconds:.1f} s{reused}", f"look into {deduping.path(GROUPS)}"]
    lines.append(f"the list: {d.path}" if "://" in d.path else f"the list: {deduping.path(d.path)}")
    if d.removed:
        root = deduping.clustering.own.root
        lines.append(f"to leave them out: finecut curate … --drop {root}, or finecut shard --drop")
    return [shown(line) for line in lines]


def _kept(rule: str) -> str:
    return {
        "hard": "least typical ones",
        "easy": "most typical ones",
        "random": "first drawn ones",
    }[rule]


def _saved(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s of film"
