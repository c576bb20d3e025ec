"""The work of ``finecut dedup``: planned, withdrawn, found, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

import apache_beam as beam
import pyarrow as pa

from finecut.io.errors import RunError, UserError
from finecut.io.layout import GROUPS
from finecut.io.storage import files as shelf
from finecut.pipeline.at_work import occupying
from finecut.pipeline.cli.outlets import shown
from finecut.pipeline.commands.dedup import FindDuplicates
from finecut.pipeline.commands.dedup.plan import planned
from finecut.pipeline.disk import refusal
from finecut.transforms.dedup.duplicates import Dedup
from finecut.transforms.dedup.folder import SUMMARY, UNSEEN, Deduped, Deduping, summary_of
from finecut.transforms.dedup.reuse import forget, withdraw

STAY: Final = {
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
        command.run_pipeline(partial(_build, deduping), own)
        unseen = shelf.read_if_there(f"{own.staging}/{UNSEEN}")
    if unseen is not None:
        raise _nothing_seen(deduping, int(unseen))
    deduped = summary_of(own.root)
    if deduped is None:
        raise RunError(f"the run ended without {deduping.path(SUMMARY)}: see the log of the runner")
    return deduping, deduped


@contextmanager
def _doubting(deduping: Deduping) -> Iterator[None]:
    """Where no disk is to blame, what was used again may be what went wrong: the next run makes it
    anew.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        if not isinstance(error, UserError) and refusal(error) is None:
            forget(deduping)
        raise


def _nothing_seen(deduping: Deduping, pairs: int) -> RunError:
    assert deduping.clips is not None
    return RunError(
        f"not one of the {pairs} close pairs could be compared, so nothing was listed: the clips "
        f"are not in {deduping.clips.clips()}, or cannot be read. Usually they were moved, or "
        "are still being copied: put them there, or add --no-confirm to decide by vectors alone"
    )


def _build(deduping: Deduping, pipeline: beam.Pipeline) -> None:
    _ = pipeline | "Dedup" >> Dedup(deduping)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def final_words(deduping: Deduping, deduped: Deduped, seconds: float) -> list[str]:
    """A short table for people."""
    d, facts = deduped, dict(deduping.told)
    pointless = f" ({d.pointless} more have no direction)" if d.pointless else ""
    lines = [
        f"vectors  {d.items} of {facts['vectors_of']}{pointless}, in {d.clusters} clusters",
        f"pairs    {d.pairs} with a cosine of at least {1 - d.eps:g} (--eps {d.eps:g})",
    ]
    if deduping.clips is not None:
        unseen = f", {d.unseen} could not be compared" if d.unseen else ""
        lines.append(f"pictures {d.compared} pairs compared, {d.same} are duplicates{unseen}")
    else:
        why = facts.get("why_not", "")
        lines.append(f"pictures not compared ({why}): vectors alone decided, with --eps {d.eps:g}")
    lines.append(
        f"groups   {d.groups}; the {STAY[facts['which_to_keep']]} of each stay; {d.removed} of "
        f"{d.items} clips to remove{_saved(d.seconds)}"
    )
    if d.carried:
        lines.append(f"carried  {d.carried} that have been rejected as duplicates meanwhile")
    if d.released:
        lines.append(
            f"released {d.released} that were rejected as duplicates of clips that a rule now "
            "rejects: finecut refilter --drop brings them back"
        )
    reused = "; the clusters and pairs of the last run were used again" if deduping.again else ""
    lines += ["", f"{seconds:.1f} s{reused}", f"groups: {deduping.path(GROUPS)}"]
    listed = d.path if "://" in d.path else deduping.path(d.path)
    lines.append(f"list of duplicates: {listed}")
    if d.removed:
        root = deduping.clustering.own.root
        lines.append(f"to leave them out: finecut curate … --drop {root}, or finecut shard --drop")
    return [shown(line) for line in lines]


def _saved(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s of video"


def progress_line(counts: Mapping[str, int], _seconds: float, ended: bool) -> str:
    """One line about these counts.

    >>> progress_line({"pieces": 4, "pieces compared": 1, "vectors compared": 900}, 1.0, False)
    'comparing  900 vectors, 1 of 4 pieces'
    """
    if ended:
        return "done"
    if asked := counts.get("pairs to compare", 0):
        if not counts.get("pairs compared"):
            return f"sampling   {counts.get('clips looked at', 0)} clips of {asked} close pairs"
        return f"comparing  {counts['pairs compared']} of {asked} close pairs"
    if ranked := counts.get("clusters ranked", 0):
        return f"ranking    {ranked} clusters"
    if pieces := counts.get("pieces", 0):
        done = counts.get("pieces compared", 0)
        return f"comparing  {counts.get('vectors compared', 0)} vectors, {done} of {pieces} pieces"
    if laid := counts.get("vectors laid down", 0):
        return f"clustering {laid} vectors"
    return "reading    vectors"
