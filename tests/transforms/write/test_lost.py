"""Clips that are lost in a stream: nobody waits for them. Time stands still in these tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from staged_clips import VIDEO, make_clips

from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, Lost
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.close import (
    ChunkClosed,
    ChunkEnded,
    chunk_is_complete,
    video_has_ended,
)
from finecut.transforms.write.failure_lists import own_list
from finecut.transforms.write.writing import Outcome, Writing


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    root = str(tmp_path / "out")
    shelf = Shelf(root, f"{root}/.staging/run")
    return Writing(Layout(root), shelf, configuration="c", patience=3600.0)


def lost(clip: Clip) -> Lost:
    failure = Failure("cut", VIDEO.source, "LostShot", "no file", lost_shots=(clip.id,))
    return Lost(VIDEO, clip.chunk, (failure,))


def test_a_chunk_waits_for_what_is_neither_written_nor_lost(writing: Writing) -> None:
    first, second = make_clips(writing, chunks=1)
    assert not chunk_is_complete([Outcome(first)])
    assert not chunk_is_complete([Outcome(first), Outcome(first)])
    assert chunk_is_complete([Outcome(first), Outcome(second)])
    assert chunk_is_complete([Outcome(first), lost(second)])
    assert chunk_is_complete([lost(first), lost(second)])
    # What was cut and could not be written.
    assert chunk_is_complete([Outcome(first), Outcome(second), lost(second)])


def test_a_video_has_ended_with_the_last_of_its_chunks(writing: Writing) -> None:
    *_, one, other = make_clips(writing, per_chunk=1)
    closed = ChunkClosed(VIDEO, one.chunk, "x", 1, Summary())
    ended = ChunkEnded(VIDEO, one.chunk, closed, ())
    assert not video_has_ended([ended, ended])
    assert video_has_ended([ended, ChunkEnded(VIDEO, other.chunk, None, lost(other).failures)])


def _same(entry: Clip | Lost) -> Clip | Lost:
    return entry


def _is_of(entry: object, kind: type) -> bool:
    return isinstance(entry, kind)


def stream(entries: Iterable[Clip | Lost], writing: Writing) -> None:
    """Write clips of a stream that has told of everything, and whose end has not come."""
    told = TestStream(coder=beam.coders.PickleCoder()).add_elements(list(entries))
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        everything = pipeline | told | beam.Map(_same)
        both = tuple(
            everything
            | f"Only {kind.__name__}" >> beam.Filter(_is_of, kind).with_output_types(kind)
            for kind in (Clip, Lost)
        )
        _ = both | WriteClips(writing)


def listed(writing: Writing) -> list[str]:
    path = Path(own_list(VIDEO.source, writing.layout))
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(id for line in lines for id in json.loads(line)["lost_shots"])


def test_what_was_cut_is_closed_although_clips_are_lost(writing: Writing) -> None:
    """One is lost in the cut, one on its way to the shelf: both stand on one list."""
    clips = make_clips(writing, chunks=2, per_chunk=3)
    Path(writing.layout.meta(clips[1].id), "in the way").mkdir(parents=True)
    stream([lost(clips[3]), *clips[:3], *clips[4:]], writing)
    for index, there in ((0, [clips[0].id, clips[2].id]), (1, [clips[4].id, clips[5].id])):
        path = writing.layout.processed_clip_chunk("a.mp4", index)
        said = json.loads(Path(path).read_text())
        assert sorted([*said["clips"], *said["filtered_clips"]]) == sorted(there)
    assert not Path(writing.layout.processed_video("a.mp4")).exists()
    assert listed(writing) == sorted([clips[1].id, clips[3].id])


def test_a_chunk_of_which_nothing_is_left_has_ended_too(writing: Writing) -> None:
    clips = make_clips(writing)
    stream([*map(lost, clips[:2]), *clips[2:]], writing)
    assert not Path(writing.layout.processed_clip_chunk("a.mp4", 0)).exists()
    assert Path(writing.layout.processed_clip_chunk("a.mp4", 1)).exists()
    assert listed(writing) == sorted(clip.id for clip in clips[:2])


def test_nothing_is_listed_before_a_video_has_ended(writing: Writing) -> None:
    clips = make_clips(writing)
    stream([lost(clips[0]), clips[1], clips[2]], writing)
    assert listed(writing) == []


def test_a_list_goes_when_the_video_is_closed(writing: Writing) -> None:
    clips = make_clips(writing)
    path = own_list(VIDEO.source, writing.layout)
    writing.shelf.write(path, b"what failed before\n")
    stream(clips, writing)
    assert Path(writing.layout.processed_video("a.mp4")).exists()
    assert not Path(path).exists()
