"""Chunks and videos are closed where their last clip is written, as far as one place sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from staged_clips import VIDEO, make_clips, tree

from finecut.io.layout import Layout
from finecut.io.records import Clip, PlannedChunk
from finecut.io.storage.publishing import Shelf
from finecut.transforms.resume.note import Again, open_video, read_note
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.close import ChunkClosed, Seen, close_last, close_video
from finecut.transforms.write.commit import TORN, WriteInBundles, close, outcome_of, write_clip
from finecut.transforms.write.writing import Writing

VIDEO_DOCUMENT = "processed_videos/a.mp4.json"
SOURCE = replace(VIDEO.source, version="9 1")


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    root = str(tmp_path / "out")
    return Writing(Layout(root), Shelf(root, f"{root}/.staging/run"), configuration="c")


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The video of these clips is nowhere; its version is what it was."""
    monkeypatch.setattr("finecut.io.storage.files.version_of", lambda uri: SOURCE.version)


def opened(writing: Writing, **how: int) -> list[Clip]:
    """Clips of a video whose note is written, as the split writes it."""
    clips = [
        clip.replace(video=replace(VIDEO, source=SOURCE)) for clip in make_clips(writing, **how)
    ]
    chunks = [
        PlannedChunk(
            clips[0].video, one, tuple(clip.planned for clip in clips if clip.chunk == one)
        )
        for one in dict.fromkeys(clip.chunk for clip in clips)
    ]
    assert open_video(chunks, writing, Again()) == chunks
    return clips


def bundle(clips: Iterable[Clip], writing: Writing) -> list[Any]:
    """What comes out of a bundle of these."""
    step = WriteInBundles(writing)
    step.setup()
    step.start_bundle()
    came = [each for clip in clips for each in step.process(clip, 0, GlobalWindow())]
    came += step.finish_bundle()
    step.teardown()
    return came


def torn(came: Iterable[Any]) -> int:
    return sum(isinstance(each, TaggedOutput) and each.tag == TORN for each in came)


def documents(writing: Writing) -> list[str]:
    return [path for path in tree(writing.layout.root) if path.startswith("processed")]


def test_a_bundle_closes_what_it_has_all_of(writing: Writing) -> None:
    clips = opened(writing)
    assert torn(bundle(clips[:2], writing)) == 0
    assert documents(writing) == ["processed_clip_chunks/a.mp4_0.json"]
    assert torn(bundle(clips[2:], writing)) == 0
    assert documents(writing)[-1] == VIDEO_DOCUMENT
    assert read_note("a.mp4", writing).new == ()


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 2, 1, 0), (0, 0, 1, 1, 2, 3, 3, 1)])
def test_clips_come_in_any_order_and_twice(order: tuple[int, ...], writing: Writing) -> None:
    clips = opened(writing)
    assert torn(bundle([clips[number] for number in order], writing)) == 0
    assert documents(writing)[-1] == VIDEO_DOCUMENT


def test_what_was_torn_apart_is_handed_on_and_closed_in_the_end(writing: Writing) -> None:
    clips = opened(writing)
    assert torn(bundle(clips[1:], writing)) == 1
    assert documents(writing) == ["processed_clip_chunks/a.mp4_1.json"]
    for clip, made in zip(clips, make_clips(writing), strict=True):
        assert clip.staged == made.staged  # it lies there again
    with beam.Pipeline("FnApiRunner") as pipeline:
        # A shuffle deals each clip to a bundle of its own.
        dealt = pipeline | beam.Create(clips) | beam.Reshuffle()
        _ = dealt | WriteClips(writing)
    assert documents(writing)[-1] == VIDEO_DOCUMENT


def chunk_of(clips: list[Clip], writing: Writing) -> tuple[ChunkClosed, list[str]]:
    """The chunk of these clips, on the shelf by itself."""
    outcomes = [outcome_of(clip, write_clip(clip, writing)) for clip in clips]
    unnoted = replace(writing, configuration="")
    [*_, last] = close(outcomes, unnoted, Seen())
    [closed] = last.results
    assert isinstance(closed, ChunkClosed)
    assert closed.finished is None
    return closed, [clip.id for clip in clips]


def test_of_two_that_close_at_once_both_do_and_it_counts_once(writing: Writing) -> None:
    clips = opened(writing)
    chunks = [chunk_of(clips[:2], writing), chunk_of(clips[2:], writing)]
    note = read_note("a.mp4", writing)
    finished = []
    for closed, ids in chunks:
        [video] = close_last(closed, ids, writing, Seen())
        finished.append(replace(closed, finished=video))
        # The other one read the note before this one removed it.
        writing.shelf.write(writing.layout.open_video("a.mp4"), _as_it_was(note))
    assert len(list(close_video(finished, writing))) == 1


def _as_it_was(note: Any) -> bytes:
    from finecut.transforms.write.documents import serialise

    return serialise(vars(note))


@pytest.mark.parametrize("spoilt", ["no note", "another configuration", "another version"])
def test_documents_of_who_knows_what_close_nothing(spoilt: str, writing: Writing) -> None:
    """They may be of an earlier run that made something else."""
    clips = opened(writing)
    chunk_of(clips[:2], writing)
    closed, ids = chunk_of(clips[2:], writing)
    if spoilt == "no note":
        writing.shelf.remove(writing.layout.open_video("a.mp4"))
    elif spoilt == "another configuration":
        writing = replace(writing, configuration="d")
    else:
        video = replace(closed.video, source=replace(SOURCE, version="9 2"))
        closed = replace(closed, video=video)
    assert list(close_last(closed, ids, writing, Seen())) == []
    # All of them together are another matter.
    assert VIDEO_DOCUMENT not in documents(writing)


def test_a_chunk_that_lacks_a_clip_closes_no_video(writing: Writing) -> None:
    clips = opened(writing)
    closed, ids = chunk_of(clips[:2], writing)
    chunk_of(clips[2:3], writing)
    seen = Seen()
    assert list(close_last(closed, ids, writing, seen)) == []
    # What was seen of it is looked at again.
    chunk_of(clips[2:], writing)
    assert len(list(close_last(closed, ids, writing, seen))) == 1


def test_what_was_seen_of_a_video_is_not_true_of_the_one_that_replaces_it(
    writing: Writing,
) -> None:
    """As with --watch, which goes on in the same process."""
    clips = opened(writing)
    seen = Seen()
    closed, ids = chunk_of(clips[:2], writing)
    chunk_of(clips[2:3], writing)  # one of its clips failed
    assert list(close_last(closed, ids, writing, seen)) == []
    chunk_of(clips[2:], writing)
    other = replace(closed.video, source=replace(SOURCE, version="9 3"))
    again = [
        PlannedChunk(other, one, tuple(c.planned for c in clips if c.chunk == one))
        for one in dict.fromkeys(clip.chunk for clip in clips)
    ]
    assert len(open_video(again, writing, Again())) == 2
    assert documents(writing) == []
    closed, ids = chunk_of([clip.replace(video=other) for clip in clips[:2]], writing)
    assert list(close_last(closed, ids, writing, seen)) == []
