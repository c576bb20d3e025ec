"""Lists of videos, of cuts and of clips to drop: workers read them, and no pipeline carries them.

    here, or at a URL?  ─▶  a copy in .staging/<run>/lists/  ─┐ read once in each
    in a bucket?        ─▶  where it lies                    ─┘ worker process

What was sent to an engine would grow with the number of videos otherwise, and engines limit it.
"""

from collections.abc import Iterable
from dataclasses import replace

from finecut.io.layout import GROUPS
from finecut.io.storage import files as shelf
from finecut.io.storage.addresses import is_read_only, public
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.web.urls import extension_of
from finecut.io.tables.drops import DUPLICATES, drops_table, keepers_of, keepers_table
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import Plan
from finecut.transforms.filter.clips import Dropping, ids_of
from finecut.transforms.find.inputs import Finding, is_list, lists_at
from finecut.transforms.split.spans import CSV, JSON, CutList, GivenCuts, is_json


def within_reach(steps: Plan, options: Options) -> Plan:
    """The plan of workers on other machines: what they cannot read is copied to where they can.

    The copies lie in the staging folder of the run, and go with it.
    """
    if options.is_local or not options.output:
        return steps
    cutter, own = steps.splitting.cutter, steps.writing.shelf
    folder = f"{own.staging}/lists"
    if isinstance(cutter, GivenCuts) and isinstance(cutter.cuts, CutList):
        listed = _copied(cutter.cuts, own, folder)
        cutter = replace(cutter, cuts=listed)
        steps = steps._replace(splitting=replace(steps.splitting, cutter=cutter))
    if (dropping := steps.dropping) is not None and _only_here(dropping.lists):
        copy = f"{folder}/drops.parquet"
        own.write(copy, drops_table(ids_of(dropping)))
        steps = steps._replace(dropping=Dropping((copy,), dropping.digest))
    return steps._replace(finding=_with_copies(steps.finding, own, folder))


def drops_within_reach(dropping: Dropping, own: Shelf) -> Dropping:
    """The same for lists of which it is also asked for which clip each duplicate is to go."""
    if not _only_here(dropping.lists):
        return dropping
    folder = f"{own.staging}/lists/dedup"
    own.write(f"{folder}/{DUPLICATES}/0.parquet", drops_table(ids_of(dropping)))
    if keepers := keepers_of(dropping.lists):
        own.write(f"{folder}/{GROUPS}", keepers_table(keepers))
    return Dropping((folder,), dropping.digest)


def _with_copies(finding: Finding, own: Shelf, folder: str) -> Finding:
    """The inputs, with copies of the lists of videos among them that lie on this machine. What they
    name by a path from where they lie goes on being named from there.
    """
    inputs = [shelf.absolute(one) for spec in finding.inputs for one in lists_at(spec)]
    here = [path for path in inputs if _is_list_here(path)]
    if not here:
        return finding
    copies = [f"{folder}/inputs/{n}{extension_of(path)}" for n, path in enumerate(here)]
    for path, copy in zip(here, copies, strict=True):
        own.write(copy, shelf.read(path))
    pairs = tuple(zip(here, copies, strict=True))
    return replace(finding, inputs=tuple(inputs), copies=pairs)


def _is_list_here(path: str) -> bool:
    return not shelf.is_remote(path) and is_list(path) and shelf.is_file(path)


def _copied(cuts: CutList, own: Shelf, folder: str) -> CutList:
    if not _only_here([cuts.path]):
        return cuts
    copy = f"{folder}/cuts{JSON if is_json(cuts.path) else CSV}"
    own.write(copy, shelf.read(cuts.path))
    return CutList(copy, cuts.digest)


def refuse_out_of_reach(options: Options) -> None:
    """Refuse lists that workers on other machines cannot read, and would for ever have to."""
    for flag, lists in {"--cuts": [options.cuts], "--drop": options.drop}.items():
        for path in filter(None, lists):
            if _only_here([shelf.absolute(path)]):
                raise OptionError(
                    f"{flag} {public(path)} lies where the workers of --runner {options.runner} "
                    "cannot read it, and a stream needs it as long as it runs: copy it to a "
                    "bucket, and give its address there"
                )


def _only_here(paths: Iterable[str]) -> bool:
    """Whether one of them may be out of reach for other machines: on this disk, or at a URL."""
    return any(not shelf.is_remote(path) or is_read_only(path) for path in paths)
