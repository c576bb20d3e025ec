"""WriteClips alone: what is closed when all went well, and what is not when it did not."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from staged_clips import NAME, VIDEO, make_clips, tree

from finecut.io.layout import Layout, chunk_id
from finecut.io.records import Chunk, Clip, Failure
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.close import ChunkClosed, close_video
from finecut.transforms.write.writing import Writing, planned


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    root = str(tmp_path / "out")
    return Writing(Layout(root), Shelf(root, f"{root}/.staging/run"))


def write(clips: Iterable[Clip], writing: Writing, lists: Path) -> dict[str, list[str]]:
    """Run WriteClips; what it returns, as sorted lists of texts."""
    names = ("clips", "artefacts", "metas", "embeddings", "chunks", "videos", "failures")
    with beam.Pipeline("FnApiRunner") as pipeline:
        written = pipeline | beam.Create(list(clips)) | WriteClips(writing)
        for name in names:
            (lists / f"{name}.txt").touch()
            _ = getattr(written, name) | f"Note {name}" >> beam.Map(_note, lists / f"{name}.txt")
    return {name: sorted((lists / f"{name}.txt").read_text().splitlines()) for name in names}


def _note(item: object, path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{_text(item)}\n")


def _text(item: object) -> str:
    if isinstance(item, Failure):
        return f"{item.step}: {','.join(item.lost_shots)}"
    return str(item.path)  # type: ignore[attr-defined]


def test_everything_is_written_and_returned(writing: Writing, tmp_path: Path) -> None:
    clips = make_clips(writing)
    kept = [clip for clip in clips if clip.kept]
    written = write(clips, writing, tmp_path)
    layout = writing.layout
    assert written["clips"] == sorted(layout.clip(clip.id, clip.kept) for clip in clips)
    assert written["metas"] == sorted(layout.meta(clip.id) for clip in clips)
    assert written["artefacts"] == sorted(layout.preview(clip.id, 0, 9) for clip in kept)
    assert len(written["embeddings"]) == len(kept) + 2
    assert [Path(path).name for path in written["chunks"]] == ["a.mp4_0.json", "a.mp4_1.json"]
    assert [Path(path).name for path in written["videos"]] == ["a.mp4.json"]
    assert written["failures"] == []
    everything = {path for paths in written.values() for path in paths}
    others = {layout.embedding_facts("cosmos-embed1-224p")}
    others |= {layout.catalogue_lines(clip.chunk.id) for clip in clips}
    assert {f"{layout.root}/{name}" for name in tree(layout.root)} == everything | others


def test_one_parquet_per_chunk_in_order_of_the_shots(writing: Writing, tmp_path: Path) -> None:
    clips = make_clips(writing, chunks=2, per_chunk=5)
    write(reversed(clips), writing, tmp_path)
    for index in range(2):
        path = writing.layout.embedding_parquet("cosmos-embed1-224p", chunk_id(NAME, index))
        table = pq.read_table(path)
        mine = [clip for clip in clips if clip.chunk.index == index and clip.kept]
        assert str(table.schema.field("embedding").type) == "list<element: float>"
        assert table.column("id").to_pylist() == [clip.id for clip in mine]
        assert table.column("embedding").to_pylist() == [
            list(clip.vectors["cosmos-embed1-224p"]) for clip in mine
        ]


def test_pickles_are_float32_rows(writing: Writing, tmp_path: Path) -> None:
    [clip, *_] = clips = make_clips(writing)
    write(clips, writing, tmp_path)
    path = writing.layout.embedding("cosmos-embed1-224p", clip.id)
    array = pickle.loads(Path(path).read_bytes())
    assert (str(array.dtype), array.shape, array.tolist()) == ("float32", (1, 2), [[0.0, 0.5]])


@pytest.mark.parametrize("blocked", ["metas", "clips", "previews", "ce1_embd"])
def test_a_clip_that_cannot_be_written_keeps_its_video_open(
    blocked: str, writing: Writing, tmp_path: Path
) -> None:
    """A folder in the way of one file: that clip is lost, named once, and nothing claims it."""
    clips = make_clips(writing)
    victim = clips[0]
    [path] = [
        path
        for path in planned(victim, writing)
        if Path(path).relative_to(writing.layout.root).parts[0] == blocked
    ]
    Path(path, "in the way").mkdir(parents=True)
    written = write(clips, writing, tmp_path)
    assert [failure.split(": ")[1] for failure in written["failures"]] == [victim.id]
    assert written["videos"] == []
    first = json.loads(Path(writing.layout.processed_clip_chunk("a.mp4", 0)).read_text())
    assert first["clips"] == []
    assert first["filtered_clips"] == [clips[1].id]


def test_a_table_that_cannot_be_written_loses_its_chunk_only(
    writing: Writing, tmp_path: Path
) -> None:
    clips = make_clips(writing)
    table = writing.layout.embedding_parquet("cosmos-embed1-224p", chunk_id(NAME, 0))
    Path(table, "in the way").mkdir(parents=True)
    written = write(clips, writing, tmp_path)
    assert [failure.split(": ")[0] for failure in written["failures"]] == ["WriteParquet"]
    closed = {
        index: json.loads(Path(writing.layout.processed_clip_chunk("a.mp4", index)).read_text())
        for index in (0, 1)
    }
    assert closed[0]["clips"] == []
    assert closed[1]["clips"] == [clips[2].id]
    assert written["videos"] == []


def test_a_table_costs_only_the_clips_that_are_in_it(writing: Writing, tmp_path: Path) -> None:
    """Rejected clips and clips without that vector are on the shelf, so they are not lost."""
    clips = make_clips(writing, chunks=1, per_chunk=3)
    clips[1] = clips[1].replace(vectors={"internvideo2": (1.0,)})
    table = writing.layout.embedding_parquet("cosmos-embed1-224p", chunk_id(NAME, 0))
    Path(table, "in the way").mkdir(parents=True)
    written = write(clips, writing, tmp_path)
    assert written["failures"] == [f"WriteParquet: {clips[0].id}"]
    chunk = json.loads(Path(writing.layout.processed_clip_chunk("a.mp4", 0)).read_text())
    assert (chunk["clips"], chunk["filtered_clips"]) == ([clips[1].id], [clips[2].id])


def test_staged_files_nobody_wants_cannot_fail_a_clip(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    without = Writing(Layout(root), Shelf(root, f"{root}/.staging/run"), upload_clips=False)
    clips = make_clips(without)
    staged = Path(str(clips[0].staged))
    staged.unlink()
    staged.mkdir()
    written = write(clips, without, tmp_path)
    assert written["failures"] == []
    assert len(written["videos"]) == 1


def test_a_clip_that_is_on_the_shelf_already_is_closed(writing: Writing, tmp_path: Path) -> None:
    clips = [clip.replace(staged=None) for clip in make_clips(writing)]
    written = write(clips, writing, tmp_path)
    assert (written["failures"], written["clips"], len(written["videos"])) == ([], [], 1)


def test_a_video_is_closed_only_when_nothing_is_missing(writing: Writing) -> None:
    [*_, first, _, second, _] = [each.chunk for each in make_clips(writing)]

    def chunk(chunk: Chunk, num_kept: int) -> ChunkClosed:
        return ChunkClosed(VIDEO, chunk, "x", 1, Summary(shots_kept=num_kept))

    assert list(close_video([chunk(first, 2)], writing)) == []
    assert list(close_video([chunk(first, 2), chunk(second, 1)], writing)) == []
    shutil.rmtree(writing.shelf.staging)
    assert tree(writing.layout.root) == []
    [closed] = close_video([chunk(first, 2), chunk(second, 2)], writing)
    assert closed.num_clips == 4
    assert tree(writing.layout.root) == ["processed_videos/a.mp4.json"]


def test_prefixes_go_into_paths_and_documents(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    sharded = Writing(Layout(root, shard_prefix=True), Shelf(root, f"{root}/.staging/run"))
    [clip, *_] = clips = make_clips(sharded)
    write(clips, sharded, tmp_path)
    path = f"{root}/clips/{clip.id[:2]}/{clip.id}.mp4"
    assert Path(path).read_bytes() == b"clip 0"
    document = json.loads(Path(sharded.layout.meta(clip.id)).read_text())
    assert document["clip_location"] == path


def test_a_dry_run_writes_documents_of_chunks_and_videos_only(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    dry = Writing(Layout(root), Shelf(root, f"{root}/.staging/run"), dry_run=True)
    write(make_clips(dry), dry, tmp_path)
    assert tree(root) == [
        "processed_clip_chunks/a.mp4_0.json",
        "processed_clip_chunks/a.mp4_1.json",
        "processed_videos/a.mp4.json",
    ]


def test_replayed_bundles_write_the_same_tree(writing: Writing, tmp_path: Path) -> None:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    clips = make_clips(writing)
    with beam.Pipeline(FnApiRunner(bundle_repeat=2)) as pipeline:
        _ = pipeline | beam.Create(clips) | WriteClips(writing)
    twice = {
        name: Path(writing.layout.root, name).read_bytes() for name in tree(writing.layout.root)
    }
    again = Writing(
        Layout(str(tmp_path / "once")),
        Shelf(str(tmp_path / "once"), str(tmp_path / "once/.staging/run")),
    )
    write(make_clips(again), again, tmp_path)
    once = {
        name: Path(again.layout.root, name).read_bytes().replace(b"/once/", b"/out/")
        for name in tree(again.layout.root)
    }
    assert twice == once
