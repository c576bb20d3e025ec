"""The folder of dedup: what makes it, what lies there, and in what state an earlier run left it.

What that run left is used again where it is of the same tables and options. The state names the
digest of what it was made of. It is withdrawn before anything is changed.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from finecut.io.layout import GROUPS, Layout
from finecut.io.records import from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import read_json
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import from_parquet
from finecut.io.tables.parted import MOST_ROWS, remove
from finecut.transforms.dedup.by_key import BUCKET_PAIRS
from finecut.transforms.dedup.clusters import (
    CENTROIDS,
    CLUSTERS,
    PAIR_SCHEMA,
    PAIRS,
    PAIRWISE,
    Clustering,
    Settled,
)

STATE, SUMMARY, LIKENESS = "state.json", "summary.json", "likeness.parquet"
#: Which clip each one went for that has been rejected since: groups have only those that are kept.
KEEPERS: Final = "keepers.parquet"
KEEPER_SCHEMA: Final = pa.schema([("id", pa.string()), ("kept_id", pa.string())])
#: Staged, when not one pair could be looked at: how many there were.
UNSEEN: Final = "unseen"
LIKENESS_SCHEMA: Final = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        #: Null where one of the two could not be looked at.
        ("same", pa.bool_()),
        ("shown", pa.float32()),
        ("changes", pa.float32()),
        #: What sets the two apart otherwise ("mirrored, cropped"); of clips that are the same.
        ("how", pa.string()),
        #: What compared them: other pictures, or another model, may say something else.
        ("by", pa.string()),
        #: How alike a model for copies finds the two, where it was asked.
        ("model", pa.float32()),
    ]
)
#: Counts up when the same pictures would be compared in another way.
PICTURES: Final = "pictures 2"
#: Counts up when the same tables and options make other clusters or pairs than they used to.
FORM: Final = 2

#: What dedup writes in folders of its own; nothing else in them is ever touched.
OURS: Final = {
    CLUSTERS: re.compile(r"centroid=\d+/\d+\.parquet"),
    PAIRS: re.compile(r"\d+_\d+\.parquet"),
    PAIRWISE: re.compile(r"cluster_\d+\.parquet"),
    DUPLICATES: re.compile(r"[0-9a-f]{12}(-\d{4,})?\.parquet"),
}


@dataclass(frozen=True)
class Deduping:
    """What makes two clips duplicates, and which of them stays."""

    clustering: Clustering
    #: Clips of a cosine of at least ``1 - eps`` are duplicates, or likely ones.
    eps: float
    #: The dataset whose clips are looked at before they are called duplicates; ``None``: vectors
    #: alone decide.
    clips: Layout | None = None
    #: The dataset whose documents say how long clips are.
    dataset: Layout | None = None
    #: The clusters and pairs of an earlier run are those that this one would make.
    again: bool = False
    #: The reference's tables are, too.
    ranked: bool = False
    #: What tells tables and options apart that make other clusters.
    digest: str = ""
    #: A model for copies (an ONNX file) that is asked as well, and its digest; none if empty.
    model: str = ""
    model_digest: str = ""
    #: What is written down with the figures.
    told: tuple[tuple[str, str], ...] = ()
    #: A table of more rows than this is a folder of files.
    file_rows: int = MOST_ROWS
    #: Pairs that one worker holds at once, about.
    bucket_pairs: int = BUCKET_PAIRS

    def path(self, name: str) -> str:
        return self.clustering.path(name)

    @property
    def by(self) -> str:
        """What compares clips: what others found is not used again."""
        return f"{PICTURES}, model {self.model_digest}" if self.model else PICTURES

    def files(self, folder: str) -> list[str]:
        """What dedup wrote in one of its folders."""
        root = self.path(folder)
        return sorted(
            path
            for path in (shelf.files_below(root) if shelf.exists(root) else ())
            if OURS[folder].fullmatch(path[len(root) + 1 :])
        )

    def remove_others(self, folder: str, wanted: set[str]) -> None:
        """Remove what an earlier run wrote in a folder of its own and this one did not."""
        self.clustering.own.remove(*({*self.files(folder)} - wanted))


@dataclass(frozen=True)
class Deduped:
    """What was found."""

    items: int
    pointless: int
    clusters: int
    #: Near enough by their vectors; and compared by their pictures, the same, not to be seen.
    pairs: int
    compared: int
    same: int
    unseen: int
    groups: int
    removed: int
    #: On the list because the dataset has rejected them as duplicates.
    carried: int
    #: How long the removed clips are together; nothing where no document says.
    seconds: float | None
    eps: float
    #: Where the list is.
    path: str
    troubles: tuple[str, ...] = ()
    #: Rejected as duplicates, and not on the list: a rule rejected the clips that they went for.
    released: int = 0


@dataclass(frozen=True)
class State:
    """What lies in the folder: of which tables and options, and how it was ranked last."""

    digest: str
    floor: float
    settled: Settled | None = None
    keep: str = ""
    seed: int = 0
    form: int = FORM


def table_at(path: str, schema: pa.Schema) -> pa.Table | None:
    """A table of ours; nothing if it is gone, damaged or another's."""
    try:
        data = shelf.read_if_there(path)
        table = None if data is None else from_parquet(data)
    except (pa.ArrowException, OSError) as error:  # damaged pages are the latter, and so is a pipe
        pass_on_outlasted(error)
        return None
    return table if table is not None and table.schema.equals(schema) else None


def read_state(root: str) -> State | None:
    """What an earlier run left, if it can be understood."""
    try:
        document = read_json(f"{root}/{STATE}")
        if document is None:
            return None
        state = from_json(State, json.dumps(document))
        # What cannot be counted with is found out here.
        _ = state.floor + 0, state.settled and state.settled.places
        return state
    except (ValueError, TypeError, KeyError, AttributeError):
        return State("", 1.0)


def is_whole(settled: Settled, deduping: Deduping) -> bool:
    """Whether the clusters and pairs that an earlier run noted still lie here."""
    clustering = deduping.clustering
    pairs = {clustering.pairs(*place) for place in settled.places}
    return (
        shelf.exists(deduping.path(CENTROIDS))
        and {clustering.cluster(*place) for place in settled.places} <= {*deduping.files(CLUSTERS)}
        and pairs <= {*deduping.files(PAIRS)}
        and all(table_at(path, PAIR_SCHEMA) is not None for path in pairs)
    )


def pairwise_tables(settled: Settled, clustering: Clustering) -> set[str]:
    """The reference's tables: one for each cluster."""
    return {clustering.pairwise(centroid) for centroid, _ in settled.pieces}


def write_state(deduping: Deduping, settled: Settled | None, is_ranked: bool) -> None:
    clustering = deduping.clustering
    state = State(
        deduping.digest,
        clustering.floor,
        settled,
        keep=clustering.keep if is_ranked else "",
        seed=clustering.seed if is_ranked else 0,
    )
    clustering.own.write(deduping.path(STATE), to_json(state).encode())


def summary_of(root: str) -> Deduped | None:
    """What the folder says was found in it."""
    said = read_json(f"{root}/{SUMMARY}")
    if said is None:
        return None
    said.pop("told", None)
    return from_json(Deduped, json.dumps(said))


#: What lies in a folder of duplicates.
NAMES: Final = (CLUSTERS, PAIRWISE, PAIRS, DUPLICATES, GROUPS)


def digest_of(tables: Sequence[str], clustering: Clustering) -> str:
    """What tells apart tables and options that make other clusters or pairs."""
    c = clustering
    text = json.dumps(
        [
            [FORM, c.clusters, c.probes, c.seed, c.piece_rows, c.facts, c.catalogue is not None],
            sorted(_versions(c.tables, tables).items()),
        ],
        sort_keys=True,
    )
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
    if (
        state is None
        or state.settled is None
        or (state.form, state.digest) != (FORM, deduping.digest)
        or state.floor > clustering.floor
        or not is_whole(state.settled, deduping)
    ):
        return deduping
    is_ranked = (state.keep, state.seed) == (clustering.keep, clustering.seed) and (
        pairwise_tables(state.settled, clustering) <= {*deduping.files(PAIRWISE)}
    )
    # A lower floor than asked for has all pairs that are asked for.
    clustering = replace(clustering, floor=state.floor)
    return replace(
        deduping,
        clustering=clustering,
        again=True,
        ranked=is_ranked,
        told=tuple(sorted({**dict(deduping.told), "floor": f"{state.floor:g}"}.items())),
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
        remove(deduping.path(LIKENESS), own)
    if not deduping.again:
        write_state(replace(deduping, digest=""), None, is_ranked=False)


def forget(deduping: Deduping) -> None:
    """What was used again may be what went wrong: the next run makes it anew."""
    if deduping.again:
        with suppress(OSError):
            write_state(replace(deduping, digest=""), None, is_ranked=False)
