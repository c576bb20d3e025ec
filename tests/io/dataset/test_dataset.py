"""Reading back for training: every clip once, whoever reads; the right frames; the right tables."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated import ALGORITHM, CAPTIONER, Curated, curated, say, sharded, told, vector_of
from faulty_store import FaultyStore
from hypothesis import given
from hypothesis import strategies as st
from painted import read_index

from finecut.io.dataset import ClipError, NoDataset, ShortClip, batches, table
from finecut.io.dataset.clips import Clips, Order, Wish, first_picture
from finecut.io.dataset.order import Listed, Listing, Share, part, shuffled, size_of_part
from finecut.io.dataset.output import Output
from finecut.io.dataset.sources import open_source
from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.transforms.filter.rules import parse_rule


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curated(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def shards(dataset: Curated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(dataset, tmp_path_factory.mktemp("sharded") / "shards")


@pytest.fixture(scope="module")
def source(request: pytest.FixtureRequest, dataset: Curated, shards: Path) -> str:
    """Both kinds of what clips are read from."""
    return str({"output": dataset.root, "shards": shards}[request.param])


both = pytest.mark.parametrize("source", ["output", "shards"], indirect=True)


# ── who reads what, and when ─────────────────────────────────────────────────────────────────────


@given(count=st.integers(0, 60), world=st.integers(1, 5), workers=st.integers(1, 5))
def test_all_parts_together_are_everything_once(count: int, world: int, workers: int) -> None:
    order = shuffled(np.arange(count, dtype=np.uint64), 3, 1)
    shares = [Share(r, world, w, workers) for r in range(world) for w in range(workers)]
    parts = [part(order, share) for share in shares]
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert [size_of_part(count, share) for share in shares] == [len(one) for one in parts]
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


@given(count=st.integers(0, 60), world=st.integers(1, 5))
def test_even_parts_have_the_same_number(count: int, world: int) -> None:
    order = np.arange(count)
    parts = [part(order, Share(rank, world), even=True).tolist() for rank in range(world)]
    assert {len(one) for one in parts} == {count // world}
    assert len(set(itertools.chain(*parts))) == count // world * world
    assert size_of_part(count, Share(0, world), even=True) == count // world


def test_an_order_is_the_same_for_ever() -> None:
    keys = np.arange(10, dtype=np.uint64)
    assert shuffled(keys, 0, 0).tolist() == ORDERS[0, 0]
    assert shuffled(keys, 1, 0).tolist() == ORDERS[1, 0]
    assert shuffled(keys, 0, 1).tolist() == ORDERS[0, 1]


ORDERS = {
    (0, 0): [1, 7, 4, 8, 5, 9, 0, 2, 6, 3],
    (1, 0): [2, 7, 8, 1, 9, 4, 3, 0, 5, 6],
    (0, 1): [3, 9, 4, 5, 7, 1, 0, 8, 6, 2],
}


def test_orders_are_even() -> None:
    """Each of five keys comes first about as often as the others."""
    keys = np.array([5, 6, 7, 8, 9], np.uint64)
    first = [int(shuffled(keys, seed, epoch)[0]) for seed in range(40) for epoch in range(50)]
    assert min(np.bincount(first, minlength=5)) > 320


@given(st.sets(st.integers(0, 2**64 - 1), min_size=2, max_size=30), st.data())
def test_who_is_left_out_changes_nothing_for_the_others(
    keys: set[int], data: st.DataObject
) -> None:
    everybody = np.array(sorted(keys), np.uint64)
    gone = data.draw(st.sampled_from(sorted(keys)))
    others = everybody[everybody != gone]
    order = [int(key) for key in everybody[shuffled(everybody, 7, 2)] if key != gone]
    assert others[shuffled(others, 7, 2)].tolist() == order


def test_a_million_clips_are_a_few_bytes_each() -> None:
    ids = (f"{number:032x}" for number in range(20_000))
    clips = Listing.of(Listed(id, True, 0) for id in ids)
    held = clips.ids.nbytes + clips.kept.nbytes + clips.places.nbytes
    assert held / len(clips) == 21
    assert clips.id(258) == "00000000-0000-0000-0000-000000000102"


def test_a_clip_that_is_listed_twice_is_read_once() -> None:
    first, second = f"{1:032x}", f"{2:032x}"
    clips = Listing.of(Listed(id, True, 0) for id in (second, first, second))
    assert [clips.id(n)[-1] for n in range(len(clips))] == ["2", "1"]


# ── clips of an output, and of shards ────────────────────────────────────────────────────────────


def decoded(root: Path | str, **settings: Any) -> Any:
    pytest.importorskip("torch", reason="needs torch, of finecut[models]")
    from finecut.io.dataset import ClipDataset

    return ClipDataset(str(root), **settings)


def undecoded(root: Path | str, **settings: Any) -> Any:
    return decoded(root, decode=False, **settings)


def loaded(dataset: Any, batch_size: int | None = None, **settings: Any) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size, **settings)


def ids(dataset: Any, workers: int = 0) -> list[str]:
    return [clip["id"] for clip in loaded(dataset, num_workers=workers)]


@both
def test_a_clip_is_all_that_is_known_of_it(dataset: Curated, source: str) -> None:
    clips = list(decoded(source, vectors=ALGORITHM))
    entries = [entry for entry in dataset.entries() if entry.kept]
    for clip, entry in zip(clips, entries, strict=True):
        assert clip["id"] == entry.id
        assert clip["source"] == entry.document["source_video"]
        assert clip["span"] == entry.span
        assert clip["scores"] == entry.scores
        assert clip["caption"] == told(entry)
        assert str(clip["vector"].dtype) == "torch.float32"
        assert clip["vector"].tolist() == vector_of(dataset, entry).tolist()


@both
def test_frames_are_those_of_the_clip(dataset: Curated, source: str) -> None:
    for clip in decoded(source):
        film = dataset.films[Path(clip["source"]).name]
        of_span = film.indices_between(*clip["span"])
        assert str(clip["frames"].dtype) == "torch.uint8"
        assert clip["frames"].shape == (len(of_span), film.height, film.width, 3)
        assert [read_index(picture.numpy()) for picture in clip["frames"]] == list(of_span)
        shown = [float(film.times[i] - film.times[of_span[0]]) for i in of_span]
        assert clip["seconds"].tolist() == pytest.approx(shown)


def test_frames_come_as_they_are_asked_for(dataset: Curated) -> None:
    last = decoded(dataset.root, frames=4, size=(90, 120))
    first = decoded(dataset.root, frames=4, size=(90, 120), channels_first=True)
    for one, other in zip(last, first, strict=True):
        assert one["frames"].shape == (4, 90, 120, 3)
        assert other["frames"].shape == (4, 3, 90, 120)
        assert bool((one["frames"].permute(0, 3, 1, 2) == other["frames"]).all())


def test_clips_of_one_size_make_batches(dataset: Curated) -> None:
    clips = decoded(dataset.root, frames=4, size=(64, 64), vectors=ALGORITHM)
    batches = list(loaded(clips, 4))
    assert [len(batch["id"]) for batch in batches] == [4, 4, 3]
    assert batches[0]["frames"].shape == (4, 4, 64, 64, 3)
    assert batches[0]["vector"].shape == (4, 2560)


@both
def test_bytes_are_those_of_the_file(dataset: Curated, source: str) -> None:
    files = {clip.id: Path(clip.path).read_bytes() for clip in dataset.entries()}
    assert {clip["id"]: clip["bytes"] for clip in undecoded(source)} == {
        id: files[id] for id in dataset.kept()
    }


@both
def test_two_workers_read_every_clip_once(dataset: Curated, source: str) -> None:
    read = ids(decoded(source, frames=1, shuffle=True), workers=2)
    assert sorted(read) == sorted(dataset.kept())


@pytest.mark.parametrize("workers", [0, 3, pytest.param(1, marks=pytest.mark.slow)])
def test_how_many_workers_there_are_changes_nothing(dataset: Curated, workers: int) -> None:
    alone = [clip["id"] for clip in undecoded(dataset.root, shuffle=True, seed=4)]
    assert ids(undecoded(dataset.root, shuffle=True, seed=4), workers) == alone


def test_two_ranks_of_two_workers_read_every_clip_once(dataset: Curated) -> None:
    read = [
        ids(undecoded(dataset.root, rank=rank, world=2, shuffle=True), workers=2) for rank in (0, 1)
    ]
    assert sorted(read[0] + read[1]) == sorted(dataset.kept())
    assert [len(one) for one in read] == [6, 5]
    even = [ids(undecoded(dataset.root, rank=rank, world=2, even=True)) for rank in (0, 1)]
    assert [len(one) for one in even] == [5, 5]
    assert len(set(even[0] + even[1])) == 10
    assert len(undecoded(dataset.root, rank=1, world=2)) == 5


def test_more_readers_than_clips(dataset: Curated) -> None:
    read = [id for rank in range(20) for id in ids(undecoded(dataset.root, rank=rank, world=20))]
    assert sorted(read) == sorted(dataset.kept())


def test_each_epoch_has_its_order(dataset: Curated) -> None:
    clips = undecoded(dataset.root, shuffle=True)
    orders = []
    for epoch in range(3):
        clips.set_epoch(epoch)
        orders.append(tuple(ids(clips)))
    assert len(set(orders)) == 3
    clips.set_epoch(1)
    assert tuple(ids(clips)) == orders[1]
    assert tuple(ids(undecoded(dataset.root))) == tuple(dataset.kept())
    assert tuple(ids(undecoded(dataset.root, shuffle=True, seed=1))) not in orders


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_that_stay_hear_of_the_next_epoch(dataset: Curated, how: str) -> None:
    clips = undecoded(dataset.root, shuffle=True)
    loader = loaded(clips, num_workers=1, persistent_workers=True, multiprocessing_context=how)
    for epoch in (0, 1):
        clips.set_epoch(epoch)
        alone = undecoded(dataset.root, shuffle=True)
        alone.set_epoch(epoch)
        assert [clip["id"] for clip in loader] == [clip["id"] for clip in alone]


@pytest.mark.parametrize("done", [0, 1, 4, 11])
def test_who_goes_on_reads_exactly_the_rest(dataset: Curated, done: int) -> None:
    clips = undecoded(dataset.root, shuffle=True)
    clips.set_epoch(2)
    reading = iter(clips)
    read = [next(reading)["id"] for _ in range(done)]
    state = clips.state_dict()
    again = undecoded(dataset.root, shuffle=True)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert read + ids(again) == ids(clips)
    assert len(ids(again)) == 11  # and the next time begins anew


@pytest.mark.parametrize(
    ("workers", "batches"),
    [
        *((0, 2), (2, 3)),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((2, 1), (3, 2))),
    ],
)
def test_who_goes_on_with_workers_reads_exactly_the_rest(
    dataset: Curated, workers: int, batches: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="of finecut[train]")

    def loader() -> Any:
        clips = undecoded(dataset.root, shuffle=True, seed=9)
        return clips, stateful.StatefulDataLoader(clips, batch_size=2, num_workers=workers)

    clips, first = loader()
    clips.set_epoch(1)
    reading = iter(first)
    read = [id for _ in range(batches) for id in next(reading)["id"]]
    state = first.state_dict()
    clips, second = loader()
    second.load_state_dict(state)
    rest = [id for batch in second for id in batch["id"]]
    assert len(read) == 2 * batches
    assert sorted(read + rest) == sorted(dataset.kept())
    over = second.state_dict()
    clips.set_epoch(2)
    assert sorted(id for batch in second for id in batch["id"]) == sorted(dataset.kept())
    # A position at the end of an epoch is the beginning of the next.
    clips, third = loader()
    third.load_state_dict(over)
    clips.set_epoch(2)
    assert sorted(id for batch in third for id in batch["id"]) == sorted(dataset.kept())


def test_a_position_that_cannot_be_right_is_refused(
    dataset: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = undecoded(dataset.root, shuffle=True)
    next(iter(clips))
    state = clips.state_dict()
    with pytest.raises(ValueError, match="other clips or another seed"):
        undecoded(dataset.root, shuffle=True, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="other clips"):
        undecoded(dataset.root, shuffle=True, drop={dataset.kept()[0]}).load_state_dict(state)
    changes: list[dict[str, Any]] = [
        {"done": -3},
        {"done": 12},
        {"of": None},
        {"epoch": "1"},
        {"share": [0, 1]},
        {"share": [1, 1, 0, 1]},
    ]
    for wrong in [{}, None, *(state | change for change in changes)]:
        with pytest.raises(ValueError, match="is not a valid position: give what"):
            clips.load_state_dict(wrong)
    other = undecoded(dataset.root, shuffle=True, rank=0, world=2)
    other.load_state_dict(state)
    with pytest.raises(RuntimeError, match="rank 0 of 1, but this is worker 0 of 1 of rank 0 of 2"):
        iter(other)
    clips.load_state_dict(state)
    clips.set_epoch(3)
    with pytest.raises(RuntimeError, match="saved in epoch 0"):
        iter(clips)
    clips.load_state_dict(state)
    monkeypatch.setattr("os.getpid", lambda: 1)  # as in a worker, to which this was handed on
    with pytest.raises(RuntimeError, match="StatefulDataLoader"):
        iter(clips)


def test_who_does_not_read_does_not_say_how_far_workers_are(dataset: Curated) -> None:
    clips = undecoded(dataset.root)
    assert clips.state_dict()["done"] == 0
    ids(clips, workers=1)
    with pytest.raises(RuntimeError, match="StatefulDataLoader"):
        clips.state_dict()


def test_ranks_are_what_torch_says(dataset: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="needs torch, of finecut[models]")
    alone = undecoded(dataset.root)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert len(undecoded(dataset.root)) == 5
    assert len(undecoded(dataset.root, rank=0, world=1)) == 11
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        assert len(undecoded(dataset.root)) == 11
        assert len(ids(alone)) == 11
    finally:
        torch.distributed.destroy_process_group()


# ── clips that are too short ─────────────────────────────────────────────────────────────────────

#: Those of long.mp4 have ten frames, those of other.mp4 eight.
NINE: dict[str, Any] = {"frames": 9, "size": (48, 64)}


def film_of(clip: Any) -> str:
    return Path(clip["source"]).stem


@both
def test_a_short_clip_is_an_error_unless_somebody_chose(dataset: Curated, source: str) -> None:
    clips = decoded(source, **NINE)
    said = r"it has only 8 frames, but frames=9 were requested\. Give short='skip' .* short='pad'"
    with pytest.raises(ShortClip, match=said) as raised:
        list(clips)
    assert film_of_id(dataset, raised.value.id) == "other"
    assert len(list(decoded(source, **NINE | {"frames": 8}))) == 11
    assert "mask" not in next(iter(clips))


def film_of_id(dataset: Curated, id: str) -> str:
    [entry] = [entry for entry in dataset.entries() if entry.id == id]
    return Path(entry.document["source_video"]).stem


@both
def test_short_clips_are_left_out_and_counted(
    dataset: Curated, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    clips = decoded(source, **NINE, short="skip")
    with caplog.at_level(logging.WARNING, logger="finecut"):
        read = list(clips)
    assert [film_of(clip) for clip in read] == ["long"] * 5
    assert (clips.skipped, len(clips)) == (6, 11)
    assert caplog.text.count("skipped: the clip") == 6
    by_errors = decoded(source, **NINE, on_error="skip")
    assert [clip["id"] for clip in by_errors] == [clip["id"] for clip in read]


@both
def test_short_clips_are_filled_up_and_masked(dataset: Curated, source: str) -> None:
    for clip in decoded(source, **NINE | {"frames": 10}, short="pad"):
        film = dataset.films[Path(clip["source"]).name]
        real = {"long": 10, "other": 8}[film_of(clip)]
        assert clip["mask"].tolist() == [True] * real + [False] * (10 - real)
        assert str(clip["mask"].dtype) == "torch.bool"
        assert clip["frames"].shape == (10, 48, 64, 3)
        shown = [float(place / film.rate) for place in range(real)]
        assert clip["seconds"].tolist() == pytest.approx(shown + shown[-1:] * (10 - real))
        for padding in clip["frames"][real:]:
            assert bool((padding == clip["frames"][real - 1]).all())
    [batch] = loaded(decoded(source, **NINE, short="pad"), 11)
    assert batch["mask"].sum(1).tolist().count(8) == 6


def test_a_clip_is_too_short_for_the_time_that_frames_take(dataset: Curated) -> None:
    """Four frames a quarter of a second apart are in a clip of a second, six are not."""
    assert len(list(decoded(dataset.root, frames=4, fps=4))) == 11
    for clip in decoded(dataset.root, frames=6, fps=4, short="pad"):
        assert clip["mask"].tolist() == [True] * int(clip["mask"].sum()) + [False] * (
            6 - int(clip["mask"].sum())
        )
        assert clip["mask"].sum() in (4, 5)
    with pytest.raises(ShortClip, match=r"frames=6 at fps=4 were requested"):
        list(decoded(dataset.root, frames=6, fps=4))


@pytest.mark.parametrize("done", range(12))
def test_who_goes_on_past_short_clips_reads_exactly_the_rest(dataset: Curated, done: int) -> None:
    """Each keeps its place: the order is that of the others, whatever becomes of it."""
    settings = NINE | {"shuffle": True, "seed": 3}
    whole = [clip["id"] for clip in decoded(dataset.root, **settings, short="pad")]
    expected = [id for id in whole if film_of_id(dataset, id) == "long"]
    clips = decoded(dataset.root, **settings, short="skip")
    read = [clip["id"] for clip in itertools.islice(clips, min(done, 5))]
    state = clips.state_dict()
    assert state["done"] == (whole.index(read[-1]) + 1 if read else 0)
    again = decoded(dataset.root, **settings, short="skip")
    again.load_state_dict(state)
    assert read + ids(again) == expected
    # A position between them, too, as workers note it.
    between = decoded(dataset.root, **settings, short="skip")
    between.load_state_dict(state | {"done": min(done, 11)})
    assert ids(between) == [id for id in whole[done:] if id in expected]


def test_workers_go_on_past_short_clips(dataset: Curated) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="of finecut[train]")

    def loader() -> Any:
        clips = decoded(dataset.root, **NINE, shuffle=True, seed=3, short="skip")
        return clips, stateful.StatefulDataLoader(clips, batch_size=1, num_workers=2)

    _, first = loader()
    reading = iter(first)
    read = [next(reading)["id"][0] for _ in range(2)]
    clips, second = loader()
    second.load_state_dict(first.state_dict())
    rest = [id for batch in second for id in batch["id"]]
    assert sorted(read + rest) == sorted(
        id for id in dataset.kept() if film_of_id(dataset, id) == "long"
    )
    assert clips.skipped <= 6


def test_what_says_nothing_of_short_clips_is_refused(dataset: Curated) -> None:
    with pytest.raises(ValueError, match="short='long' is unknown: give one of error, skip, pad"):
        decoded(dataset.root, short="long")
    with pytest.raises(ValueError, match="frames= is missing"):
        decoded(dataset.root, fps=4, short="pad")
    with pytest.raises(ValueError, match="decode=False"):
        undecoded(dataset.root, frames=3, short="pad")


# ── which clips ──────────────────────────────────────────────────────────────────────────────────


@both
def test_clips_on_a_list_are_left_out(dataset: Curated, source: str, tmp_path: Path) -> None:
    gone, *others = dataset.kept()
    drops = tmp_path / "drops.txt"
    drops.write_text(f"{gone}\n")
    assert ids(undecoded(source, drop=str(drops))) == others
    assert ids(undecoded(source, drop=[str(drops)])) == others
    for named in ({gone}, [gone], (gone,), iter([gone])):
        assert ids(undecoded(source, drop=named)) == others


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drop": None}, "drop=None names no clips: give the path"),
        ({"drop": [7]}, r"drop=\[7\] names no clips"),
        ({"size": "224"}, "size='224' is not a size: give the shorter side"),
        ({"size": (224,)}, r"size=\(224,\) is not a size"),
        ({"size": [224, 224]}, r"size=\[224, 224\] is not a size"),
        ({"frames": 2.5}, "frames=2.5 is not a number of frames: give a whole number"),
        ({"fps": "4"}, "fps='4' is not a frame rate"),
        ({"seed": 0.5, "shuffle": True}, "seed=0.5 is not a seed: give a whole number"),
    ],
)
def test_what_an_argument_cannot_be_is_said(
    dataset: Curated, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        decoded(dataset.root, **settings)
    assert len(decoded(dataset.root, frames=np.int64(2), fps=np.float32(2), seed=np.int64(3))) == 11


@both
def test_a_rule_says_which_clips_are_read(dataset: Curated, source: str) -> None:
    scores = {clip.id: clip.scores["motion_global_mean"] for clip in dataset.entries()}
    kept = dataset.kept()
    limit = sorted(scores[id] for id in kept)[4]
    rule = parse_rule(f"motion>{limit}")
    read = ids(undecoded(source, keep=lambda clip: rule.holds(clip.scores)))
    assert read == [id for id in kept if scores[id] > limit]
    assert len(read) == 6


def test_rejected_clips_are_read_when_they_are_asked_for(dataset: Curated) -> None:
    assert ids(undecoded(dataset.root, rejected=True)) == [clip.id for clip in dataset.entries()]
    assert len(dataset.entries()) == 12


@both
def test_no_clips_are_no_error(source: str) -> None:
    clips = undecoded(source, keep=lambda clip: False, shuffle=True)
    assert (ids(clips), len(clips)) == ([], 0)


def test_what_is_no_output_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoDataset, match="contains no finished clips"):
        decoded(tmp_path)


@pytest.mark.parametrize("sharded_clips", [True, False])
@pytest.mark.parametrize("broken", ["{", "{}"])
def test_one_broken_document_does_not_hide_where_clips_lie(
    tmp_path: Path, sharded_clips: bool, broken: str
) -> None:
    layout = Layout(str(tmp_path), shard_prefix=sharded_clips)
    id = "d2d00000-0000-5000-8000-000000000000"
    for path, text in ((layout.meta(id), broken), (layout.clip(id), "a film")):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text(text)
    Path(layout.processed_clip_chunks()).mkdir()
    assert Output.at(str(tmp_path)).layout == layout


def test_a_document_without_its_keys_is_named(copy: Curated) -> None:
    clip = copy.kept()[0]
    Path(copy.output.layout.meta(clip)).write_text("{}")
    with pytest.raises(NoDataset, match=f"{clip}.* has no 'duration_span'"):
        table(str(copy.root))
    chunk = next(copy.output.chunks())
    Path(chunk).write_text("{}")
    for read in (copy.entries, lambda: table(str(copy.root)), lambda: undecoded(copy.root)):
        with pytest.raises(NoDataset, match=f"{chunk} is not the document of a chunk.* 'video'"):
            read()


# ── clips that cannot be given ───────────────────────────────────────────────────────────────────


@pytest.fixture
def copy(dataset: Curated, tmp_path: Path) -> Curated:
    """One that may be changed."""
    shutil.copytree(dataset.root, tmp_path / "copy")
    return Curated(tmp_path / "copy", dataset.films)


def cut_short(copy: Curated, id: str) -> None:
    film = Path(copy.output.layout.clip(id))
    film.write_bytes(film.read_bytes()[:-100])


def remove(copy: Curated, id: str) -> None:
    Path(copy.output.layout.clip(id)).unlink()


def damage(copy: Curated, id: str) -> None:
    film = Path(copy.output.layout.clip(id))
    film.write_bytes(bytes(film.stat().st_size))


def remove_document(copy: Curated, id: str) -> None:
    Path(copy.output.layout.meta(id)).unlink()


BREAKS = (cut_short, remove, damage, remove_document)


@pytest.mark.parametrize("break_it", BREAKS)
def test_a_clip_that_cannot_be_given_is_named(
    copy: Curated, break_it: Callable[[Curated, str], None]
) -> None:
    id = copy.kept()[3]
    break_it(copy, id)
    clips = decoded(copy.root, frames=1)
    with pytest.raises(ClipError, match=id) as caught:
        list(clips)
    assert caught.value.id == id
    if break_it is not remove_document:
        assert caught.value.path == copy.output.layout.clip(id)


@pytest.mark.slow  # torch waits five seconds for a worker that raised
def test_a_worker_names_a_clip_that_cannot_be_given(copy: Curated) -> None:
    cut_short(copy, copy.kept()[-1])
    with pytest.raises(ClipError, match=copy.kept()[-1]):
        ids(decoded(copy.root, frames=1), workers=1)


def test_clips_that_cannot_be_given_are_skipped_if_that_is_wished(
    copy: Curated, caplog: pytest.LogCaptureFixture
) -> None:
    kept = copy.kept()
    broken = dict(zip(kept[1::2], BREAKS, strict=False))
    for id, break_it in broken.items():
        break_it(copy, id)
    clips = decoded(copy.root, frames=1, on_error="skip")
    with caplog.at_level(logging.WARNING, logger="finecut"):
        assert ids(clips) == [id for id in kept if id not in broken]
    assert clips.skipped == 4
    assert all(id in caplog.text for id in broken)
    assert sorted(ids(clips, workers=2)) == sorted(id for id in kept if id not in broken)
    assert clips.skipped == 8


def test_vectors_and_captions_that_are_missing_are_said(dataset: Curated, copy: Curated) -> None:
    with pytest.raises(NoDataset, match=f"no vectors of 'other': give one of {ALGORITHM}"):
        decoded(dataset.root, vectors="other")
    with pytest.raises(ClipError, match=f"no gpt_caption, but {CAPTIONER}"):
        list(undecoded(dataset.root, caption="gpt_caption"))
    with pytest.raises(ClipError, match="Rejected clips have no vector"):
        list(undecoded(dataset.root, vectors=ALGORITHM, rejected=True))
    say(copy.root, copy.kept()[0], windows=[])
    assert next(iter(undecoded(copy.root)))["caption"] == ""
    assert len(ids(undecoded(copy.root, caption=CAPTIONER, on_error="skip"))) == 10


def test_vectors_that_were_written_anew_are_seen_by_who_opens_the_dataset_again(
    copy: Curated,
) -> None:
    id = copy.kept()[0]
    [path] = [
        path
        for path in Path(copy.root).glob("*_embd_parquet/*.parquet")
        if id in pq.read_table(path)["id"].to_pylist()
    ]
    before = next(iter(undecoded(copy.root, vectors=ALGORITHM)))["vector"]
    old = pq.read_table(path)
    doubled = [[2 * number for number in vector] for vector in old["embedding"].to_pylist()]
    column = pa.array(doubled, old["embedding"].type)
    pq.write_table(
        old.set_column(old.schema.get_field_index("embedding"), "embedding", column), path
    )
    after = next(iter(undecoded(copy.root, vectors=ALGORITHM)))["vector"]
    np.testing.assert_allclose(after, 2 * before)


def test_vectors_of_another_model_are_refused_in_shards(shards: Path) -> None:
    with pytest.raises(ClipError, match=r"no vector of 'internvideo2'|none of 'internvideo2'"):
        list(undecoded(shards, vectors="internvideo2"))


def test_shards_that_were_cut_short_are_named(shards: Path, tmp_path: Path) -> None:
    short = shutil.copytree(shards, tmp_path / "short")
    tar = short / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(ClipError, match="ends after"):
        list(undecoded(short))
    assert len(ids(undecoded(short, on_error="skip"))) == 7


# ── buckets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(
    dataset: Curated, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Both kinds of sources, on a server of the protocol."""
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    roots = {}
    for kind, folder in (("output", dataset.root), ("shards", shards)):
        roots[kind] = f"gs://bucket/{kind}"
        own = Shelf(roots[kind], f"{roots[kind]}/.staging/test")
        for path in (path for path in folder.rglob("*") if path.is_file()):
            own.write(f"{roots[kind]}/{path.relative_to(folder)}", path.read_bytes())
    yield roots
    store.close()


@pytest.mark.parametrize("kind", ["output", "shards"])
def test_clips_of_a_bucket_are_those_of_a_disk(
    dataset: Curated, shards: Path, bucket: dict[str, str], kind: str
) -> None:
    """Also by workers that were forked from a process with open connections."""
    here = {"output": dataset.root, "shards": shards}[kind]
    wish = {"frames": 2, "vectors": ALGORITHM, "shuffle": True}
    local, remote = decoded(here, **wish), decoded(bucket[kind], **wish)
    for one, other in zip(local, loaded(remote, num_workers=2), strict=True):
        assert (one["id"], one["caption"]) == (other["id"], other["caption"])
        assert bool((one["frames"] == other["frames"]).all())
        assert bool((one["vector"] == other["vector"]).all())


def test_a_forked_process_opens_connections_of_its_own(bucket: dict[str, str]) -> None:
    gcs = pytest.importorskip("finecut.io.storage.cloud.gcs")
    own = gcs._client()
    said, say_it = os.pipe()
    if not (child := os.fork()):
        os.write(say_it, str(gcs._client() is own).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert (os.read(said, 9), gcs._client() is own) == (b"False", True)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def test_a_table_has_a_row_for_each_clip(dataset: Curated) -> None:
    rows = table(str(dataset.root), vectors=ALGORITHM).to_pylist()
    for row, clip in zip(rows, dataset.entries(), strict=True):
        said = clip.document
        assert (row["id"], row["kept"], row["path"]) == (clip.id, clip.kept, clip.path)
        assert (row["start"], row["end"]) == clip.span
        assert row["filtered_by"] == (None if clip.kept else "motion>0.005")
        for name in ("source_video", "width", "height", "framerate", "num_frames", "valid"):
            assert row[name] == said[name]
        assert {name: row[name] for name in clip.scores} == clip.scores
        assert row[CAPTIONER] == (told(clip) if clip.kept else None)
        vector = vector_of(dataset, clip).tolist() if clip.kept else None
        assert row["vector"] == vector


def test_a_table_of_shards_says_the_same(dataset: Curated, shards: Path) -> None:
    names = ["id", "kept", "source_video", "start", "num_frames", "motion_global_mean", CAPTIONER]
    of_output = table(str(dataset.root), ALGORITHM).select([*names, "vector"]).to_pylist()
    of_shards = table(str(shards), ALGORITHM).select([*names, "vector"]).to_pylist()
    assert of_shards == [row for row in of_output if row["kept"]]


def test_batches_have_the_columns_of_all(dataset: Curated, copy: Curated) -> None:
    """Also those that only the last clip has."""
    say(copy.root, copy.entries()[-1].id, scores={"beauty": 0.5, "path": 2.0})
    reader = batches(str(copy.root), rows=5)
    assert {"beauty", "score_path", CAPTIONER} <= set(reader.schema.names)
    pieces = list(reader)
    assert [len(piece) for piece in pieces] == [5, 5, 2]
    whole = pa.Table.from_batches(pieces)
    assert whole["beauty"].to_pylist() == [None] * 11 + [0.5]
    assert whole.equals(table(str(copy.root)))


def test_pandas_reads_tables(dataset: Curated) -> None:
    frame = table(str(dataset.root)).to_pandas()
    counted = frame[frame.kept].groupby("source_video").size()
    assert sorted(counted) == [5, 6]
    assert frame.motion_global_mean.dtype == np.float64
    assert list(frame[~frame.kept].filtered_by) == ["motion>0.005"]


DUCKDB = """
import duckdb, sys
from finecut.io.dataset import table
clips = table(sys.argv[1], sys.argv[2])
asked = "select source_video, count(*), max(len(vector)) from clips where kept"
print(duckdb.sql(asked + " group by all order by all").fetchall())
"""


@pytest.mark.skipif(find_spec("duckdb") is None, reason="needs duckdb, of finecut[dev]")
def test_duckdb_reads_tables(dataset: Curated) -> None:
    """In a process of its own: it says much when it ends in one that is full of other libraries."""
    films = dataset.films
    expected = [(films["long.mp4"].path, 5, 2560), (films["other.mp4"].path, 6, 2560)]
    assert said_by(DUCKDB, str(dataset.root), ALGORITHM) == f"{expected}\n"


def said_by(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_polars_reads_tables(dataset: Curated) -> None:
    polars = pytest.importorskip("polars", reason="not among what finecut is developed with")
    frame = polars.from_arrow(table(str(dataset.root), ALGORITHM))
    assert frame.filter("kept").height == 11
    assert frame["vector"].list.len().drop_nulls().unique().to_list() == [2560]


# ── previews, and what is imported ───────────────────────────────────────────────────────────────


def test_the_first_picture_of_a_preview_is_the_first_of_its_clip(dataset: Curated) -> None:
    clips = Clips(open_source(str(dataset.root)), Wish(), Order())
    assert len(clips) == 11
    for number in range(len(clips)):
        entry = clips.entry(number)
        film = dataset.films[Path(entry.document["source_video"]).name]
        picture = clips.preview(entry)
        assert picture.shape == (film.height, film.width, 3)
        assert read_index(picture) == film.indices_between(entry.span[0], 99)[0]
    preview = next((dataset.root / "previews").rglob("*.webp")).read_bytes()
    for damaged in (preview[:90], preview[:-9], b"RIFF", b""):
        with pytest.raises(ValueError, match="cut short"):
            first_picture(damaged)


def test_reading_back_needs_neither_beam_nor_torch() -> None:
    heavy = {"apache_beam", "google.cloud.storage", "pandas", "tensorflow", "torch"}
    code = f"import sys, finecut.io.dataset; print(*{heavy} & set(sys.modules))"
    assert said_by(code).split() == []
