"""Duplicates: what is planted is found, one of each kind stays, and nothing else goes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import copies
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from faults import differences, tree
from numpy.typing import NDArray
from performing import dedup
from places import BESIDE
from planted import by_brute_force, identifier, planted, told, write_tables

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout
from finecut.io.media.frames.small_pictures import thumbnails
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import piles
from finecut.io.tables.drops import DropsError, read_drops
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.dedup.work import final_words
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import configuration
from finecut.pipeline.running import run
from finecut.transforms.dedup.clusters import Clustering, Floats, normalised
from finecut.transforms.dedup.near import Graph, closest, graph_of, rank_of, verdict
from finecut.transforms.dedup.neighbourhoods import compared
from finecut.transforms.dedup.pictures import MOST, RATE, SIDE, Thumbnails, likeness
from finecut.transforms.dedup.pieces import fitted, laid, pieces, portions_in, sampled

VIDEOS = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos"

Pixels = NDArray[np.uint8]
MICROSECONDS = Fraction(1, 1_000_000)


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 vectors, two that point nowhere, and a table that is cut short."""
    folder = tmp_path_factory.mktemp("vectors")
    ids, vectors, _ = planted(700, 32)
    nowhere = np.stack([np.zeros(32), np.full(32, np.nan)])
    write_tables(folder, [*ids, "zeros", "nan"], np.concatenate([vectors, nowhere]), 6)
    whole = (folder / "0000.parquet").read_bytes()
    (folder / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    return folder


def asked(root: Path, tables: Path, **others: Any) -> DedupOptions:
    told: dict[str, Any] = {"clusters": 5, "eps": 0.1} | others
    return DedupOptions(dataset=str(root), embeddings=str(tables), **told)


@pytest.fixture(scope="module")
def done(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    dedup(asked(root, tables, workers=2))
    return root / "dedup"


def test_everything_can_be_read_with_plain_pyarrow(done: Path) -> None:
    clusters = {int(path.name.split("=")[1]): path for path in (done / "kmeans_results").iterdir()}
    centroids = np.load(done / "kmeans_centroids.npy")
    assert clusters.keys() == {*range(5)}
    assert centroids.shape == (5, 32)
    seen = []
    for number, folder in clusters.items():
        table = pq.read_table(folder, partitioning=None)
        assert dict(zip(table.column_names, map(str, table.schema.types), strict=True)) == {
            "id": "string",
            "embedding": "list<element: float>",
            "l2_dist_to_cent": "float",
            "cosine_dist_to_cent": "float",
        }
        vectors = np.array(table["embedding"].to_pylist())
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
        away = vectors - centroids[number]
        assert table["l2_dist_to_cent"].to_numpy() == pytest.approx(
            np.linalg.norm(away, axis=1), abs=1e-5
        )
        assert table["cosine_dist_to_cent"].to_numpy() == pytest.approx(
            1 - vectors @ centroids[number], abs=1e-6
        )
        ids = table["id"].to_pylist()
        seen += ids
        pairwise = pq.read_table(done / f"pairwise_results/cluster_{number}.parquet")
        assert pairwise.column_names == ["id", "max_id", "cosine_sim_score"]
        assert str(pairwise.schema.field("cosine_sim_score").type) == "float"
        check_pairwise(pairwise, dict(zip(ids, vectors, strict=True)), centroids[number])
    assert len(seen) == len({*seen}) == 700
    [listed] = (done / "duplicates").iterdir()
    drops = pq.read_table(listed)
    assert drops.schema.equals(pa.schema([("id", pa.string())]))
    assert drops["id"].to_pylist() == sorted(drops["id"].to_pylist())
    assert read_drops([str(done)]) == {*drops["id"].to_pylist()}


def check_pairwise(table: pa.Table, vectors: Mapping[str, Any], centroid: Any) -> None:
    """The farthest from its centroid first; each beside the nearest of those before it."""
    ids = table["id"].to_pylist()
    away = [1 - vectors[id] @ centroid for id in ids]
    assert away == pytest.approx(sorted(away, reverse=True), abs=1e-6)
    before = np.triu(
        np.array([vectors[id] for id in ids]) @ np.array([vectors[id] for id in ids]).T, 1
    )
    best = np.maximum(before.max(axis=0), 0)
    assert table["cosine_sim_score"].to_numpy() == pytest.approx(best, abs=1e-5)
    assert table["max_id"][0].as_py() == ids[0]


def test_what_is_planted_is_found_and_one_of_each_stays(done: Path) -> None:
    ids, vectors, pairs = planted(700, 32)
    assert by_brute_force(ids, vectors, 0.9) == pairs, "the vectors prove nothing"
    groups = pq.read_table(done / "groups.parquet")
    assert dict(zip(groups.column_names, map(str, groups.schema.types), strict=True)) == {
        "group": "string",
        "id": "string",
        "kept": "bool",
        "kept_id": "string",
        "cosine": "float",
    }
    rows = groups.to_pylist()
    found = told(done / "groups.parquet")
    assert found <= pairs
    assert len(found) >= 0.99 * len(pairs)
    for row in rows:
        assert row["kept"] == (row["id"] == row["group"] == row["kept_id"])
        assert row["cosine"] >= 0.9
    assert read_drops([str(done)]) == {row["id"] for row in rows if not row["kept"]}
    said = json.loads((done / "summary.json").read_text())
    assert (said["items"], said["pointless"], said["clusters"]) == (700, 2, 5)
    assert said["removed"] == said["groups"] == said["pairs"] == len(found)
    [trouble] = said["troubles"]
    assert "torn.parquet cannot be read" in trouble


def test_the_number_of_workers_changes_no_byte(tables: Path, done: Path, tmp_path: Path) -> None:
    dedup(asked(tmp_path, tables, workers=1))
    assert differences(tree(tmp_path / "dedup"), tree(done)) == []
    assert not (done / ".staging").exists()


@pytest.mark.slow
def test_another_threshold_or_rule_needs_no_clusters(tables: Path, tmp_path: Path) -> None:
    first = dedup(asked(tmp_path, tables))[0]
    before = tree(tmp_path / "dedup")
    stricter, found = dedup(asked(tmp_path, tables, eps=0.02))
    assert (first.again, stricter.again, stricter.ranked) == (False, True, True)
    assert 0 < found.removed < 20
    easier = dedup(asked(tmp_path, tables, which_to_keep="easy"))[0]
    assert (easier.again, easier.ranked) == (True, False)
    alone = tmp_path / "alone"
    dedup(asked(alone, tables, which_to_keep="easy"))
    assert differences(tree(tmp_path / "dedup"), tree(alone / "dedup")) == []
    dedup(asked(tmp_path, tables))
    assert differences(tree(tmp_path / "dedup"), before) == []


@pytest.mark.slow
def test_other_vectors_are_compared_anew_and_nothing_old_stays(
    tables: Path, tmp_path: Path
) -> None:
    vectors = tmp_path / "vectors"
    ids, rows, _ = planted(60, 8)
    write_tables(vectors, ids, rows, 3)
    dedup(asked(tmp_path, tables))
    mine = tmp_path / "dedup/duplicates/mine.txt"
    mine.write_text("not yours")
    assert not dedup(asked(tmp_path, vectors, clusters=2))[0].again
    alone = tmp_path / "alone"
    dedup(asked(alone, vectors, clusters=2))
    assert differences(tree(tmp_path / "dedup"), tree(alone / "dedup")) == ["duplicates/mine.txt"]
    mine.unlink()
    write_tables(vectors, ids, rows[::-1], 3)
    assert not dedup(asked(tmp_path, vectors, clusters=2))[0].again


def test_what_others_wrote_is_not_replaced(tables: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "dedup/duplicates/0123456789ab.parquet"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(OptionError, match=r"contains duplicates, but no state\.json.*--into"):
        dedup(asked(tmp_path, tables))
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("lost", ["pairs", "kmeans_results", "pairwise_results", "torn pairs"])
def test_what_was_lost_of_an_earlier_run_is_made_again(
    lost: str, done: Path, tables: Path, tmp_path: Path
) -> None:
    shutil.copytree(done, tmp_path / "dedup")
    if lost == "torn pairs":
        pairs = next(iter((tmp_path / "dedup/pairs").iterdir()))
        pairs.write_bytes(pairs.read_bytes()[:-20])
    else:
        shutil.rmtree(tmp_path / "dedup" / lost)
    again = dedup(asked(tmp_path, tables))[0]
    assert again.again == (lost == "pairwise_results")
    assert not again.ranked
    assert differences(tree(tmp_path / "dedup"), tree(done)) == []


def test_damaged_clusters_are_made_anew_by_the_next_run(
    done: Path, tables: Path, tmp_path: Path
) -> None:
    shutil.copytree(done, tmp_path / "dedup")
    cluster = next((tmp_path / "dedup/kmeans_results").rglob("*.parquet"))
    cluster.write_bytes(cluster.read_bytes()[:-20])
    easy = asked(tmp_path, tables, which_to_keep="easy")
    with pytest.raises((RuntimeError, ValueError)):
        dedup(easy)
    assert not dedup(easy)[0].again
    pq.read_table(cluster, partitioning=None)


@pytest.mark.parametrize("into", ["", "clips", "clips/x", "x_embd_parquet", ".finecut", "runs/1"])
def test_folders_of_the_dataset_are_not_written_into(
    into: str, tables: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="is the dataset, or one of the folders"):
        dedup(asked(tmp_path, tables, into=str(tmp_path / into)))
    assert [*tmp_path.iterdir()] == []


def test_no_list_lies_among_the_vectors(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is the dataset, or one of the folders"):
        dedup(asked(tmp_path, tables, into=str(tables)))


def test_a_full_disk_is_said_in_a_sentence(tables: Path, tmp_path: Path) -> None:
    """No file may grow beyond so many bytes, which the clusters would."""
    arguments = ["dedup", str(tmp_path), "--embeddings", str(tables), "--workers", "1"]
    code = (
        "import resource, sys; from finecut.pipeline.cli.command import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "sys.exit(main(sys.argv[1:]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "could not be written (File too large). Make room" in ended.stderr
    assert "Traceback" not in ended.stderr


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_name_is_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"id": [identifier(1)]}), tmp_path / "list.parquet")
    monkeypatch.chdir(tmp_path)
    assert read_drops(["."]) == {identifier(1)}
    assert read_drops([""]) == frozenset()
    plain = curating(tmp_path, tmp_path)
    assert configuration(dataclasses.replace(plain, drop=("",))) == configuration(plain)


@pytest.mark.parametrize("id", [None, "", "a clip", "../" + identifier(1), identifier(1) + "\n"])
def test_a_table_of_what_is_no_id_is_refused(id: str | None, tmp_path: Path) -> None:
    listed = pa.table({"id": pa.array([identifier(1), id], pa.string())})
    pq.write_table(listed, tmp_path / "list.parquet")
    with pytest.raises(DropsError, match=r"list\.parquet, row 2: .* is not the id of a clip"):
        read_drops([str(tmp_path / "list.parquet")])


def test_no_damage_of_a_table_is_a_traceback(tmp_path: Path) -> None:
    """Of damaged pages and footers pyarrow raises errors of other kinds."""
    path = tmp_path / "list.parquet"
    ids = [identifier(number) for number in range(200)]
    pq.write_table(pa.table({"id": ids}), path, compression="zstd", use_dictionary=False)
    whole, kinds = path.read_bytes(), set()
    for place in range(4, len(whole) - 8, len(whole) // 60):
        path.write_bytes(whole[:place] + b"\xff" * 8 + whole[place + 8 :])
        try:
            read_drops([str(path)])
        except DropsError as error:
            kinds.add(type(error.__cause__))
    assert OSError in kinds


def test_a_text_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(identifier(1), "utf-8-sig")
    assert read_drops([str(tmp_path / "list.txt")]) == {identifier(1)}


def test_a_folder_without_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoDataset, match=r"contains no \.parquet"):
        dedup(asked(tmp_path, tmp_path))
    (tmp_path / "processed_videos").mkdir()
    plain = DedupOptions(dataset=str(tmp_path))
    with pytest.raises(NoDataset, match="contains no vectors"):
        dedup(plain)
    for name in ("ce1", "eye"):
        write_tables(tmp_path / f"{name}_embd_parquet", ["a"], np.ones((1, 2)), 1)
    with pytest.raises(OptionError, match="vectors of cosmos-embed1, eye: choose one"):
        dedup(plain)
    with pytest.raises(OptionError, match="there are no vectors of --algorithm nose here"):
        dedup(dataclasses.replace(plain, algorithm="nose"))
    assert dedup(dataclasses.replace(plain, algorithm="eye"))[1].items == 1


def clustered(
    folder: Path, vectors: Floats, ids: list[str], **others: Any
) -> tuple[Clustering, list[str], int]:
    """The same without Beam: what was settled with, the tables of pairs, and how many pieces."""
    write_tables(folder / "tables", ids, vectors, 5)
    own = Shelf(str(folder / "out"), str(folder / "out" / ".staging" / "x"))
    clustering = Clustering(own, str(folder / "tables"), **others)
    dealt = portions_in(clustering.tables)
    centroids = fitted([sampled(portion, clustering) for portion in dealt], clustering)
    places: dict[int, list[Any]] = {}
    for portion in dealt:
        for slice_ in laid(portion, clustering, centroids).slices:
            places.setdefault(slice_.centroid, []).append(slice_)
    made = [piece for cluster in places.items() for piece in pieces(cluster, clustering, centroids)]
    for piece in made:
        assert sum(part.rows for part in piece.slices) <= clustering.piece_rows + 48
        compared(piece, clustering)
    paths = [clustering.pairs(piece.centroid, piece.number) for piece in made]
    return clustering, paths, len(made)


def test_a_cluster_that_is_too_large_is_split(tmp_path: Path) -> None:
    ids, vectors, pairs = planted(1500, 16)
    whole = by_brute_force(ids, vectors, 0.9)
    _, paths, number = clustered(tmp_path, vectors, ids, clusters=2, piece_rows=300)
    assert number > 10
    graph = near_in(paths, 0.9)
    found = {(graph.ids[i], graph.ids[j]) for i, j, _ in zip(*graph.pairs, strict=True)}
    assert found <= whole
    assert len(found & pairs) >= 0.9 * len(pairs)


@pytest.mark.parametrize("keep", ["best", "hard", "easy", "random"])
def test_of_thousands_that_are_equal_one_stays(keep: str, tmp_path: Path) -> None:
    """They cannot be split, so they are dealt, and those who stay are in all parts."""
    all_of_one_kind(1200, 100, keep, tmp_path)


@pytest.mark.slow
def test_twenty_thousand_equal_vectors(tmp_path: Path) -> None:
    all_of_one_kind(20_000, 8192, "hard", tmp_path)


def near_in(paths: list[str], least: float) -> Graph:
    """All pairs of at least this cosine in these tables."""
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    return graph_of(table.filter(pc.greater_equal(table["cosine"], np.float32(least))))


def all_of_one_kind(count: int, most: int, keep: str, folder: Path) -> None:
    vectors = np.repeat(normalised(np.random.default_rng(0).normal(size=(1, 8))), count, axis=0)
    ids = [f"{number:05}" for number in range(count)]
    told: dict[str, Any] = {"clusters": 3, "piece_rows": most, "keep": keep}
    clustering, paths, number = clustered(folder, vectors, ids, **told)
    assert number >= count // most
    graph = near_in(paths, 0.9)
    assert len(graph.pairs.first) < 100 * count
    rank = rank_of(graph, clustering)
    found = verdict(graph, rank, 0.1)
    assert len(found.removed) == count - 1
    assert {*found.groups["kept_id"].to_pylist()} == {*ids} - {*found.removed}
    # Also when only the pairs are looked at whose pictures would be compared.
    first, second, cosine = graph.pairs
    ends = np.append(first, second), rank[np.append(second, first)], np.tile(cosine, 2)
    forwards, back = closest(*ends).reshape(2, -1)
    wanted = forwards | back
    few = graph._replace(pairs=graph.pairs.take(wanted))
    assert len(verdict(few, rank, 0.1).removed) == count - 1
    assert wanted.sum() < 40 * count


def test_rows_come_back_as_they_were_laid_down() -> None:
    ids, vectors, _ = planted(30, 4)
    rows = piles.Rows(
        np.array(ids),
        vectors,
        distances=np.arange(len(ids), dtype=np.float32),
        home=vectors[:, 0] > 0,
        merits=np.arange(len(ids), dtype=np.uint64) << np.uint64(40),
    )
    again = piles.from_bytes(piles.to_bytes(rows))
    for one, other in zip(rows, again, strict=True):
        assert np.array_equal(one, other)


def measured_recall(count: int, size: int, folder: Path) -> float:
    ids, vectors, _ = planted(count, size)
    write_tables(folder / "tables", ids, vectors, 20)
    whole = by_brute_force(ids, vectors, 0.9)
    assert len(whole) > count // 10
    deduped = dedup(DedupOptions(dataset=str(folder), embeddings=str(folder / "tables"), eps=0.1))[
        1
    ]
    found = told(folder / "dedup/groups.parquet")
    assert found <= whole
    assert deduped.pairs >= len(found)
    return len(found) / len(whole)


@pytest.mark.slow
def test_nearly_all_pairs_of_many_are_found(tmp_path: Path) -> None:
    assert measured_recall(30_000, 256, tmp_path) >= 0.99


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


Alter = Callable[[Pixels], Pixels]


def scaled(share: float) -> Alter:
    def scale(picture: Pixels) -> Pixels:
        height, width = (round(side * share / 2) * 2 for side in picture.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return np.asarray(frame.reformat(width, height).to_ndarray(), np.uint8)

    return scale


def cropped(share: float) -> Alter:
    """Two thirds of what goes go at the top and on the left."""

    def crop(picture: Pixels) -> Pixels:
        height, width = (round(side * (1 - share) / 2) * 2 for side in picture.shape[:2])
        top, left = (picture.shape[0] - height) * 2 // 3, (picture.shape[1] - width) * 2 // 3
        return picture[top : top + height, left : left + width]

    return crop


def coloured(picture: Pixels) -> Pixels:
    """Brighter, with more contrast, fewer colours, and warmer."""
    pixels = picture.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = 0.7 * pixels + 0.3 * grey
    pixels = 1.15 * (1.1 * pixels - 128) + 128 + np.array([8, 0, -8])
    return pixels.clip(0, 255).astype(np.uint8)


def alike_but_for_the_file(picture: Pixels) -> Pixels:
    return picture


#: What is done to the pictures, how badly they are encoded then, and how much is left out before.
ALTERED: dict[str, tuple[Alter, int, float]] = {
    "encoded": (alike_but_for_the_file, 36, 0.0),
    "halved": (scaled(0.5), 26, 0.0),
    "cropped": (cropped(0.05), 26, 0.0),
    "cropped more": (cropped(0.1), 26, 0.0),
    "coloured": (coloured, 26, 0.0),
    "later": (alike_but_for_the_file, 26, 0.5),
    "cropped most": (cropped(0.15), 26, 0.0),
    "mirrored": (lambda picture: picture[:, ::-1], 26, 0.0),
    "signed": (lambda picture: copies.signed(picture[None])[0], 26, 0.0),
}


@lru_cache(maxsize=1)
def pictures_of(film: Path, side: int = 270) -> list[tuple[float, Pixels]]:
    """When each frame is shown, and what: a little smaller, so that tests are quick."""
    found = []
    with av.open(str(film)) as source:
        for frame in source.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            scale = min(1.0, side / min(frame.width, frame.height))
            width, height = (
                round(length * scale / 2) * 2 for length in (frame.width, frame.height)
            )
            small = frame.reformat(width, height, "rgb24")
            found.append(
                (float(frame.pts * frame.time_base), np.asarray(small.to_ndarray(), np.uint8))
            )
    return [(seconds - found[0][0], picture) for seconds, picture in found]


def altered(film: Path, target: Path, how: str) -> None:
    """The film once more, as somebody else might have it."""
    alter, quality, later = ALTERED[how]
    shown = [(at - later, alter(picture)) for at, picture in pictures_of(film) if at >= later]
    with av.open(str(target), "w") as copy:
        options = {"crf": str(quality), "preset": "veryfast"}
        out = copy.add_stream("libx264", rate=30, options=options)
        out.height, out.width = (length // 2 * 2 for length in shown[0][1].shape[:2])
        out.pix_fmt = "yuv420p"
        out.codec_context.time_base = MICROSECONDS
        for at, picture in shown:
            even = np.ascontiguousarray(picture[: out.height, : out.width])
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = round((at - shown[0][0]) * 1e6), MICROSECONDS
            copy.mux(out.encode(frame))
        copy.mux(out.encode(None))


def glance(path: Path) -> Thumbnails:
    return Thumbnails(thumbnails(str(path), RATE, MOST, SIDE))


def landscapes(folder: Path, name: str, palettes: Iterable[int], seconds: int = 2) -> Path:
    """A film of scenes of so many seconds, each with a ball and hills of its own.

    It ends a little later, so that all clips of those that begin later are as long.
    """
    scenes = [
        Scene(number, (70.0 - 31 * number, 45.0 + 13 * number), 15.0 * (number % 3), 25)
        for number in palettes
    ]
    film = folder / f"{name}.mp4"
    cuts = range(seconds, seconds * len(scenes), seconds)
    paint(
        film,
        width=256,
        height=144,
        rate=8,
        seconds=seconds * len(scenes) + 0.75,
        cuts=cuts,
        scenes=scenes,
    )
    return film


def test_thumbnails_are_what_is_shown_at_each_moment(tmp_path: Path) -> None:
    """Of a film with half as many frames as moments, whose last moment nobody knows to be shown,
    and of one with more."""
    for rate, number in ((4, 15), (24, 16)):
        film = tmp_path / f"{rate}.mp4"
        paint(
            film, width=64, height=64, rate=rate, seconds=2, cuts=[1], scenes=[Scene(3), Scene(4)]
        )
        seen = thumbnails(str(film), 8, 128, 32)
        assert seen.shape == (number, 32, 32)
        bright = seen.mean(axis=(1, 2))
        assert (bright[:8] > 100).all()
        assert (bright[8:] < 100).all()
        assert thumbnails(str(film), 8, 5, 32).shape == (5, 32, 32)


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_clip_shows_the_same(how: str, tmp_path: Path) -> None:
    film, other = (landscapes(tmp_path, name, [p]) for name, p in (("film", 1), ("other", 2)))
    altered(film, tmp_path / "altered.mp4", how)
    one, copy, stranger = glance(film), glance(tmp_path / "altered.mp4"), glance(other)
    assert likeness(one, copy).same
    assert likeness(copy, one).same
    assert not likeness(copy, stranger).same


def moving(path: list[int], noise: int = 0) -> Thumbnails:
    """A dark square that stands at these places of a grey street, one for each moment."""
    street = np.random.default_rng(5).integers(60, 200, (8, 8)).repeat(4, 0).repeat(4, 1)
    pictures = np.repeat(street[None], len(path), axis=0)
    for moment, place in enumerate(path):
        pictures[moment, 10:16, max(0, place) : max(0, place + 6)] = 0
    dice = np.random.default_rng(noise)
    shaken = pictures + (dice.normal(0, 2, pictures.shape) if noise else 0)
    return Thumbnails(shaken.clip(0, 255).astype(np.uint8))


def test_what_changes_tells_clips_of_one_camera_apart() -> None:
    empty, again = moving([-9] * 32, noise=1), moving([-9] * 32, noise=2)
    passing, back = moving([*range(32)], noise=3), moving([*range(32)][::-1], noise=4)
    leaving = moving([26, 27, 28, *[-9] * 29], noise=5)
    assert empty.quiet
    assert likeness(empty, again).same
    assert likeness(passing, moving([*range(3, 35)], noise=6)).same, "a third of a second later"
    for other in (passing, back, leaving):
        assert not other.quiet
        assert not likeness(empty, other).same
        assert not likeness(other, empty).same
    assert not likeness(passing, back).same


def test_one_colour_is_like_the_same_colour_and_nothing_else() -> None:
    black, dark, white = (Thumbnails(np.full((16, 32, 32), v, np.uint8)) for v in (0, 6, 250))
    assert likeness(black, dark).same
    assert not likeness(black, white).same
    assert not likeness(black, moving([-9] * 16)).same


def test_a_clip_half_as_long_is_another() -> None:
    assert not likeness(moving([-9] * 32), moving([-9] * 16)).same
    assert likeness(moving([-9] * 32), moving([-9] * 28)).same


# ── a dataset ────────────────────────────────────────────────────────────────────────────────────


def curating(films: Path, output: Path, **others: Any) -> Options:
    told: dict[str, Any] = {"clip_length": 2.0, "preset": "ultrafast"} | others
    return Options(input=(str(films),), output=str(output), **told)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of two clips, and one of them twice more; one clip lost its file."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("curated")
    films = folder / "films"
    films.mkdir()
    landscapes(films, "a", (1, 2))
    landscapes(films, "b", (3, 4))
    altered(films / "a.mp4", films / "c.mp4", "halved")
    altered(films / "a.mp4", films / "d.mp4", "cropped")
    run(curating(films, folder / "output"))
    return folder


def sources_of(output: Path) -> dict[str, tuple[str, float, bool]]:
    """Of each clip: which film, from when on, and whether it is kept."""
    read = Output.at(str(output))
    clips = [clip for chunk in read.chunks() for clip in read.entries(chunk)]
    return {
        clip.id: (Path(clip.document["source_video"]).stem, clip.span[0], clip.kept)
        for clip in clips
    }


def test_duplicates_are_found_looked_at_and_dropped(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output, into = dataset / "output", tmp_path / "list"
    assert main(["dedup", str(output), "--into", str(into)]) == 0
    words = capfd.readouterr().out
    sources = sources_of(output)
    drops = read_drops([str(into)])
    assert len(drops) == 4
    for start in (0.0, 2.0):
        family = {id for id, (film, at, _) in sources.items() if film in "acd" and at == start}
        [stays] = family - drops
        assert sources[stays][0] == "a", "the original stays: copies are smaller"
    assert "4 of 8 clips to leave out, 8.0 s of video" in words
    assert "--drop" in words

    again = tmp_path / "again"
    ran = run(curating(dataset / "films", again, drop=(str(into),), no_generate_embeddings=True))
    assert ran.summary.rejected_by == {"duplicate": 4}
    assert ran.summary.imbalances() == []
    judged = sources_of(again)
    assert {id for id, (_, _, kept) in judged.items() if not kept} == drops
    assert {path.stem for path in (again / "filtered_clips").iterdir()} == drops
    document = json.loads((again / f"metas/v0/{min(drops)}.json").read_text())
    assert document["filtered_by"] == "duplicate"


@pytest.mark.slow
def test_who_was_rejected_for_it_stays_on_the_list(dataset: Path, tmp_path: Path) -> None:
    """A dataset that was curated again without its duplicates has no vectors of them any more."""
    films, output = dataset / "films", tmp_path / "output"
    shutil.copytree(dataset / "output", output)
    dedup(DedupOptions(dataset=str(output)))
    drops = read_drops([str(output / "dedup")])
    ran = run(curating(films, output, drop=(str(output / "dedup"),)))
    assert ran.summary.shots_kept == 4
    plain = DedupOptions(dataset=str(output))
    found = dedup(plain)[1]
    assert (found.items, found.removed, found.carried) == (4, 0, 4)
    assert read_drops([str(output / "dedup")]) == drops
    # Also in a folder that has no earlier list.
    dedup(dataclasses.replace(plain, into=str(tmp_path / "list")))
    assert read_drops([str(tmp_path / "list")]) == drops
    # Unless whom they went for is rejected as well.
    keeper = min(
        id for id, (film, at, kept) in sources_of(output).items() if kept and film in "acd"
    )
    rejected_by_a_rule(output, keeper)
    family = {id for id in drops if sources_of(output)[id][1] == sources_of(output)[keeper][1]}
    for _ in range(2):
        words = dedup(plain)
        assert (words[1].carried, words[1].released) == (2, 2)
        assert read_drops([str(output / "dedup")]) == drops - family
    assert any(line.startswith("restore  2 ") for line in final_words(*words, 1.0))


def rejected_by_a_rule(output: Path, clip: str) -> None:
    """As far as dedup can tell."""
    for path in (output / "processed_clip_chunks").rglob("*.json"):
        said = json.loads(path.read_text())
        if clip in said["clips"]:
            said["clips"].remove(clip)
            said["filtered_clips"].append(clip)
            path.write_text(json.dumps(said))
    path = output / f"metas/v0/{clip}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "filtered_by": "motion"}))
    # It says what was the case; without it, documents are asked.
    Path(Layout(str(output)).catalogue_facts()).unlink()
    shutil.rmtree(output / "catalogue")


@pytest.mark.slow
def test_when_nothing_can_be_looked_at_nothing_is_listed(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output, into = tmp_path / "output", tmp_path / "list"
    shutil.copytree(dataset / "output", output, ignore=shutil.ignore_patterns("*.mp4"))
    arguments = ["dedup", str(output), "--into", str(into)]
    (output / "clips").mkdir(exist_ok=True)
    assert main(arguments) == 1
    assert re.search(r"not one of the \d+ close pairs could be compared", capfd.readouterr().err)
    assert not (into / "duplicates").exists()
    (output / "clips").rmdir()
    assert main(arguments) == 0
    said = capfd.readouterr().out
    assert "not compared (the dataset has no clips/)" in said
    assert "vectors alone decided, with --eps 0.1" in said


def test_named_vectors_of_an_output_are_looked_at_where_its_clips_lie(
    dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(dataset / "output", output)
    for clip in [*(output / "clips").iterdir()]:
        clip.parent.joinpath(clip.name[:2]).mkdir(exist_ok=True)
        clip.rename(clip.parent / clip.name[:2] / clip.name)
    for path in (output / "metas/v0").iterdir():
        said = json.loads(path.read_text())
        folder, _, name = said["clip_location"].rpartition("/")
        said["clip_location"] = f"{folder}/{name[:2]}/{name}"
        path.write_text(json.dumps(said))
    [vectors] = output.glob("*_embd_parquet")
    found = dedup(DedupOptions(dataset=str(output), embeddings=str(vectors)))[1]
    assert (found.unseen, found.removed, found.seconds) == (0, 4, 8.0)


@pytest.mark.slow
def test_who_cannot_be_looked_at_is_not_removed(dataset: Path, tmp_path: Path) -> None:
    output, into = dataset / "output", tmp_path / "list"
    lost = next(id for id, (film, at, _) in sources_of(output).items() if (film, at) == ("a", 0))
    clip = output / f"clips/{lost}.mp4"
    data = clip.read_bytes()
    clip.write_bytes(b"")
    try:
        found = dedup(DedupOptions(dataset=str(output), into=str(into)))[1]
    finally:
        clip.write_bytes(data)
    assert found.unseen > 0
    assert lost not in read_drops([str(into)])
    assert found.removed == 3
    mended, found = dedup(DedupOptions(dataset=str(output), into=str(into)))
    assert (mended.again, found.unseen, found.removed) == (True, 0, 4)


@pytest.mark.slow
def test_workers_change_nothing_and_what_was_compared_is_not_looked_at_again(
    dataset: Path, tmp_path: Path
) -> None:
    """With pictures, and the best copies as the catalogue has them."""
    output = tmp_path / "output"
    shutil.copytree(dataset / "output", output)
    for workers in (1, 2):
        dedup(DedupOptions(dataset=str(output), into=str(tmp_path / f"{workers}"), workers=workers))
    assert differences(tree(tmp_path / "1"), tree(tmp_path / "2")) == []
    for clip in (output / "clips").rglob("*.mp4"):
        clip.write_bytes(b"")
    plan = DedupOptions(dataset=str(output), into=str(tmp_path / "1"), which_to_keep="random")
    deduping, found = dedup(plan)
    assert (deduping.again, found.unseen, found.removed) == (True, 0, 4)


def test_the_list_is_part_of_the_configuration(tmp_path: Path) -> None:
    ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
    plain = curating(tmp_path, tmp_path)
    texts = {"one": ids[:1], "two": ids[:2], "other": ids[1::-1]}
    said = {}
    for name, listed in texts.items():
        (tmp_path / name).write_text("\n".join(listed))
        said[name] = configuration(dataclasses.replace(plain, drop=(str(tmp_path / name),)))
    assert said["two"] == said["other"]
    assert len({configuration(plain), *said.values()}) == 3


def truth_of(output: Path) -> dict[str, tuple[str, int]]:
    """Of each clip what it shows: the film it was painted or taken from, and which clip of it."""
    shown = {}
    for id, (film, start, _) in sources_of(output).items():
        name, number = film.split("__")[0], round(start / 4)
        # Two clips of this film show the same street, empty, and nothing else.
        shown[id] = (name, 0 if (name, number) == ("intel_car_12.5fps_aac", 5) else number)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["painted", "real"])
def test_planted_duplicates_are_found_and_no_others(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    films = tmp_path / "films"
    films.mkdir()
    if kind == "painted":
        # In one film, since the hills follow from where in its film a scene is.
        originals = [landscapes(tmp_path, "painted", range(14), 4)]
    elif VIDEOS.exists():
        originals = sorted(p for p in VIDEOS.iterdir() if p.suffix in {".mp4", ".mkv", ".webm"})
    else:
        pytest.skip("the shared films are not here")
    for film in originals:
        (films / f"{film.stem}__itself{film.suffix}").write_bytes(film.read_bytes())
        for how in ALTERED:
            altered(film, films / f"{film.stem}__{how.replace(' ', '_')}.mp4", how)
    run(curating(films, tmp_path / "output", clip_length=4.0, min_clip_length=4.0))
    dedup(DedupOptions(dataset=str(tmp_path / "output")))
    truth = truth_of(tmp_path / "output")
    rows = pq.read_table(tmp_path / "output/dedup/groups.parquet").to_pylist()
    gone = {row["id"]: row["kept_id"] for row in rows if not row["kept"]}
    right = sum(truth[id] == truth[kept] for id, kept in gone.items())
    planted_ones = len(truth) - len({*truth.values()})
    print(
        f"\n{kind}: {len(truth)} clips, {planted_ones} planted, {len(gone)} gone, {right} rightly"
    )
    assert planted_ones > 70
    assert right >= 0.98 * len(gone)
    assert right >= 0.95 * planted_ones
    assert {truth[id] for id in truth if id not in gone} == {*truth.values()}, "all of one are gone"
