"""A pack is written once, before the document of its chunk, wherever its clips come together."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from staged_clips import VIDEO, make_clips, tree

from finecut.io.dataset.arrangement import decide
from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, Lost
from finecut.io.storage import files as shelf
from finecut.io.storage.counted import bucket_in, objects_in, requests_in
from finecut.io.storage.kept import kept_of
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import PackTable
from finecut.io.tables.shards import Tar
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.close import ChunkClosed
from finecut.transforms.write.commit import WriteInBundles
from finecut.transforms.write.failure_lists import own_list
from finecut.transforms.write.packing import pack
from finecut.transforms.write.writing import Writing


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    root = str(tmp_path / "out")
    layout = Layout(root, packed=True)
    own = Shelf(root, f"{root}/.staging/run")
    decide(layout, own)
    return Writing(layout, own)


def clips_for(writing: Writing, **how: int) -> list[Clip]:
    """Staged clips that say nothing of the bytes of their files."""
    clips = make_clips(writing, **how)
    return [
        clip.replace(file=replace(clip.file, sha256="")) if clip.file else clip for clip in clips
    ]


def bundle(clips: Iterable[Clip], writing: Writing) -> list[Any]:
    step = WriteInBundles(writing)
    step.setup()
    step.start_bundle()
    came = [each for clip in clips for each in step.process(clip, 0, GlobalWindow())]
    came += step.finish_bundle()
    step.teardown()
    return values(came)


def values(came: Iterable[Any]) -> list[Any]:
    """What came, without its tags and places."""
    plain = (each.value if isinstance(each, TaggedOutput) else each for each in came)
    return [each.value if isinstance(each, WindowedValue) else each for each in plain]


def packs(writing: Writing) -> list[str]:
    return [path for path in tree(writing.layout.root) if path.startswith("packs/")]


def ids_in(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {name.partition(".")[0] for name in archive.getnames()}


def test_nothing_is_written_before_the_chunk_is_whole(writing: Writing) -> None:
    clips = clips_for(writing)
    before = tree(writing.layout.root)
    step = WriteInBundles(writing)
    step.setup()
    step.start_bundle()
    assert list(step.process(clips[0], 0, GlobalWindow())) == []
    assert tree(writing.layout.root) == before
    came = [*step.process(clips[1], 0, GlobalWindow()), *step.finish_bundle()]
    step.teardown()
    assert sum(isinstance(each, ChunkClosed) for each in values(came)) == 1
    assert len(packs(writing)) == 2
    # What was staged of it is gone, and all else waits.
    staged = [path for path in tree(writing.layout.root) if path.startswith(".staging")]
    assert {path.rpartition("/")[2].partition(".")[0] for path in staged} == {
        clip.id for clip in clips[2:]
    }


def test_chunks_that_are_torn_apart_are_packed_in_the_end(writing: Writing) -> None:
    clips = clips_for(writing, chunks=3, per_chunk=3)
    assert not [each for each in bundle(clips[::4], writing) if isinstance(each, ChunkClosed)]
    assert packs(writing) == []
    with beam.Pipeline("FnApiRunner") as pipeline:
        dealt = pipeline | beam.Create(clips) | beam.Reshuffle()
        _ = dealt | WriteClips(writing)
    output = Output(writing.layout)
    found = [entry for chunk in output.chunks() for entry in output.entries(chunk)]
    assert {entry.id for entry in found} == {clip.id for clip in clips}
    by_id = {clip.id: clip for clip in clips}
    assert all(
        entry.film.read() == f"clip {by_id[entry.id].planned.index}".encode() for entry in found
    )
    # None is in two of them.
    archives = [*Path(writing.layout.packs()).glob("*.tar")]
    assert sum(len(ids_in(path)) for path in archives) == len(clips)


def test_what_is_torn_apart_waits_in_the_store(tmp_path: Path) -> None:
    """Clips wait on the machine that cut them, where no other can read them."""
    root = f"{bucket_in(tmp_path)}/out"
    layout = Layout(root, packed=True)
    own = Shelf(root, f"{root}/.staging/run", keeps=True)
    writing = Writing(layout, own)
    kept = kept_of(own)
    assert kept is not None
    local = replace(writing, shelf=Shelf(kept.folder, f"{kept.folder}/cut"))
    clips = clips_for(local, chunks=1, per_chunk=3)
    came = bundle(clips[:2], writing)
    torn = [each for each in came if isinstance(each, tuple)]
    assert [chunk for chunk, _ in torn] == [clips[0].chunk.id] * 2
    shared = [outcome.clip for _, outcome in torn]
    paths = [path for clip in shared for path in (clip.staged, *clip.artefacts.values())]
    assert all(str(path).startswith(f"{root}/.staging/run/") for path in paths)
    assert all(shelf.exists(str(path)) for path in paths)
    # Another machine has the rest.
    requests = len(requests_in(tmp_path))
    done = pack([*shared, clips[2]], writing)
    assert len(done.packed) == 3
    assert done.failures == ()
    written = [one.uri for one in requests_in(tmp_path)[requests:] if one.kind == "write"]
    assert [uri.rpartition(".")[2] for uri in written if "/packs/" in uri and "*" not in uri] == [
        "tar",
        "parquet",
    ]
    assert ids_in(objects_in(tmp_path) / "out/packs" / f"{clips[0].chunk.id}.tar") == {
        clip.id for clip in clips
    }


def test_in_a_stream_a_chunk_is_packed_without_what_is_lost(writing: Writing) -> None:
    """One was lost in the cut, one on its way: nobody waits for them."""
    streaming = replace(writing, configuration="c", patience=3600.0)
    clips = clips_for(streaming, chunks=2, per_chunk=3)
    Path(str(clips[1].staged)).unlink()
    failure = Failure("cut", VIDEO.source, "LostShot", "no file", lost_shots=(clips[3].id,))
    told = TestStream(coder=beam.coders.PickleCoder()).add_elements(
        [Lost(VIDEO, clips[3].chunk, (failure,)), *clips[:3], *clips[4:]]
    )
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        entries = pipeline | told | beam.Map(_same)
        both = tuple(
            entries | f"Only {kind.__name__}" >> beam.Filter(_is_of, kind).with_output_types(kind)
            for kind in (Clip, Lost)
        )
        _ = both | WriteClips(streaming)
    output = Output(writing.layout)
    found = {entry.id for chunk in output.chunks() for entry in output.entries(chunk)}
    assert found == {clips[number].id for number in (0, 2, 4, 5)}
    lines = Path(own_list(VIDEO.source, writing.layout)).read_text().splitlines()
    lost = sorted(id for line in lines for id in json.loads(line)["lost_shots"])
    assert lost == sorted([clips[1].id, clips[3].id])


def _same(entry: Any) -> Any:
    return entry


def _is_of(entry: object, kind: type) -> bool:
    return isinstance(entry, kind)


def test_a_clip_that_cannot_be_packed_costs_itself(writing: Writing) -> None:
    clips = clips_for(writing, chunks=1, per_chunk=4)
    Path(str(clips[1].staged)).unlink()
    Path(clips[2].artefacts[next(iter(clips[2].artefacts))]).unlink()  # after its film was added
    came = bundle(clips, writing)
    failures = [each for each in came if isinstance(each, Failure)]
    assert [each.lost_shots for each in failures] == [(clips[1].id,), (clips[2].id,)]
    [closed] = [each for each in came if isinstance(each, ChunkClosed)]
    assert (closed.summary.shots_kept, closed.summary.shots_rejected) == (1, 1)
    [path] = Path(writing.layout.packs()).glob("*.tar")
    assert ids_in(path) == {clips[0].id, clips[3].id}
    output = Output(writing.layout)
    for entry in output.entries(next(output.chunks())):
        assert entry.film.read() in (b"clip 0", b"clip 3")


def test_a_clip_that_is_not_what_was_cut_is_not_packed(writing: Writing) -> None:
    [clip] = make_clips(writing, chunks=1, per_chunk=1)  # of which another digest is known
    done = pack([clip], writing)
    assert (done.packed, [each.error for each in done.failures]) == ({}, ["ClipChanged"])


def test_a_bundle_that_is_done_again_finds_what_it_staged_in_the_pack(writing: Writing) -> None:
    """The files were removed when the chunk was closed, and nobody cuts them again."""
    clips = clips_for(writing, chunks=1, per_chunk=3)
    bundle(clips, writing)
    before = {name: Path(writing.layout.below(name)).read_bytes() for name in packs(writing)}
    times = {name: Path(writing.layout.below(name)).stat().st_mtime_ns for name in packs(writing)}
    came = bundle(clips, writing)
    assert not [each for each in came if isinstance(each, Failure)]
    assert {n: Path(writing.layout.below(n)).read_bytes() for n in packs(writing)} == before
    [archive] = [name for name in times if name.endswith(".tar")]
    assert Path(writing.layout.below(archive)).stat().st_mtime_ns == times[archive]


def test_a_promise_is_withdrawn_before_its_archive_becomes_another(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = clips_for(writing, chunks=1, per_chunk=2)
    bundle(clips, writing)
    document = Path(writing.layout.processed_clip_chunk("a.mp4", 0))
    assert document.exists()
    seen: list[tuple[bool, int]] = []
    publish = Shelf.publish

    def published(own: Shelf, staged: str, final: str, num_bytes: int | None = None) -> int:
        if final.endswith(".tar"):
            rows = shelf.read(writing.layout.catalogue_lines(clips[0].chunk.id))
            seen.append((document.exists(), len(rows.splitlines())))
        return publish(own, staged, final, num_bytes)

    monkeypatch.setattr(Shelf, "publish", published)
    others = [
        clip.replace(file=replace(clip.file, num_bytes=len(b"another film")))
        for clip in clips_for(writing, chunks=1, per_chunk=2)
        if clip.file is not None
    ]
    for clip in others:
        Path(str(clip.staged)).write_bytes(b"another film")
    bundle(others, writing)
    assert seen == [(False, 0)]
    assert document.exists()
    output = Output(writing.layout)
    [*found] = output.entries(str(document))
    assert {entry.film.read() for entry in found} == {b"another film"}


def test_a_chunk_of_which_no_file_is_wanted_has_no_archive(writing: Writing) -> None:
    without = replace(writing, upload_clips=False)
    clips = [clip.replace(artefacts={}) for clip in clips_for(without, chunks=1, per_chunk=2)]
    bundle(clips, without)
    [table] = packs(writing)
    found = PackTable.read(Path(writing.layout.below(table)).read_bytes())
    assert [clip.pack for clip in found.clips()] == [None, None]
    assert list(found.vectors("ce1_embd")) == [clips[0].id]


def test_a_scratch_disk_that_is_full_is_no_fault_of_a_clip(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tar: Tar, _data: bytes) -> None:
        tar.broken = OSError(28, "No space left on device")
        raise tar.broken

    monkeypatch.setattr(Tar, "_write", full)
    clips = clips_for(writing, chunks=1, per_chunk=2)
    came = bundle(clips, writing)
    [failure] = [each for each in came if isinstance(each, Failure)]
    assert failure.lost_shots == tuple(clip.id for clip in clips)
    assert packs(writing) == []
