"""What an earlier run of dedup left: used again where it is of the same tables and options.

The state names the digest of what it was made of. It is withdrawn before anything is changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from finecut.io.layout import GROUPS
from finecut.io.storage import files as shelf
from finecut.io.tables.drops import DUPLICATES
from finecut.transforms.dedup.clustering import CLUSTERS, PAIRS, PAIRWISE, Clustering
from finecut.transforms.dedup.folder import (
    FORM,
    LIKENESS,
    SUMMARY,
    Deduping,
    State,
    is_ranked,
    is_whole,
    read_state,
    write_state,
)

#: What lies in a folder of duplicates.
NAMES: Final = (CLUSTERS, PAIRWISE, PAIRS, DUPLICATES, GROUPS)


def digest_of(tables: Sequence[str], clustering: Clustering) -> str:
    """What tells apart tables and options that make other clusters or pairs."""
    c = clustering
    parts = [FORM, c.clusters, c.probes, c.seed, c.piece_rows, c.facts]
    versions = _versions(c.tables, tables)
    text = json.dumps([parts, sorted(versions.items())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _versions(folder: str, tables: Sequence[str]) -> Mapping[str, str]:
    """What changes when a table is replaced; of a store in one listing."""
    if shelf.is_remote(folder):
        wanted = set(tables)
        return {p: str(written) for p, written in shelf.written_below(folder) if p in wanted}
    return {path.rsplit("/", 1)[-1]: shelf.version_of(path) for path in tables}


def reusing(deduping: Deduping) -> Deduping:
    """The same with what an earlier run left, if it is of these tables and options."""
    clustering = deduping.clustering
    state = read_state(clustering.own.root)
    if not _is_of(state, deduping):
        return deduping
    assert state is not None
    assert state.settled is not None
    if not is_whole(state.settled, deduping):
        return deduping
    ranked = (state.keep, state.seed) == (clustering.keep, clustering.seed)
    # A lower floor than asked for has all pairs that are asked for.
    clustering = replace(clustering, floor=state.floor)
    notes = {**dict(deduping.told), "floor": f"{state.floor:g}"}
    return replace(
        deduping,
        clustering=clustering,
        again=True,
        ranked=ranked and is_ranked(state.settled, deduping),
        told=tuple(sorted(notes.items())),
    )


def _is_of(state: State | None, deduping: Deduping) -> bool:
    return (
        state is not None
        and state.form == FORM
        and state.digest == deduping.digest
        and state.settled is not None
        and state.floor <= deduping.clustering.floor
    )


def foreign_in(root: str) -> str | None:
    """What lies here under one of our names and was not written by us, if anything."""
    if read_state(root) is not None:
        return None
    return next((name for name in NAMES if shelf.exists(f"{root}/{name}")), None)


def withdraw(deduping: Deduping) -> None:
    """Take back what will not be true for a while; the summary is what a folder promises."""
    own = deduping.clustering.own
    own.remove(deduping.path(SUMMARY))
    if not deduping.again or deduping.clips is None:
        # It is of other tables, or no part of what vectors alone decide.
        own.remove(deduping.path(LIKENESS))
    if not deduping.again:
        unsettled = replace(deduping, digest="")
        write_state(unsettled, None, is_ranked=False)


def forget(deduping: Deduping) -> None:
    """What was used again may be what went wrong: the next run makes it anew."""
    if deduping.again:
        with suppress(OSError):
            write_state(replace(deduping, digest=""), None, is_ranked=False)
