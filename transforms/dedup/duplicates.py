"""Dedup: clips that show the same, found by their vectors and, where there are, by their pictures.

    tables ─▶ Cluster ─▶ Settled ─▶ Rank                    the reference's tables
                            └─▶ Candidates ─▶ look, compare ─▶ Decide ─▶ Deduped
                                (near pairs)  (their pictures)  who stays, groups, the list

Everything lies below one folder::

    kmeans_results/centroid=<k>/<n>.parquet    id, embedding (length 1), l2_ and cosine_dist_to_cent
    kmeans_centroids.npy
    pairwise_results/cluster_<k>.parquet       id, max_id, cosine_sim_score
    pairs/<k>_<n>.parquet                      near pairs above a floor: a threshold can be changed
    likeness.parquet                           what comparing the pictures of pairs said
    duplicates/<12 letters>.parquet            id: the clips to remove, and nothing else
    groups.parquet                             group, id, kept, kept_id, cosine
    keepers.parquet                            id, kept_id: of those rejected since, if any
    state.json                                 what the clusters were made of
    summary.json                               what was found; written last, it is the promise

In a pipeline of your own::

    pipeline | Dedup(Deduping(Clustering(Shelf(out, staging), "dataset/x_embd_parquet"), eps=0.1))
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.dataset.output import Entry, NoDataset, Output, clips_named, read_document
from finecut.io.layout import GROUPS, Layout, is_clip_id
from finecut.io.media.frames.thumbnails import glimpses
from finecut.io.records import from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.tables.drops import DUPLICATES
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.dedup import alike
from finecut.transforms.dedup.alike import Glance, Likeness, likeness
from finecut.transforms.dedup.clusters import Indices
from finecut.transforms.dedup.near import Pairs, chosen, groups, ranked
from finecut.transforms.dedup.neighbourhoods import (
    CENTROIDS,
    CLUSTERS,
    PAIR_SCHEMA,
    PAIRS,
    PAIRWISE,
    PARQUET,
    Cluster,
    Clustering,
    Rank,
    Settled,
    tables_in,
    to_parquet,
)
from finecut.transforms.filter.clips import DUPLICATE
from finecut.transforms.verify.checks.shapes import CHUNK, misfit

K = TypeVar("K")

STATE, SUMMARY, LIKENESS = "state.json", "summary.json", "likeness.parquet"
#: Whom each clip went for that has been rejected since: groups have only those that are kept.
KEEPERS: Final = "keepers.parquet"
#: Staged, when not one pair could be looked at: how many there were.
UNSEEN: Final = "unseen"
#: Counts up when the same tables and options make other clusters or pairs than they used to.
FORM: Final = 1

#: Of each item so many of its likely duplicates are looked at: the nearest, and those ranked first.
NEAREST, FIRST = 16, 4
#: Pairs that are compared in one go, and clips that are looked at.
PAIRS_AT_ONCE, CLIPS_AT_ONCE = 2000, 100
#: Clips whose pictures a process remembers: a hundred kilobytes each, and a megabyte of views.
REMEMBERED: Final = 128
#: Documents that are read side by side.
READERS: Final = 16

#: What dedup writes in folders of its own; nothing else in them is ever touched.
OURS: Final = {
    CLUSTERS: re.compile(r"centroid=\d+/\d+\.parquet"),
    PAIRS: re.compile(r"\d+_\d+\.parquet"),
    PAIRWISE: re.compile(r"cluster_\d+\.parquet"),
    DUPLICATES: re.compile(r"[0-9a-f]{12}\.parquet"),
}

GROUP_SCHEMA: Final = pa.schema(
    [
        ("group", pa.string()),
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("kept_id", pa.string()),
        ("cosine", pa.float32()),
    ]
)
KEEPER_SCHEMA: Final = pa.schema([("id", pa.string()), ("kept_id", pa.string())])
LIKENESS_SCHEMA: Final = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        #: Null where one of the two could not be looked at.
        ("same", pa.bool_()),
        ("shown", pa.float32()),
        ("changes", pa.float32()),
    ]
)


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
    #: What is written down with the figures.
    told: tuple[tuple[str, str], ...] = ()

    def path(self, name: str) -> str:
        return self.clustering.path(name)


@dataclass(frozen=True)
class Batch:
    """Pairs of a staged table, from one row to another."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Confirmed:
    """What the pictures of a batch said rests at ``path``."""

    path: str
    pairs: int


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
    #: Rejected as duplicates, and not on the list: whom they went for was rejected by a rule.
    released: int = 0


# ── near pairs ───────────────────────────────────────────────────────────────────────────────────


class Graph(NamedTuple):
    """Items that have near ones, by number, and the pairs of them."""

    ids: NDArray[np.str_]
    distances: NDArray[np.float32]
    pairs: Pairs


def read_graph(paths: Iterable[str], least: float) -> Graph:
    """All pairs of at least this cosine in these tables, each once."""
    tables = [pq.read_table(io.BytesIO(shelf.read(path))) for path in sorted(paths)]
    near = [table.filter(pc.field("cosine") >= np.float32(least)) for table in tables]
    near = [table for table in near if len(table)]
    if not near:
        empty = np.empty(0, np.int64)
        none = np.empty(0, np.float32)
        return Graph(np.empty(0, "U1"), none, Pairs(empty, empty, none))
    table = pa.concat_tables(near)
    both = pa.concat_arrays(
        [table.column(name).combine_chunks() for name in ("first", "second")]
    ).dictionary_encode()
    names = np.array(both.dictionary.to_pylist(), np.str_)
    order = np.argsort(names)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    numbers = place[both.indices.to_numpy()]
    first, second = numbers[: len(table)], numbers[len(table) :]
    distances = np.empty(len(names), np.float32)
    distances[first] = table.column("first_distance").to_numpy()
    distances[second] = table.column("second_distance").to_numpy()
    # Two that met in two clusters are one pair.
    _, once = np.unique(first * len(names) + second, return_index=True)
    cosine = table.column("cosine").to_numpy()[once]
    return Graph(names[order], distances, Pairs(first[once], second[once], cosine))


def rank_of(graph: Graph, clustering: Clustering) -> Indices:
    """The place of each item in the one order of all items."""
    order = ranked(graph.distances, graph.ids, clustering.keep, clustering.seed)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def candidates(graph: Graph, rank: Indices) -> NDArray[np.bool_]:
    """The pairs to be looked at: of each item the nearest, and those ranked first.

    Of equally near ones the first by rank: of a thousand black clips all are compared with the one
    that stays.
    """
    first, second, cosine = graph.pairs
    item, other = np.append(first, second), np.append(second, first)
    near, pair = np.tile(cosine, 2), np.tile(np.arange(len(first)), 2)
    wanted = np.zeros(len(first), bool)
    for keys, most in (((rank[other], -near), NEAREST), ((rank[other],), FIRST)):
        order = np.lexsort((*keys, item))
        begins = np.flatnonzero(np.diff(item[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        wanted[pair[order][place < most]] = True
    return wanted


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


def known_likeness(deduping: Deduping) -> pa.Table:
    """What an earlier run saw of the same clips; what it could not see is looked for again."""
    table = _table(deduping.path(LIKENESS), LIKENESS_SCHEMA) if deduping.again else None
    if table is None:
        return LIKENESS_SCHEMA.empty_table()
    return table.filter(pc.is_valid(pc.field("same")))


def _table(path: str, schema: pa.Schema) -> pa.Table | None:
    """A table of ours; nothing if it is gone, damaged or another's."""
    try:
        data = shelf.read_if_there(path)
        table = None if data is None else pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError):  # damaged pages are the latter, and so is a pipe
        return None
    return table if table is not None and table.schema.equals(schema) else None


def to_compare(deduping: Deduping) -> tuple[list[Batch], list[tuple[str, ...]]]:
    """The pairs whose pictures nobody has compared yet, and the clips that are in them."""
    graph = _near(deduping)
    wanted = candidates(graph, rank_of(graph, deduping.clustering))
    known = {
        (first, second) for first, second in zip(*_names(known_likeness(deduping)), strict=True)
    }
    pairs = [
        pair
        for pair in zip(
            graph.ids[graph.pairs.first[wanted]].tolist(),
            graph.ids[graph.pairs.second[wanted]].tolist(),
            strict=True,
        )
        if pair not in known
    ]
    count("pairs to compare", len(pairs))
    if not pairs:
        return [], []
    first, second = zip(*pairs, strict=True)
    path = deduping.clustering.staged("candidates")
    table = pa.table({"first": first, "second": second})
    deduping.clustering.own.write(path, to_parquet(table, PAIRS_AT_ONCE))
    batches = [
        Batch(path, start, min(len(pairs), start + PAIRS_AT_ONCE))
        for start in range(0, len(pairs), PAIRS_AT_ONCE)
    ]
    clips = sorted({*first, *second})
    return batches, list(_in_parts(clips, CLIPS_AT_ONCE))


def _near(deduping: Deduping) -> Graph:
    paths = _files(deduping, PAIRS)
    return read_graph(paths, 1 - deduping.eps)


def _names(table: pa.Table) -> tuple[list[str], list[str]]:
    return table.column("first").to_pylist(), table.column("second").to_pylist()


def _in_parts(things: list[K], size: int) -> Iterator[tuple[K, ...]]:
    for start in range(0, len(things), size):
        yield tuple(things[start : start + size])


def look(clip: str, deduping: Deduping) -> bool:
    """Lay down the clip's tiny pictures; whether there were any."""
    layout = deduping.clips
    assert layout is not None
    if "/" in clip:
        return False  # no id of ours: it would lead elsewhere
    path = layout.clip(clip)

    def seen() -> bytes:
        with shelf.open_source(path) as file:
            pictures = glimpses(file, alike.RATE, alike.MOST, alike.SIDE)
        return pictures.tobytes()

    data = attempted(seen)
    if isinstance(data, Exception):
        LOG.info("not looked at: %s (%s)", path, data)
        return False
    deduping.clustering.own.write(_look_path(clip, deduping), data)
    return True


def _look_path(clip: str, deduping: Deduping) -> str:
    return deduping.clustering.staged(f"looks/{clip[:2]}/{clip}")


@lru_cache(maxsize=REMEMBERED)
def _glance(path: str) -> Glance | None:
    data = shelf.read_if_there(path)
    if data is None:
        return None
    return Glance(np.frombuffer(data, np.uint8).reshape(-1, alike.SIDE, alike.SIDE))


def confirmed(batch: Batch, deduping: Deduping) -> Confirmed:
    """Compare the pictures of each pair."""
    # Rows are in groups of as many as a batch has.
    table = pq.ParquetFile(io.BytesIO(shelf.read(batch.path)))
    rows = table.read_row_group(batch.start // PAIRS_AT_ONCE)
    pairs = list(zip(*_names(rows), strict=True))
    path = deduping.clustering.staged(f"likeness/{batch.start}")
    said = [_compare(*(_look_path(clip, deduping) for clip in pair)) for pair in pairs]
    deduping.clustering.own.write(path, to_parquet(_likeness_table(pairs, said)))
    return Confirmed(path, len(pairs))


def _compare(first: str, second: str) -> Likeness | None:
    one, other = _glance(first), _glance(second)
    count("pairs compared")
    return None if one is None or other is None else likeness(one, other)


def _likeness_table(pairs: list[tuple[str, str]], said: list[Likeness | None]) -> pa.Table:
    columns = {
        "first": [first for first, _ in pairs],
        "second": [second for _, second in pairs],
        "same": [None if one is None else one.same for one in said],
        "shown": [None if one is None else one.shown for one in said],
        "changes": [None if one is None else one.changes for one in said],
    }
    return pa.table(columns, schema=LIKENESS_SCHEMA)


# ── who stays ────────────────────────────────────────────────────────────────────────────────────


class Verdict(NamedTuple):
    """Who goes, and the groups they are in."""

    removed: list[str]
    groups: pa.Table


def verdict(graph: Graph, rank: Indices, eps: float) -> Verdict:
    """Of each pair that is near enough one goes, unless what it is near to goes itself."""
    number = len(graph.ids)
    done = chosen(number, graph.pairs, rank, eps)
    group = groups(number, graph.pairs, eps)
    members = np.bincount(group, minlength=number)[group] > 1
    rows = np.flatnonzero(members)
    # By group, as its first-ranked is, and by rank within.
    first = np.full(number, np.iinfo(np.int64).max)
    np.minimum.at(first, group[rows], rank[rows])
    by_rank = np.argsort(rank)
    rows = rows[np.lexsort((rank[rows], first[group[rows]]))]
    stays = done.kept == np.arange(number)
    heads = by_rank[first[group[rows]]]
    table = pa.table(
        {
            "group": graph.ids[heads].tolist(),
            "id": graph.ids[rows].tolist(),
            "kept": stays[rows],
            "kept_id": graph.ids[done.kept[rows]].tolist(),
            "cosine": done.cosine[rows],
        },
        schema=GROUP_SCHEMA,
    )
    return Verdict(sorted(graph.ids[~stays].tolist()), table)


def decided(settled: Settled, deduping: Deduping, seen: Iterable[Confirmed] = ()) -> Deduped:
    """Write the list, the groups and the figures."""
    clustering = deduping.clustering
    graph = _near(deduping)
    near = len(graph.pairs.first)
    rank = rank_of(graph, clustering)
    same, figures = graph, (0, 0, 0)
    if deduping.clips is not None:
        same, figures = _the_same(graph, deduping, seen)
    compared, _, unseen = figures
    if compared and compared == unseen:
        # An empty list would say that there are no duplicates.
        clustering.own.write(clustering.staged(UNSEEN), str(unseen).encode())
        return Deduped(0, 0, 0, near, *figures, 0, 0, 0, None, deduping.eps, "")
    found = verdict(same, rank, deduping.eps)
    troubles: list[str] = []
    carried, released = _carried(deduping, {*found.removed}, troubles)
    clustering.own.write(deduping.path(GROUPS), to_parquet(found.groups))
    path = _write_list(deduping, sorted({*found.removed, *carried}))
    deduped = Deduped(
        settled.items,
        settled.pointless,
        len(settled.pieces),
        near,
        *figures,
        len({*found.groups.column("group").to_pylist()}),
        len(found.removed),
        len(carried),
        _seconds(found.removed, deduping, troubles),
        deduping.eps,
        path,
        (*settled.troubles, *sorted({*troubles})),
        len(released),
    )
    said = {**asdict(deduped), "told": dict(deduping.told)}
    said["path"] = path.rsplit(f"{clustering.own.root}/", 1)[-1]
    said["troubles"] = list(deduped.troubles)
    clustering.own.write(deduping.path(SUMMARY), json.dumps(said, indent=4).encode())
    return deduped


def _the_same(
    graph: Graph, deduping: Deduping, seen: Iterable[Confirmed]
) -> tuple[Graph, tuple[int, int, int]]:
    """The pairs whose pictures are the same; how many were compared, are the same, were unseen."""
    tables = [known_likeness(deduping)]
    tables += [pq.read_table(io.BytesIO(shelf.read(one.path))) for one in seen]
    table = pa.concat_tables(tables).sort_by([("first", "ascending"), ("second", "ascending")])
    deduping.clustering.own.write(deduping.path(LIKENESS), to_parquet(table))
    said = dict(
        zip(zip(*_names(table), strict=True), table.column("same").to_pylist(), strict=True)
    )
    pairs = graph.pairs
    named = zip(graph.ids[pairs.first].tolist(), graph.ids[pairs.second].tolist(), strict=True)
    answers = [said.get(pair, "nobody asked") for pair in named]
    compared = sum(answer != "nobody asked" for answer in answers)
    unseen = sum(answer is None for answer in answers)
    same = np.array([answer is True for answer in answers], bool)
    kept = Pairs(*(field[same] for field in pairs))
    return graph._replace(pairs=kept), (compared, int(same.sum()), unseen)


def _write_list(deduping: Deduping, ids: list[str]) -> str:
    """The list, and none beside it: who drops what is listed reads all that lies there."""
    names = sorted(path.rsplit("/", 1)[-1] for path in tables_in(deduping.clustering.tables))
    name = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    path = deduping.path(f"{DUPLICATES}/{name}{PARQUET}")
    table = pa.table({"id": pa.array(ids, pa.string())})
    deduping.clustering.own.write(path, to_parquet(table, max(1, len(ids) // 10)))
    remove_others(deduping, DUPLICATES, {path})
    return path


def remove_others(deduping: Deduping, folder: str, wanted: set[str]) -> None:
    """Remove what an earlier run wrote in a folder of its own and this one did not."""
    for path in _files(deduping, folder):
        if path not in wanted:
            deduping.clustering.own.remove(path)


def _files(deduping: Deduping, folder: str) -> list[str]:
    """What dedup wrote in one of its folders."""
    root = deduping.path(folder)
    if not shelf.exists(root):
        return []
    found = (path for path in shelf.files_below(root))
    return sorted(path for path in found if OURS[folder].fullmatch(path[len(root) + 1 :]))


class Carried(NamedTuple):
    """Clips that were rejected as duplicates: they have no vectors any more."""

    #: They would come back if they left the list.
    ids: list[str]
    #: They should: whom they went for has been rejected by a rule since.
    released: list[str]


def _carried(deduping: Deduping, removed: set[str], troubles: list[str]) -> Carried:
    """Whom the dataset has rejected as a duplicate, whichever list that was on; what it says that
    cannot be used is left out, and told."""
    layout = deduping.dataset
    if layout is None:
        return Carried([], [])
    rejected = _rejected(layout, troubles)
    keepers = _known_keepers(deduping, layout)
    clips = sorted(id for id, by in rejected.items() if by == DUPLICATE and id not in removed)
    known = [(id, keepers[id]) for id in clips if id in keepers]
    # Before the groups that say so are replaced.
    _write_keepers(deduping, known)
    stay = {id: still_goes(id, keepers, rejected) for id in clips}
    return Carried([id for id in clips if stay[id]], [id for id in clips if not stay[id]])


def still_goes(clip: str, keepers: Mapping[str, str], rejected: Mapping[str, str]) -> bool:
    """Whether the clip that this one went for is kept, or goes for one that is, as far as known.

    >>> still_goes("b", {"b": "a"}, {"b": "duplicate"})
    True
    >>> still_goes("b", {"b": "a"}, {"b": "duplicate", "a": "motion"})
    False
    """
    met = set()
    while clip in keepers and clip not in met:
        met.add(clip)
        clip = keepers[clip]
        if clip not in rejected:
            return True
        if rejected[clip] != DUPLICATE:
            return False
    return clip not in met  # in a circle nobody stays


def _rejected(layout: Layout, troubles: list[str]) -> dict[str, str]:
    """The dataset's rejected clips, and by what each was rejected."""

    def clips(chunk: str) -> list[str]:
        try:
            said = read_document(chunk)
            if (wrong := misfit(chunk, said, CHUNK)) is not None:
                troubles.append(wrong)
            return [id for id, kept in clips_named(said, chunk) if not kept]
        except NoDataset as error:
            troubles.append(str(error))
            return []

    def by(id: str) -> str:
        return str(_document(id, layout, troubles).get("filtered_by") or "")

    if not shelf.exists(layout.processed_clip_chunks()):
        return {}
    with ThreadPoolExecutor(READERS) as readers:
        found = [id for part in readers.map(clips, Output(layout).chunks()) for id in part]
        return dict(zip(found, readers.map(by, found), strict=True))


def _known_keepers(deduping: Deduping, layout: Layout) -> dict[str, str]:
    """Whom clips went for, as earlier runs said; the one in this folder is believed first."""
    found: dict[str, str] = {}
    for root in (layout.dedup(), deduping.clustering.own.root):
        for name, schema in ((KEEPERS, KEEPER_SCHEMA), (GROUPS, GROUP_SCHEMA)):
            table = _table(f"{root}/{name}", schema)
            if table is None:
                continue
            columns = (table.column(key).to_pylist() for key in ("id", "kept_id"))
            found |= {id: keeper for id, keeper in zip(*columns, strict=True) if id != keeper}
    return found


def _write_keepers(deduping: Deduping, known: list[tuple[str, str]]) -> None:
    own, path = deduping.clustering.own, deduping.path(KEEPERS)
    if not known:
        own.remove(path)
        return
    ids, keepers = zip(*known, strict=True)
    table = pa.table({"id": ids, "kept_id": keepers}, schema=KEEPER_SCHEMA)
    own.write(path, to_parquet(table))


def _seconds(removed: list[str], deduping: Deduping, troubles: list[str]) -> float | None:
    layout = deduping.dataset
    if layout is None:
        return None

    def length(id: str) -> float:
        said = _document(id, layout, troubles)
        if "duration_span" not in said:
            return 0.0
        try:
            start, end = Entry(id, True, "", "", said).span
        except NoDataset as error:
            troubles.append(str(error))
            return 0.0
        return end - start

    with ThreadPoolExecutor(READERS) as readers:
        return round(sum(readers.map(length, removed)), 3)


def _document(id: str, layout: Layout, troubles: list[str]) -> Mapping[str, Any]:
    """What is known of a clip; nothing of one without a document."""
    try:
        # Tables of other programs may have ids that lead elsewhere.
        return (read_json(layout.meta(id)) if is_clip_id(id) else None) or {}
    except BadDocument as error:
        troubles.append(str(error))
        return {}


# ── state ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class State:
    """What lies in the folder: of which tables and options, and how it was ranked last."""

    digest: str
    floor: float
    settled: Settled | None = None
    keep: str = ""
    seed: int = 0
    form: int = FORM


def read_state(root: str) -> State | None:
    """What an earlier run left, if it can be understood."""
    try:
        said = read_json(f"{root}/{STATE}")
        if said is None:
            return None
        settled = said.pop("settled")
        state = State(**said)
        _ = state.floor + 0  # a text is none
        if settled is None:
            return state
        pieces = tuple((int(centroid), int(number)) for centroid, number in settled["pieces"])
        whole = {**settled, "pieces": pieces, "troubles": tuple(settled["troubles"])}
        return State(**{**said, "settled": Settled(**whole)})
    except (ValueError, TypeError, KeyError, AttributeError):
        return State("", 1.0)


def is_whole(settled: Settled, deduping: Deduping) -> bool:
    """Whether the clusters and pairs that an earlier run noted still lie here."""
    clustering = deduping.clustering
    places = _places(settled)
    pairs = [clustering.pairs(*place) for place in places]
    return (
        shelf.exists(deduping.path(CENTROIDS))
        and {clustering.cluster(*place) for place in places} <= {*_files(deduping, CLUSTERS)}
        and {*pairs} <= {*_files(deduping, PAIRS)}
        and all(_table(path, PAIR_SCHEMA) is not None for path in pairs)
    )


def is_ranked(settled: Settled, deduping: Deduping) -> bool:
    """Whether the reference's tables lie here, one for each cluster."""
    wanted = {deduping.clustering.pairwise(centroid) for centroid, _ in settled.pieces}
    return wanted <= {*_files(deduping, PAIRWISE)}


def _places(settled: Settled) -> list[tuple[int, int]]:
    return [(c, n) for c, count_of in settled.pieces for n in range(count_of)]


def write_state(deduping: Deduping, settled: Settled | None, is_ranked: bool) -> None:
    clustering = deduping.clustering
    state = State(
        deduping.digest,
        clustering.floor,
        settled,
        clustering.keep if is_ranked else "",
        clustering.seed if is_ranked else 0,
    )
    clustering.own.write(deduping.path(STATE), to_json(state).encode())


def _settle(deduping: Deduping, settled: Settled) -> None:
    """Remove what other clusters left, and note what lies here now."""
    clustering = deduping.clustering
    numbered = _places(settled)
    remove_others(deduping, CLUSTERS, {clustering.cluster(*place) for place in numbered})
    remove_others(deduping, PAIRS, {clustering.pairs(*place) for place in numbered})
    write_state(deduping, settled, is_ranked=False)


# ── the transform ────────────────────────────────────────────────────────────────────────────────


class Dedup(beam.PTransform[Any, beam.PCollection[Deduped]]):
    """The folder of tables → one :class:`Deduped`, when all is written."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, begin: Any) -> beam.PCollection[Deduped]:
        deduping = self.deduping
        settled = begin | "Settle" >> _Clusters(deduping)
        seen: list[Any] = []
        if not deduping.ranked:
            rows = settled | "Rank" >> Rank(deduping.clustering)
            ranked_all = settled | "Ranked" >> beam.Map(
                _ranked, deduping, beam.pvalue.AsList(rows)
            ).with_output_types(Settled)
            settled = ranked_all
        if deduping.clips is not None:
            seen = [beam.pvalue.AsList(settled | "Look" >> Confirm(deduping))]
        return settled | "Decide" >> beam.Map(_decide, deduping, *seen).with_output_types(Deduped)


class _Clusters(beam.PTransform[Any, beam.PCollection[Settled]]):
    """The clusters: made now, or those that lie there."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, begin: Any) -> beam.PCollection[Settled]:
        if not self.deduping.again:
            return begin | "Cluster" >> Cluster(
                self.deduping.clustering, partial(_settle, self.deduping)
            )
        root = self.deduping.clustering.own.root
        return (
            begin
            | "Folder" >> beam.Create([root])
            | "As it was" >> beam.Map(settled_before).with_output_types(Settled)
        )


class Confirm(beam.PTransform[beam.PCollection[Settled], beam.PCollection[Confirmed]]):
    """Settled clusters → what the pictures of their near pairs say."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, settled: beam.PCollection[Settled]) -> beam.PCollection[Confirmed]:
        deduping = self.deduping
        asked = settled | "Candidates" >> beam.FlatMap(_asked, deduping).with_outputs(
            "clips", main="batches"
        )
        looked = (
            asked.clips
            | "Deal clips" >> beam.Reshuffle()
            | "Glimpse" >> beam.Map(_look_at, deduping).with_output_types(int)
        )
        return (
            asked.batches
            | "Deal batches" >> beam.Reshuffle()
            | "Compare"
            >> beam.Map(_confirm, deduping, beam.pvalue.AsList(looked)).with_output_types(Confirmed)
        )


def settled_before(root: str) -> Settled:
    state = read_state(root)
    assert state is not None
    assert state.settled is not None
    return state.settled


def _ranked(settled: Settled, deduping: Deduping, rows: list[int]) -> Settled:
    """Noted when all clusters are ranked."""
    wanted = {deduping.clustering.pairwise(centroid) for centroid, _ in settled.pieces}
    remove_others(deduping, PAIRWISE, wanted)
    write_state(deduping, settled, is_ranked=True)
    LOG.info("ranked %d vectors", sum(rows))
    return settled


def _asked(_settled: Settled, deduping: Deduping) -> Iterator[Any]:
    batches, clips = to_compare(deduping)
    yield from batches
    for part in clips:
        yield beam.pvalue.TaggedOutput("clips", part)


def _look_at(part: tuple[str, ...], deduping: Deduping) -> int:
    seen = sum(look(clip, deduping) for clip in part)
    count("clips looked at", seen)
    return seen


def _confirm(batch: Batch, deduping: Deduping, _looked: list[int]) -> Confirmed:
    return confirmed(batch, deduping)


def _decide(settled: Settled, deduping: Deduping, seen: Iterable[Confirmed] = ()) -> Deduped:
    return decided(settled, deduping, sorted(seen, key=lambda one: one.path))


def summary_of(root: str) -> Deduped | None:
    """What the folder says was found in it."""
    said = read_json(f"{root}/{SUMMARY}")
    if said is None:
        return None
    said.pop("told", None)
    return from_json(Deduped, json.dumps(said))
