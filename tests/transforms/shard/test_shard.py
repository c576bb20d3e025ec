"""Shards: what was curated, as archives that the readers of others find every clip in, once."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from curated import ALGORITHM, CAPTIONER, Curated, curated, edit, say, without_catalogue
from faults import STAGING, Runs, differences, staged, tree
from faulty_store import FaultyStore
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import shard
from small_disk import NoDisk, remount, small_disk

from finecut.io.dataset.output import Entry, Output
from finecut.io.errors import RunError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.divided import divided
from finecut.io.tables.drops import drops_table
from finecut.io.tables.shards import END, ShardFolder, Tar, header, size_in_tar
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.commands.shard.work import Ran
from finecut.pipeline.options import OptionError
from finecut.transforms.shard.archives import WriteShards
from finecut.transforms.shard.listing import Found, clips_of, look_at
from finecut.transforms.shard.looking import Part, Planning
from finecut.transforms.shard.material import (
    AXES,
    EDGES,
    SHORT,
    Sharding,
    Tables,
    binning,
    parse_edges,
)
from finecut.transforms.shard.plan import (
    Candidate,
    PlannedClip,
    ShardPlan,
    digest_of,
    packed,
)
from finecut.transforms.shard.planning import pack, sort_by_source, sort_range
from finecut.transforms.shard.ranges import (
    candidate_table,
    clips_in,
    range_of,
    sample_of,
)

NOWHERE = Sharding(
    Output(Layout("/nowhere")), ShardFolder("/nowhere"), Shelf("/nowhere", "/nowhere")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Eleven kept clips and a rejected one; every third has no caption, the last is marked."""
    made = curated(tmp_path_factory.mktemp("data"))
    kept = made.kept()
    for number, id in enumerate(kept):
        window = {"start_frame": 0, "end_frame": 7}
        told = {CAPTIONER: f"Clip é {number}"} if number % 3 else {}
        say(made.root, id, windows=[window | told], aesthetic_score=float(number))
    say(made.root, kept[-1], valid=False, errors=["caption"])
    return made


def sharded(data: Curated, output: Path | str, **others: Any) -> Ran:
    told: dict[str, Any] = {"shard_clips": 4, "workers": 1, **others}
    dataset = told.pop("dataset", str(data.root))
    return shard(ShardOptions(dataset=dataset, output=str(output), **told))


@pytest.fixture(scope="module")
def shards(data: Curated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All valid clips: three shards of four, four and two."""
    output = tmp_path_factory.mktemp("shards") / "output"
    books = sharded(data, output).books
    assert (books.listed, books.written, books.shards) == (12, 10, 3)
    assert books.left_out == {"rejected": 1, "marked": 1}
    return output


def valid(data: Curated) -> dict[str, Entry]:
    return {one.id: one for one in data.entries() if one.document["valid"]}


def index_of(output: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(output / "index.parquet").to_pylist())


# ── Bins and packing ─────────────────────────────────────────────────────────────────────────────

SIZES = st.lists(st.integers(1, 50), max_size=40)


@given(SIZES, st.integers(1, 100), st.integers(0, 5))
def test_shards_are_as_full_as_they_may_be(sizes: list[int], most: int, clips: int) -> None:
    ends = list(packed(sizes, most, clips))
    starts = [0, *ends]
    assert ends == sorted({*ends})
    assert starts[-1] == len(sizes)  # no clip is lost
    for start, end in zip(starts, ends, strict=False):
        held = sizes[start:end]
        assert sum(held) <= most or len(held) == 1
        assert not clips or len(held) <= clips
        if end < len(sizes):  # the next one would not have fitted
            assert sum(held) + sizes[end] > most or len(held) == clips


EDGE_LISTS = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True).map(sorted)
SIDE: st.SearchStrategy[Any] = st.one_of(
    st.integers(1, 60), st.floats(0.01, 60), st.none(), st.just(float("nan"))
)


@given(SIDE, SIDE, SIDE, st.sets(st.sampled_from(AXES)), EDGE_LISTS)
def test_every_clip_has_a_bin_that_it_belongs_to(
    width: Any, height: Any, seconds: Any, axes: set[str], edges: list[float]
) -> None:
    name = binning(axes, dict.fromkeys(AXES, edges)).bin_of(width, height, seconds)
    parts = name.split("_") if name else []
    assert len(parts) == len(axes)
    for axis, part in zip((axis for axis in AXES if axis in axes), parts, strict=True):
        assert part.startswith(SHORT[axis])
        below, _, above = part.removeprefix(SHORT[axis]).partition("-")
        needed = (seconds,) if axis == "duration" else (width, height)
        if any(value is None or math.isnan(value) for value in needed):
            assert above == "unknown"
            continue
        value = seconds
        if axis != "duration":
            value = min(width, height) if axis == "resolution" else width / height
        assert float(below) <= value
        assert above == "up" or value < float(above)


def test_edges_rise() -> None:
    assert parse_edges(["2", "7.5"]) == (2.0, 7.5)
    for wrong in (["5", "2"], ["2", "2"], ["0"], ["-1"], ["a"], ["nan"], ["inf"]):
        with pytest.raises(ValueError, match="cannot be edges"):
            parse_edges(wrong)
    assert {*EDGES} == {*AXES}


# ── Archives ─────────────────────────────────────────────────────────────────────────────────────


def test_an_archive_is_one(tmp_path: Path) -> None:
    members = {"a.mp4": b"x" * 700, "a.json": b"", "b.mp4": b"y" * 512}
    path = tmp_path / "a.tar"
    places = {}
    with path.open("wb") as file:
        tar = Tar(file)
        for name, data in members.items():
            places[name] = tar.add_pieces(name, len(data), (data[:3], data[3:]))
        before = tar.size
        with pytest.raises(ValueError, match="has 4 bytes instead of the 9"):
            tar.add_pieces("c.mp4", 9, (b"torn",))
        tar.rewind(before)
        size = tar.close()
    written = path.read_bytes()
    assert len(written) == size == size_in_tar({k: len(v) for k, v in members.items()}) + len(END)
    with tarfile.open(path) as read:
        assert {m.name: read.extractfile(m).read() for m in read} == members  # type: ignore[union-attr]
        assert {(m.mtime, m.uid, m.mode, m.uname) for m in read} == {(0, 0, 0o644, "")}
    for name, place in places.items():
        assert written[place : place + len(members[name])] == members[name]


@pytest.mark.parametrize("size", [0, 8 << 30, 1 << 40])
def test_no_clip_is_too_large_for_an_archive(size: int) -> None:
    """Plain ustar knows no more than eight gigabytes; readers know what follows."""
    said = header("a.mp4", size)
    with tarfile.open(fileobj=io.BytesIO(said + END)) as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size) == ("a.mp4", size)
    assert len(said) == (512 if size < 8 << 30 else 3 * 512)


def test_trouble_with_the_disk_is_not_the_clips() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    tar = Tar(Full())
    with pytest.raises(OSError, match="No space"):
        tar.add("a.json", b"{}")
    assert tar.broken is not None


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────


def candidate(number: int, bin: str, size: int) -> Candidate:
    video = f"v{number % 3}"
    order = (number * 7919) % 101 << 57
    return Candidate(
        f"c{number}", f"k{number % 4}", video, number, bin, size, order, f"{number:032x}"
    )


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.integers(0, 99),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([9, 40, 200]),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one.id,
)


Shards = dict[str, list[str]]


def planned(
    clips: list[Candidate], folder: Path, *, mixed: bool, cuts: list[int], ranges: int
) -> tuple[Shards, int]:
    """The plan for clips that workers looked at in as many parts as there are cuts, and sorted in
    so many ranges; and how many listings were of clips that are listed elsewhere."""
    tray = Shelf(str(folder), str(folder))
    planning = Planning(NOWHERE, tray, most_bytes=100, most_clips=5, mixed=mixed)
    parts = []
    for number, (start, end) in enumerate(pairwise([0, *cuts, len(clips)])):
        found = Found()
        for clip in clips[start:end]:
            found.fine(clip)
        table = candidate_table(found.rows)
        numbers = range_of(table["order"].to_numpy(), ranges)
        parts.append(Part(f"{folder}/{number}.arrow", 0, {}, (), (), borders=sample_of(table)))
        tray.write(parts[-1].path, divided(table, numbers, ranges))
    found_in = [sort_range(number, parts, planning, ranges) for number in range(ranges)]
    twice = sum(one.twice for one in found_in)
    if not mixed:
        found_in = [sort_by_source(number, found_in, planning) for number in range(ranges)]
    drafts = list(pack(found_in[::-1], planning))
    return {
        draft.name: [row["id"] for row in clips_in(draft.pieces, tray)] for draft in drafts
    }, twice


def truth_of(clips: list[Candidate], mixed: bool) -> Shards:
    """The same, by somebody who has all clips at once."""
    shards: Shards = {}
    for bin in sorted({clip.bin for clip in clips}):
        inside = [clip for clip in clips if clip.bin == bin]
        inside.sort(key=lambda c: ((c.order,) if mixed else (c.source, c.start), c.id))
        ends = [0, *packed([clip.size for clip in inside], 100, 5)]
        for number, (start, end) in enumerate(pairwise(ends)):
            name = f"{bin}/{number:05d}".removeprefix("/")
            shards[name] = [clip.id for clip in inside[start:end]]
    return shards


@pytest.mark.slow
@settings(max_examples=60)
@given(CANDIDATES, st.booleans(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_plan_holds_each_clip_once_whoever_looked_first(
    clips: list[Candidate], mixed: bool, ranges: int, dice: random.Random
) -> None:
    truth = truth_of(clips, mixed)
    assert Counter(id for ids in truth.values() for id in ids) == Counter(c.id for c in clips)
    shuffled = dice.sample(clips, len(clips))
    cuts = sorted(dice.sample(range(len(clips)), min(2, len(clips) - 1)))
    for some, at in ((clips, []), (shuffled, cuts)):
        with TemporaryDirectory() as folder:
            found, twice = planned(some, Path(folder), mixed=mixed, cuts=at, ranges=ranges)
        assert (found, twice) == (truth, 0)


def test_a_clip_that_is_listed_twice_is_written_once(tmp_path: Path) -> None:
    clips = [candidate(number, "", 9) for number in (1, 2, 1)]
    found, twice = planned(clips, tmp_path, mixed=True, cuts=[1, 2], ranges=3)
    assert (sorted(found["00000"]), twice) == (["c1", "c2"], 1)


@pytest.mark.slow
@given(CANDIDATES, st.randoms(use_true_random=False))
def test_a_shard_that_is_left_out_leaves_no_gap(
    clips: list[Candidate], dice: random.Random
) -> None:
    """Packed again without its clips, the others are as if it had never been."""
    with TemporaryDirectory() as name:
        tray = Shelf(name, name)
        planning = Planning(NOWHERE, tray, most_bytes=100, most_clips=5)
        planned(clips, Path(name), mixed=True, cuts=[], ranges=3)
        parts = [Part(f"{name}/0.arrow", 0, {}, (), ())]
        ranges = [sort_range(number, parts, planning, 3) for number in range(3)]
        drafts = list(pack(ranges, planning))
        hole = dice.choice(drafts)
        gone = {row["id"] for row in clips_in(hole.pieces, tray)}
        again = {
            draft.name: [row["id"] for row in clips_in(draft.pieces, tray)]
            for draft in pack(ranges, planning, hole.pieces)
        }
    assert again == truth_of([clip for clip in clips if clip.id not in gone], mixed=True)


def test_other_clips_are_other_digests() -> None:
    assert len({digest_of(n, d) for n in ("a", "b") for d in (["0" * 32], ["1" * 32], [])}) == 6


# ── What readers find ────────────────────────────────────────────────────────────────────────────


def vectors_of(data: Curated) -> dict[str, list[float]]:
    folder = data.root / f"{ALGORITHM}_embd_parquet"
    rows = [row for path in folder.iterdir() for row in pq.read_table(path).to_pylist()]
    return {row["id"]: row["embedding"] for row in rows}


def test_webdataset_reads_every_clip_once(data: Curated, shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = f"{shards}/{{00000..00002}}.tar"
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    truth, vectors = valid(data), vectors_of(data)
    assert sorted(sample["__key__"] for sample in samples) == sorted(truth)
    for sample in samples:
        entry = truth[sample["__key__"]]
        assert sample["mp4"] == Path(entry.path).read_bytes()
        assert sample["json"] == entry.document
        assert sample.get("txt") == entry.captions.get(CAPTIONER)
        assert sample["npy"].dtype == np.float32
        assert sample["npy"].tolist() == vectors[entry.id]
    assert len({*(sample.get("txt") for sample in samples)}) > 3


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return pytest.importorskip("datasets")


def test_hugging_face_reads_every_clip_once(
    data: Curated, shards: Path, offline: Any, tmp_path: Path
) -> None:
    """By the card, though not every clip has a caption."""
    read = offline.load_dataset(str(shards), split="train", cache_dir=str(tmp_path))
    truth, vectors = valid(data), vectors_of(data)
    assert sorted(read["__key__"]) == sorted(truth)
    for row in read.cast_column("mp4", offline.Video(decode=False)):
        entry = truth[row["__key__"]]
        assert row["mp4"]["bytes"] == Path(entry.path).read_bytes()
        assert row["txt"] == entry.captions.get(CAPTIONER)
        assert row["npy"] == vectors[entry.id]
        said = row["json"]
        assert said["aesthetic_score"] == entry.scores["aesthetic_score"]
        assert said["motion_score"] == entry.document["motion_score"]
        assert said["windows"][0][CAPTIONER] == entry.captions.get(CAPTIONER)


def test_hugging_face_reads_the_archives_alone_where_clips_are_alike(
    data: Curated, offline: Any, tmp_path: Path
) -> None:
    sharded(data, tmp_path / "alike", need=("caption",))
    read = offline.load_dataset(
        "webdataset",
        data_files=str(tmp_path / "alike" / "*.tar"),
        split="train",
        cache_dir=str(tmp_path),
    )
    texts = {id: one.captions[CAPTIONER] for id, one in valid(data).items() if one.captions}
    assert dict(zip(read["__key__"], read["txt"], strict=True)) == texts


def test_unpacked_shards_are_a_folder_of_videos(
    data: Curated, shards: Path, offline: Any, tmp_path: Path
) -> None:
    shutil.copy(shards / "metadata.parquet", tmp_path)
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path, filter="data")
    read = offline.load_dataset(
        "videofolder", data_dir=str(tmp_path), split="train", cache_dir=str(tmp_path / "cache")
    )
    truth = valid(data)
    assert sorted(read["id"]) == sorted(truth)
    for row in read.cast_column("video", offline.Video(decode=False)):
        assert Path(row["video"]["path"]).name == f"{row['id']}.mp4"
        assert row["aesthetic_score"] == truth[row["id"]].scores["aesthetic_score"]


def test_the_index_leads_to_every_film(data: Curated, shards: Path) -> None:
    rows, truth = index_of(shards), valid(data)
    assert sorted(row["id"] for row in rows) == sorted(truth)
    for row in rows:
        entry = truth[row["id"]]
        with (shards / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            assert file.read(row["num_bytes"]) == Path(entry.path).read_bytes()
        assert (row["start"], row["end"]) == entry.span
        assert row["sha256"] == entry.document["sha256"]
        assert row["source_video"] == entry.document["source_video"]
        assert {name: row[name] for name in entry.scores} == entry.scores
        assert row[CAPTIONER] == row["caption"] == entry.captions.get(CAPTIONER)
        size = (entry.document["width"], entry.document["height"], entry.document["framerate"])
        assert (row["width"], row["height"], row["framerate"]) == size


@pytest.mark.slow
def test_a_lance_table_has_the_vectors_too(data: Curated, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    sharded(data, tmp_path / "output", lance=True)
    table = lance.dataset(str(tmp_path / "output" / "clips.lance")).to_table()
    vectors = vectors_of(data)
    assert {row["id"]: row["vector"] for row in table.to_pylist()} == {
        id: vectors[id] for id in valid(data)
    }
    assert table.drop_columns(["vector"]).to_pylist() == index_of(tmp_path / "output")
    written = [path.name for path in (tmp_path / "output" / "clips.lance").rglob("*.lance")]
    sharded(data, tmp_path / "output", lance=True)  # and stays while nothing changes
    assert [p.name for p in (tmp_path / "output/clips.lance").rglob("*.lance")] == written
    sharded(data, tmp_path / "output", seed=1)
    assert not [*(tmp_path / "output" / "clips.lance").rglob("*.lance")]


def test_a_lance_table_may_have_the_clips(data: Curated, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    output = tmp_path / "output"
    sharded(data, output, lance=True)
    sharded(data, output, lance_clips=True)
    table = lance.dataset(str(output / "clips.lance"))
    ids = table.to_table(columns=["id"])["id"].to_pylist()
    assert sorted(ids) == sorted(valid(data))
    for id, blob in zip(ids, table.take_blobs("clip_file", [*range(len(ids))]), strict=True):
        assert blob.readall() == Path(data.output.layout.clip(id)).read_bytes()
    vectors = vectors_of(data)
    near = {"column": "vector", "q": vectors[ids[3]], "k": 1, "metric": "cosine"}
    [first] = table.to_table(columns=["id", "_distance"], nearest=near).to_pylist()
    assert first["id"] == ids[3]
    written = sorted((output / "clips.lance").rglob("*"))
    sharded(data, output, lance_clips=True)  # and stays while nothing changes
    assert sorted((output / "clips.lance").rglob("*")) == written
    sharded(data, output, lance=True)
    assert "clip_file" not in lance.dataset(str(output / "clips.lance")).schema.names


# ── The same, again and elsewhere ────────────────────────────────────────────────────────────────


def test_workers_do_not_show(data: Curated, shards: Path, tmp_path: Path) -> None:
    sharded(data, tmp_path / "output", workers=2)
    assert differences(tree(tmp_path / "output"), tree(shards)) == []
    assert staged(tmp_path / "output") == []


@pytest.mark.slow
def test_shards_need_no_catalogue(data: Curated, shards: Path, tmp_path: Path) -> None:
    """Nor one that knows nothing of documents, as others may write it."""
    options: dict[str, Any] = {"keep": ("aesthetic>=1",), "bin_by": ("duration",)}
    dataset = Path(shutil.copytree(data.root, tmp_path / "data"))
    others = sharded(data, tmp_path / "others", **options).books
    for path in (dataset / "catalogue").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        if "meta_digest" in table.column_names:
            pq.write_table(table.drop_columns(["meta_digest"]), path)
    for _ in range(2):
        sharded(data, tmp_path / "output", dataset=str(dataset))
        assert differences(tree(tmp_path / "output"), tree(shards)) == ["summary.json"]
        found = sharded(data, tmp_path / "found", dataset=str(dataset), **options).books
        assert differences(tree(tmp_path / "found"), tree(tmp_path / "others")) == ["summary.json"]
        assert (found.left_out, found.scores) == (others.left_out, others.scores)
        if (dataset / "catalogue").exists():
            without_catalogue(dataset)


def test_a_document_that_was_edited_is_no_part_of_what_was_planned(
    data: Curated, tmp_path: Path
) -> None:
    """The catalogue has judged what the document said before."""
    dataset = Path(shutil.copytree(data.root, tmp_path / "data"))
    edited = data.kept()[0]
    edit(dataset, edited, aesthetic_score=9.0)
    books = sharded(data, tmp_path / "output", dataset=str(dataset)).books
    assert (books.written, [*books.failures]) == (9, [edited])
    assert "finecut compact --rebuild" in books.failures[edited].message
    say(dataset, edited)  # as that does
    books = sharded(data, tmp_path / "output", dataset=str(dataset)).books
    assert (books.written, books.failed) == (10, 0)


def test_a_pipeline_of_ones_own_writes_what_the_command_writes(
    data: Curated, shards: Path, tmp_path: Path
) -> None:
    """The plain functions plan, and the transform writes."""
    own = Shelf(str(tmp_path), str(tmp_path / ".staging" / "own"))
    wanted = Sharding(data.output, ShardFolder(str(tmp_path)), own, algorithm=ALGORITHM)
    tables = Tables(data.output, ALGORITHM)
    listed = [one for chunk in data.output.chunks() for one in clips_of(chunk, data.output)]
    looked = [look_at(one, wanted, tables) for one in listed]
    clips = sorted(
        (one[0] for one in looked if not isinstance(one, str)), key=lambda one: one.order
    )
    plans = [
        ShardPlan(f"{number:05d}", "", tuple(PlannedClip(c.id, c.chunk, c.digest) for c in four))
        for number, four in enumerate([clips[:4], clips[4:8], clips[8:]])
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        done = pipeline | beam.Create(plans) | WriteShards(wanted)
        assert_that(done.written | beam.Map(lambda one: one.clips), equal_to([4, 4, 2]))
        assert_that(done.failures, equal_to([]), label="failures")
    for path in shards.glob("*.tar"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_neighbours_are_of_different_videos(data: Curated, shards: Path, tmp_path: Path) -> None:
    def changes(output: Path) -> int:
        videos = [row["source_video"] for row in index_of(output)]
        return sum(one != other for one, other in pairwise(videos))

    sharded(data, tmp_path / "output", no_mix=True)
    rows = index_of(tmp_path / "output")
    assert rows == sorted(rows, key=lambda row: (row["source_video"], row["start"]))
    assert changes(tmp_path / "output") == 1 < changes(shards)
    sharded(data, tmp_path / "output", seed=1)
    assert [r["id"] for r in index_of(tmp_path / "output")] != [r["id"] for r in index_of(shards)]


def when_written(output: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()}


def test_what_is_there_is_not_written_again(data: Curated, tmp_path: Path) -> None:
    output = tmp_path / "output"
    sharded(data, output)
    whole, times = tree(output), when_written(output)
    assert sharded(data, output).books.kept == 3
    assert when_written(output) == times
    # A shard that was removed, one that was cut short, an index that is gone.
    (output / "00000.tar").unlink()
    (output / "00001.tar").write_bytes(whole["00001.tar"][:-512])
    (output / "index.parquet").unlink()
    assert sharded(data, output).books.kept == 1
    assert differences(tree(output), whole) == []
    assert when_written(output)["00002.tar"] == times["00002.tar"]


def test_a_dry_run_writes_nothing(
    data: Curated, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"shard {data.root} --dry-run --workers 1 --shard-clips 4 --output"
    assert main([*command.split(), str(tmp_path / "output")]) == 0
    size = sum(path.stat().st_size for path in shards.glob("*.tar"))
    said = capsys.readouterr().out
    assert "12 listed = 10 would be written + 2 left out + 0 failed" in said
    assert f"3 shards, {size / 1e6:.1f} MB" in said
    assert not (tmp_path / "output").exists()
    before = tree(shards)
    assert main([*command.split(), str(shards)]) == 0
    assert "3 shards, 3 of them there already" in capsys.readouterr().out
    assert tree(shards) == before
    ran = sharded(data, tmp_path / "output", dry_run=True)
    assert ran.foreseen == (10, 3, size, 0)


def test_other_options_replace_what_was_there(data: Curated, shards: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    sharded(data, output, bin_by=("aspect", "duration"), shard_clips=1, take_invalid=True)
    assert len([*output.rglob("*.tar")]) == 11
    (output / "README.md").write_text("My own words.")
    sharded(data, output)
    assert differences(tree(output), tree(shards)) == ["README.md"]
    assert (output / "README.md").read_text() == "My own words."


def test_a_changed_dataset_changes_its_shard_only(data: Curated, tmp_path: Path) -> None:
    dataset, output = tmp_path / "data", tmp_path / "output"
    shutil.copytree(data.root, dataset)
    sharded(data, output, dataset=str(dataset), shard_clips=0, shard_mb=0.06)
    times, before = when_written(output), index_of(output)
    shards = sorted({row["shard"] for row in before})
    assert len(shards) > 3
    changed = before[0]
    say(dataset, changed["id"], aesthetic_score=99.0)
    assert sharded(data, output, dataset=str(dataset), shard_clips=0, shard_mb=0.06).books.kept
    now = when_written(output)
    assert [name for name in shards if times[name] != now[name]] == [changed["shard"]]
    assert index_of(output)[0]["aesthetic_score"] == 99.0


# ── Which clips ──────────────────────────────────────────────────────────────────────────────────


def test_every_clip_is_written_or_left_out_for_a_reason(
    data: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = data.kept()
    (tmp_path / "drop.txt").write_text(f"{kept[9]}\n")
    output = tmp_path / "output"
    command = f"shard {data.root} --output {output} --drop {tmp_path}/drop.txt --need caption"
    assert main([*command.split(), "--keep", "aesthetic>=2", "--workers", "1", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    said = json.loads((output / "summary.json").read_text())
    assert said["clips"] == {
        "listed": 12,
        "written": 5,
        "left_out": {
            "aesthetic>=2": 2,
            "duplicate": 1,
            "no caption": 2,
            "marked": 1,
            "rejected": 1,
        },
        "failed": 0,
    }
    assert said["balanced"]
    truth = [kept[number] for number in (2, 4, 5, 7, 8)]
    assert sorted(row["id"] for row in index_of(output)) == sorted(truth)


def test_bins_are_folders_and_lose_nobody(data: Curated, tmp_path: Path) -> None:
    output = tmp_path / "output"
    ran = sharded(data, output, bin_by=("resolution",), resolution_edges=("80",), take_invalid=True)
    found = Counter(row["bin"] for row in index_of(output))
    assert found == {"res80-up": 5, "res0-80": 6}
    assert sorted(str(path.relative_to(output)) for path in output.rglob("*.tar")) == [
        "res0-80/00000.tar",
        "res0-80/00001.tar",
        "res80-up/00000.tar",
        "res80-up/00001.tar",
    ]
    assert {name: sums["clips"] for name, sums in ran.books.bins.items()} == found
    assert all(row["height"] >= 80 for row in index_of(output) if row["bin"] == "res80-up")


def test_captions_and_vectors_can_be_named(data: Curated, tmp_path: Path) -> None:
    output = tmp_path / "output"
    books = sharded(data, output, caption="none", vectors="none").books
    assert (books.written, books.texts, books.vectors) == (10, 0, 0)
    with tarfile.open(output / "00000.tar") as tar:
        assert {name.rpartition(".")[2] for name in tar.getnames()} == {"mp4", "json"}
    assert sharded(data, output, caption="qwen").books.texts == 6
    with pytest.raises(OptionError, match=f"--vectors nobody: .* has of {ALGORITHM}"):
        sharded(data, output, vectors="nobody")


def test_duplicates_that_were_found_and_not_left_out_are_mentioned(
    data: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "data"
    shutil.copytree(data.root, dataset)
    own = Shelf(str(dataset), str(dataset / ".staging" / "own"))
    own.write(f"{dataset}/dedup/duplicates/0.parquet", drops_table(data.kept()[:2]))
    command = ["shard", str(dataset), "--output", str(tmp_path / "output"), "--workers", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert (
        f"{dataset}/dedup lists 2 duplicates that are in the shards: leave them out with --drop"
    ) in said
    assert "12 listed = 10 written + 2 left out + 0 failed" in said
    assert main([*command, "--drop", f"{dataset}/dedup"]) == 0
    said = capsys.readouterr().out
    assert "8 written + 4 left out" in said
    assert "2 duplicate" in said
    assert "are in the shards" not in said
    # Where the shards hold none of them, there is nothing to say.
    own.write(f"{dataset}/dedup/duplicates/0.parquet", drops_table(data.kept()[-1:]))
    assert main(command) == 0
    assert "in the shards" not in capsys.readouterr().out


def test_a_group_of_which_nothing_is_left_is_mentioned(
    data: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that stays breaks a rule; so does one of those that go, which is no loss."""
    kept = data.kept()
    own = Shelf(str(tmp_path), str(tmp_path / ".staging" / "own"))
    folder = tmp_path / "dedup"
    own.write(f"{folder}/duplicates/0.parquet", drops_table([kept[0], kept[4], kept[5]]))
    stays = {kept[1]: kept[1], kept[0]: kept[1], kept[4]: kept[1], kept[5]: kept[6]}
    table = pa.table(
        {
            "id": [*stays],
            "kept": [id == keeper for id, keeper in stays.items()],
            "kept_id": [*stays.values()],
        }
    )
    pq.write_table(table, folder / "groups.parquet")
    command = ["shard", str(data.root), "--output", str(tmp_path / "output"), "--workers", "1"]
    assert main([*command, "--drop", str(folder), "--keep", "aesthetic>=2"]) == 0
    said = capsys.readouterr().out
    assert (
        "1 of the duplicates was left out although the clip that should stay in their "
        "place is left out, too"
    ) in said
    assert main([*command, "--drop", str(folder)]) == 0
    assert "of the duplicates" not in capsys.readouterr().out


def test_a_list_that_matches_nothing_is_mentioned(
    data: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drop.txt").write_text("ce2f3d69-8b98-57fe-98fe-70d008e354f3\n")
    command = ["shard", str(data.root), "--output", str(tmp_path / "output"), "--workers", "1"]
    assert main([*command, "--drop", str(tmp_path / "drop.txt")]) == 0
    assert (
        "the --drop lists contain 1 id, but no such clip is in the dataset"
        in capsys.readouterr().out
    )


# ── What is wrong with a dataset ─────────────────────────────────────────────────────────────────


def test_a_clip_that_is_not_what_was_promised_costs_itself(
    data: Curated, shards: Path, tmp_path: Path
) -> None:
    dataset, output = tmp_path / "data", tmp_path / "output"
    shutil.copytree(data.root, dataset)
    # Four of them are all that would be in the first shard.
    damaged = [row["id"] for row in index_of(shards) if row["shard"] == "00000.tar"]
    missing, short = [row["id"] for row in index_of(shards) if row["shard"] == "00001.tar"][:2]
    for id in damaged:
        film = dataset / "clips" / f"{id}.mp4"
        film.write_bytes(film.read_bytes()[:-9] + b"otherwise")
    (dataset / "clips" / f"{missing}.mp4").unlink()
    film = dataset / "clips" / f"{short}.mp4"
    film.write_bytes(film.read_bytes()[:-1])
    books = sharded(data, output, dataset=str(dataset)).books
    # It is found when they are read: the second shard lacks two, and takes the place of the first.
    assert (books.written, books.failed, books.imbalance()) == (4, 6, None)
    messages = {key: one.message for key, one in books.failures.items()}
    assert sorted(messages) == sorted([*damaged, missing, short])
    assert "is missing" in messages[missing]
    assert "bytes instead of the" in messages[short]
    assert all("does not match the digest" in messages[id] for id in damaged)
    assert len((output / "failures.jsonl").read_text().splitlines()) == 6
    assert sorted(path.name for path in output.glob("*.tar")) == ["00000.tar", "00001.tar"]
    assert {row["id"] for row in index_of(output)}.isdisjoint(messages)
    # Mended, and done again: as if nothing had been.
    shutil.copytree(data.root, dataset, dirs_exist_ok=True)
    sharded(data, output, dataset=str(dataset))
    same = {name: data for name, data in tree(shards).items() if name != "summary.json"}
    found = {name: data for name, data in tree(output).items() if name != "summary.json"}
    assert differences(found, same) == []


def test_a_clip_that_two_chunks_list_is_one(data: Curated, tmp_path: Path) -> None:
    """Also one that cannot be read, and one that can be read by one of its names only."""
    dataset = tmp_path / "data"
    shutil.copytree(data.root, dataset)
    without_catalogue(dataset)
    fine, missing = data.kept()[:2]
    (dataset / "clips" / f"{missing}.mp4").unlink()
    folder = dataset / "processed_clip_chunks"
    for path in (folder / "other.mp4_0.json", folder / "other.mp4_1.json"):
        said = json.loads(path.read_text())
        said["clips"] += [fine, missing]
        path.write_text(json.dumps(said))
    books = sharded(data, tmp_path / "output", dataset=str(dataset)).books
    assert (books.listed, books.written, books.failed, books.imbalance()) == (16, 9, 1, None)
    assert books.left_out["listed twice"] == 4


def test_documents_of_others_may_say_strange_things(data: Curated, tmp_path: Path) -> None:
    """Values of other kinds, an id that would leave its folder; what is no value at all costs its
    clip.
    """
    dataset = tmp_path / "data"
    shutil.copytree(data.root, dataset)
    first, other, third, fourth = data.kept()[:4]
    without_catalogue(dataset)
    surrogates = [{"start_frame": 0, "end_frame": 7, CAPTIONER: "lone \ud800"}]
    say(dataset, first, source_video="/films/\udcff.mp4", windows=surrogates)
    say(dataset, other, width="wide", height=None, framerate="fast", video_codec=None)
    say(dataset, fourth, framerate=float("inf"))
    say(dataset, third, duration_span=["a", "b"])
    [chunk] = (dataset / "processed_clip_chunks").glob("long.mp4_0.json")
    said = json.loads(chunk.read_text())
    said["clips"] += ["../secret", "a.b"]
    chunk.write_text(json.dumps(said))
    (dataset / "processed_clip_chunks" / "torn.mp4_0.json").write_text("{")
    books = sharded(data, tmp_path / "output", dataset=str(dataset), bin_by=("aspect",)).books
    assert (books.listed, books.written, books.failed, books.imbalance()) == (14, 7, 5, None)
    assert {*books.failures} > {"../secret", "a.b", first, third, fourth}
    assert "is not valid JSON" in next(m.message for k, m in books.failures.items() if "torn" in k)
    rows = {row["id"]: row for row in index_of(tmp_path / "output")}
    assert (rows[other]["width"], rows[other]["framerate"]) == (None, None)
    assert rows[other]["bin"] == "aspect-unknown"


def test_documents_without_digests_are_enough(data: Curated, tmp_path: Path) -> None:
    """Those of other programs, and of our own before it said them."""
    dataset = tmp_path / "data"
    without_catalogue(Path(shutil.copytree(data.root, dataset)))
    for path in (dataset / "metas" / "v0").iterdir():
        said = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in said.items() if k != "sha256"}))
    assert sharded(data, tmp_path / "output", dataset=str(dataset)).books.written == 10
    truth = {id: one.document["sha256"] for id, one in valid(data).items()}
    assert {row["id"]: row["sha256"] for row in index_of(tmp_path / "output")} == truth


def test_what_cannot_be_is_said_before_anything_is_touched(
    data: Curated, shards: Path, tmp_path: Path
) -> None:
    before = tree(shards)
    with pytest.raises(RunError, match=r"no clip matches, .* nothing was changed: 12 listed"):
        sharded(data, shards, keep=("aesthetic>99",))
    with pytest.raises(OptionError, match="edges: '5 2' cannot be edges"):
        sharded(data, shards, bin_by=("duration",), duration_edges=("5", "2"))
    assert tree(shards) == before
    with pytest.raises(OptionError, match="is the dataset itself"):
        sharded(data, data.root)
    for own in ("clips", "metas/v0/shards", f"{ALGORITHM}_embd_parquet", "dedup"):
        with pytest.raises(OptionError, match="a folder of the dataset itself"):
            sharded(data, data.root / own)
    (tmp_path / "link").symlink_to(data.root / "previews")
    with pytest.raises(OptionError, match="is inside previews/, a folder of the dataset"):
        sharded(data, tmp_path / "link")
    (tmp_path / "link").unlink()
    (tmp_path / "mine.tar").write_bytes(b"mine")
    with pytest.raises(OptionError, match=r"mine.tar, which finecut shard did not write"):
        sharded(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tar"]
    (data.root / "other_embd_parquet").mkdir()
    with pytest.raises(OptionError, match=r"has vectors of .*give --vectors"):
        sharded(data, tmp_path / "output")
    (data.root / "other_embd_parquet").rmdir()
    shutil.copytree(data.root, tmp_path / "data", ignore=shutil.ignore_patterns("clips"))
    with pytest.raises(RunError, match=r"is missing.*was it made with --no-upload-clips\?"):
        sharded(data, tmp_path / "output", dataset=str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "no --output"),
        ("--output o --bin-by colour", "--bin-by colour is unknown"),
        ("--output o --need sound", "--need sound is unknown"),
        ("--output o --duration-edges 2", "without --bin-by duration"),
        ("--output o --keep beauty>1", "does not name a score"),
        ("--output o --shard-mb 0", "--shard-mb 0 is not valid"),
        ("--output o --need caption --caption none", "leave no clip"),
    ],
)
def test_mistakes_in_the_command_are_said(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["shard", "data", *words.split()])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


# ── Killed, on a full disk, on a store ───────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("over", ["nothing", "others"])
def test_a_run_may_be_killed_at_any_point(data: Curated, tmp_path: Path, over: str) -> None:
    """Also where it replaces what other options wrote; nobody finds an index of other shards."""
    options = {"dataset": str(data.root), "shard_clips": 4, "workers": 1}
    others = {**options, "shard_clips": 3, "bin_by": ["resolution"]}
    whole, output = tmp_path / "whole", tmp_path / "output"
    wrong = []
    with Runs(tmp_path / "log.json", "shard") as runs:
        if over == "others":
            runs.run(others, whole)
        points = runs.run(options, whole)
        assert len(points) > 20
        for kill_at in [*telling(points, all_of_them=over == "nothing"), len(points) + 2]:
            if over == "others":
                runs.run(others, output)
            runs.run(options, output, kill_at=kill_at)
            if (output / "index.parquet").exists() and not speaks_the_truth(output):
                wrong.append(f"{kill_at}: an index of other shards")
            runs.run(options, output)
            found = differences(tree(output), tree(whole)) + staged(output)
            if found:
                wrong.append(f"{kill_at}: {found}")
            shutil.rmtree(output)
    assert wrong == []


def telling(points: list[str], all_of_them: bool) -> list[int]:
    """The write points: all, or those that change what others see."""
    return [
        place
        for place, point in enumerate(points, 1)
        if all_of_them or point.startswith("rename ") or STAGING not in point
    ]


def speaks_the_truth(output: Path) -> bool:
    rows = index_of(output)
    written = {str(path.relative_to(output)) for path in output.rglob("*.tar")}
    for row in rows:
        with (output / row["shard"]).open("rb") as file:
            file.seek(row["offset"] - 512)
            if file.read(512) != header(f"{row['id']}.mp4", row["num_bytes"]):
                return False
    return {row["shard"] for row in rows} == written


@pytest.mark.slow
def test_a_full_disk_is_said_and_not_blamed_on_clips(
    data: Curated, shards: Path, tmp_path: Path
) -> None:
    try:
        with small_disk(tmp_path / "disk", 200_000) as disk:
            output = disk / "output"
            with pytest.raises((RunError, OptionError), match=r"space|could not be written"):
                sharded(data, output)
            assert not (output / "index.parquet").exists()
            remount(disk, "size=8m")
            sharded(data, output)
            assert differences(tree(output), tree(shards)) == []
    except NoDisk as error:
        pytest.skip(str(error))


@pytest.fixture
def store(data: Curated, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    own = Shelf("gs://bucket", "gs://bucket/.staging")
    for path in data.root.rglob("*"):
        if path.is_file() and "previews" not in path.parts:
            own.write(f"gs://bucket/data/{path.relative_to(data.root)}", path.read_bytes())
    yield store
    store.close()


def test_a_bucket_is_sharded_into_a_bucket(store: FaultyStore, shards: Path, data: Curated) -> None:
    output = "gs://bucket/shards"
    sharded(data, output, dataset="gs://bucket/data", workers=2)
    found = {
        path.removeprefix(f"{output}/"): shelf.read(path) for path in shelf.files_below(output)
    }
    assert differences(found, tree(shards)) == ["summary.json"]
    # Ids depend on where the test lies: of three shards one may happen to hold the same again.
    assert sharded(data, output, dataset="gs://bucket/data", seed=1).books.kept < 3
    assert len([path for path in shelf.files_below(output) if path.endswith(".tar")]) == 3
