"""What ``finecut dedup`` reports while it works, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from finecut.pipeline.cli.outlets import shown
from finecut.transforms.dedup.duplicates import GROUPS, Deduped, Deduping

STAY: Final = {
    "hard": "least typical ones",
    "easy": "most typical ones",
    "random": "first drawn ones",
}


def final_words(deduping: Deduping, deduped: Deduped, seconds: float) -> list[str]:
    """A short table for people."""
    d, facts = deduped, dict(deduping.told)
    pointless = f" ({d.pointless} more point nowhere)" if d.pointless else ""
    lines = [
        f"vectors  {d.items} of {facts['vectors_of']}{pointless}, in {d.clusters} clusters",
        f"pairs    {d.pairs} of a cosine of at least {1 - d.eps:g} (--eps {d.eps:g})",
    ]
    if deduping.clips is not None:
        unseen = f", {d.unseen} could not be looked at" if d.unseen else ""
        lines.append(f"pictures {d.compared} pairs compared, {d.same} show the same{unseen}")
    else:
        why = facts.get("why_not", "")
        lines.append(f"pictures not compared ({why}): vectors alone decided, by --eps {d.eps:g}")
    lines.append(
        f"groups   {d.groups}, of each the {STAY[facts['which_to_keep']]} stay; {d.removed} of "
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


def _saved(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s of film"


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
