"""The ``tf.data`` pipelines. TensorFlow has an environment of its own (``make test-tensorflow``):
what it pins is not to be had together with what the cloud's libraries pin.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curated import ALGORITHM, CAPTIONER, Curated, curated, sharded, told, vector_of
from painted import read_index

from finecut.io.dataset import table
from finecut.io.dataset.clips import Clips, Order, Wish
from finecut.io.dataset.order import Share
from finecut.io.dataset.sources import open_source
from finecut.transforms.filter.rules import parse_rule

tf = pytest.importorskip("tensorflow", reason="needs finecut[tensorflow]")
pytest.importorskip("tensorflow_io", reason="needs finecut[tensorflow]")

from finecut.io.dataset import tf_dataset, tf_table  # noqa: E402


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curated(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def shards(dataset: Curated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(dataset, tmp_path_factory.mktemp("sharded") / "shards")


def ids(clips: Any) -> list[str]:
    return [clip["id"].numpy().decode() for clip in clips]


def in_order(root: Path, share: Share, seed: int, epoch: int) -> list[str]:
    """The order that ``ClipDataset`` reads in, as its own tests show, without torch."""
    source = open_source(str(root))
    clips = Clips(source, Wish(None), Order(shuffle=True, seed=seed))
    return [source.listing.id(int(number)) for number in clips.part(epoch, share)]


@pytest.mark.parametrize("kind", ["output", "shards"])
def test_clips_say_what_is_known_of_them(dataset: Curated, shards: Path, kind: str) -> None:
    root = {"output": dataset.root, "shards": shards}[kind]
    score = "motion_global_mean"
    clips = tf_dataset(
        str(root), decode=False, vectors=ALGORITHM, caption=CAPTIONER, scores=(score, "sharpness")
    )
    kept = [clip for clip in dataset.entries() if clip.kept]
    for clip, entry in zip(clips, kept, strict=True):
        assert set(clip) == {
            *("id", "source", "start", "end", "caption", "vector", score, "sharpness")
        }
        assert clip["id"].numpy().decode() == entry.id
        assert clip["source"].numpy().decode() == entry.document["source_video"]
        assert (float(clip["start"]), float(clip["end"])) == entry.span
        assert clip["caption"].numpy().decode() == told(entry)
        assert float(clip[score]) == entry.scores[score]
        assert np.isnan(float(clip["sharpness"]))
        assert clip["vector"].dtype == tf.float32
        assert clip["vector"].numpy().tolist() == vector_of(dataset, entry).tolist()


@pytest.mark.parametrize("kind", ["output", "shards"])
def test_frames_are_those_of_the_clip(dataset: Curated, shards: Path, kind: str) -> None:
    root = {"output": dataset.root, "shards": shards}[kind]
    count = 0
    for clip in tf_dataset(str(root)):
        film = dataset.films[Path(clip["source"].numpy().decode()).name]
        of_span = film.indices_between(float(clip["start"]), float(clip["end"]))
        assert clip["frames"].dtype == tf.uint8
        assert [read_index(picture) for picture in clip["frames"].numpy()] == list(of_span)
        assert len(clip["seconds"]) == len(of_span)
        count += 1
    assert count == 11


def test_frames_of_one_size_make_batches(dataset: Curated) -> None:
    clips = tf_dataset(str(dataset.root), frames=4, size=(48, 64), vectors=ALGORITHM)
    assert clips.element_spec["frames"].shape == (4, 48, 64, 3)
    shapes = [batch["frames"].shape for batch in clips.batch(8)]
    assert shapes == [(8, 4, 48, 64, 3), (3, 4, 48, 64, 3)]


def test_short_clips_are_an_error_or_left_out_or_masked(dataset: Curated) -> None:
    """Those of long.mp4 have ten frames, those of other.mp4 eight."""
    wish: dict[str, Any] = {"frames": 9, "size": (48, 64)}
    short = [clip.id for clip in dataset.entries() if clip.document["num_frames"] == 8]
    with pytest.raises(
        tf.errors.OpError, match="it has only 8 frames, but frames=9 were requested"
    ):
        ids(tf_dataset(str(dataset.root), **wish))
    read = ids(tf_dataset(str(dataset.root), **wish, short="skip"))
    assert read == [id for id in dataset.kept() if id not in short]
    padded = tf_dataset(str(dataset.root), **wish, short="pad")
    assert padded.element_spec["mask"].shape == (9,)
    for clip in padded:
        real = 8 if clip["id"].numpy().decode() in short else 9
        assert clip["mask"].numpy().tolist() == [True] * real + [False] * (9 - real)


def test_the_order_is_that_of_torch(dataset: Curated, shards: Path) -> None:
    for root in (dataset.root, shards):
        for seed, epoch in ((0, 0), (5, 0), (5, 3)):
            clips = tf_dataset(str(root), decode=False, shuffle=True, seed=seed, epoch=epoch)
            assert ids(clips) == in_order(root, Share(), seed, epoch)
    assert in_order(shards, Share(), 5, 3) == in_order(dataset.root, Share(), 5, 3)
    assert in_order(shards, Share(), 5, 3) != in_order(shards, Share(), 5, 0)


def test_ranks_read_every_clip_once(dataset: Curated) -> None:
    read = [
        ids(tf_dataset(str(dataset.root), decode=False, shuffle=True, rank=rank, world=3))
        for rank in range(3)
    ]
    assert [len(one) for one in read] == [4, 4, 3]
    assert read == [in_order(dataset.root, Share(rank, 3), 0, 0) for rank in range(3)]
    assert sorted(id for one in read for id in one) == sorted(dataset.kept())


def test_clips_may_be_read_twice(dataset: Curated) -> None:
    clips = tf_dataset(str(dataset.root), frames=1)
    assert ids(clips.repeat(2)) == 2 * dataset.kept()


def test_lists_and_rules_leave_clips_out(dataset: Curated) -> None:
    gone, *others = dataset.kept()
    assert ids(tf_dataset(str(dataset.root), decode=False, drop={gone})) == others
    rule = parse_rule("motion>1000")
    nobody = tf_dataset(str(dataset.root), decode=False, keep=lambda clip: rule.holds(clip.scores))
    assert ids(nobody) == []


def test_previews_are_stills(dataset: Curated) -> None:
    count = 0
    for clip in tf_dataset(str(dataset.root), decode=False, previews=True):
        film = dataset.films[Path(clip["source"].numpy().decode()).name]
        picture = clip["preview"].numpy()
        assert picture.shape == (film.height, film.width, 3)
        assert read_index(picture) == film.indices_between(float(clip["start"]), 99)[0]
        count += 1
    assert count == 11


def test_a_clip_that_cannot_be_given_is_named_or_skipped(
    dataset: Curated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Curated(shutil.copytree(dataset.root, tmp_path / "copy"), dataset.films)
    kept = copy.kept()
    Path(copy.output.layout.clip(kept[2])).unlink()
    Path(copy.output.layout.meta(kept[5])).unlink()
    shutil.rmtree(f"{copy.output.layout.previews()}/{kept[8]}")
    with pytest.raises(tf.errors.OpError, match=kept[2]):
        ids(tf_dataset(str(copy.root), frames=1, drop={kept[5]}))
    with pytest.raises(tf.errors.OpError, match=kept[5]):
        ids(tf_dataset(str(copy.root), decode=False))
    with caplog.at_level(logging.WARNING, logger="finecut"):
        read = ids(tf_dataset(str(copy.root), frames=1, previews=True, on_error="skip"))
    assert read == [id for id in kept if id not in (kept[2], kept[5], kept[8])]
    assert all(kept[number] in caplog.text for number in (2, 5, 8))


def test_a_table_has_a_row_for_each_clip(dataset: Curated) -> None:
    rows = tf_table(str(dataset.root), ALGORITHM)
    expected = table(str(dataset.root), ALGORITHM).to_pylist()
    for row, said in zip(rows, expected, strict=True):
        assert set(row) == set(said)
        for name, value in said.items():
            found = row[name].numpy()
            if isinstance(value, str):
                assert found.decode() == value
            elif value is None:
                assert found.tolist() == [] if name == "vector" else found == b""
            else:
                assert found.tolist() == value
    assert len(expected) == 12


def test_what_says_nothing_is_refused(dataset: Curated) -> None:
    with pytest.raises(ValueError, match="decode=False"):
        tf_dataset(str(dataset.root), decode=False, frames=3)
    with pytest.raises(ValueError, match="no score called caption"):
        tf_dataset(str(dataset.root), scores=("caption",))
    with pytest.raises(ValueError, match="on_error"):
        tf_dataset(str(dataset.root), on_error="ignore")


def test_it_needs_neither_beam_nor_torch() -> None:
    code = (
        "import sys; from finecut.io.dataset import tf_dataset;"
        "print(*{'apache_beam', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
