"""Splitting in a pipeline: long videos are watched in segments, and planned as one."""

# Annotations are read by Beam.
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from cutting_room import video_of

from finecut.io.media.limits import Limits
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import (
    Failure,
    PlannedChunk,
    Segment,
    Source,
    Video,
    from_json,
    to_json,
)
from finecut.transforms.amount import counted_watching
from finecut.transforms.beam.gather import FORGET_AFTER
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.split.scenes import CONTENT, OFTEN, Detection, Trimming
from finecut.transforms.split.segments import divided
from finecut.transforms.split.spans import Splitting, chunks_of
from finecut.transforms.split.videos import InSegments, SplitVideos

PATIENCE = 20.0
LOOKING = Detection(CONTENT, trimming=Trimming(0.5, 4.0), segment_seconds=8.0)
SPLITTING = Splitting(LOOKING, chunk_seconds=6)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    """A long one and a short one."""
    folder = tmp_path_factory.mktemp("videos")
    size: dict[str, Any] = {"width": 64, "height": 36, "rate": 25}
    long = paint(folder / "long.mp4", **size, seconds=27, cuts=(3.2, 11, 13.5, 20), gop=25)
    short = paint(folder / "short.mp4", **size, seconds=3, cuts=(1.2,))
    return [video_of(long), video_of(short)]


def _kept(folder: str, record: PlannedChunk | Failure) -> None:
    name = (
        f"{record.video.source.relative} {record.chunk.index}"
        if isinstance(record, PlannedChunk)
        else f"failure of {record.source.relative}"
    )
    path = Path(folder, name)
    assert not path.exists(), f"{name} came twice"
    path.write_text(to_json(record))


def keep(records: beam.PCollection[PlannedChunk | Failure], name: str, folder: Path) -> None:
    _ = records | name >> beam.Map(lambda record: _kept(str(folder), record))


def split(videos: Sequence[Video], splitting: Splitting, folder: Path) -> None:
    with beam.Pipeline("FnApiRunner") as pipeline:
        segments = pipeline | beam.Create(videos).with_output_types(Video) | InSegments(splitting)
        made = segments | beam.Reshuffle() | SplitVideos(splitting, list)
        keep(made.reels, "reels", folder)
        keep(made.failures, "failures", folder)


def failures_in(folder: Path) -> list[Failure]:
    return [from_json(Failure, path.read_text()) for path in folder.glob("failure*")]


def chunks_in(folder: Path) -> list[PlannedChunk]:
    found = [from_json(PlannedChunk, path.read_text()) for path in folder.glob("*.mp4 *")]
    return sorted(found, key=lambda planned: (planned.video.name, planned.chunk.index))


def test_what_is_planned_is_that_of_the_whole(videos: list[Video], tmp_path: Path) -> None:
    assert [len(divided(video, LOOKING)) for video in videos] == [2, 1]
    split(videos, SPLITTING, tmp_path)
    assert failures_in(tmp_path) == []
    assert chunks_in(tmp_path) == [
        planned for video in videos for planned in chunks_of(video, SPLITTING)
    ]


def test_who_wants_a_few_clips_gets_no_segments(videos: list[Video], tmp_path: Path) -> None:
    few = replace(SPLITTING, limit=2)
    split(videos[:1], few, tmp_path)
    assert chunks_in(tmp_path) == chunks_of(videos[0], few)


def test_a_segment_that_fails_fails_its_video_once(videos: list[Video], tmp_path: Path) -> None:
    """(Both of its segments do.) Others are as they are."""
    bad = Splitting(replace(LOOKING, film=Limits(frames=200)), chunk_seconds=6)
    split(videos, bad, tmp_path)
    [failure] = failures_in(tmp_path)
    assert (failure.step, failure.source) == ("split", videos[0].source)
    assert "the limit is 200" in failure.message
    assert chunks_in(tmp_path) == chunks_of(videos[1], SPLITTING)


def test_segments_that_differ_are_watched_as_a_whole(
    videos: list[Video], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Packets of one place are gone, and the frames behind it have other numbers."""
    data = bytearray(Path(videos[0].source.uri).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    video = replace(videos[0], source=Source(str(path), str(path), "hole.mp4"))
    out = tmp_path / "out"
    out.mkdir()
    counted = BOARD.since()
    with caplog.at_level(logging.INFO):
        split([video], SPLITTING, out)
    counts, once = counted(), counted_watching(video)
    assert f"{path} is watched as a whole: " in caplog.text
    assert chunks_in(out) == chunks_of(video, SPLITTING)
    # The second look is more work, and no more of the video.
    assert counts["work to watch"] == once
    assert 2 * once - 2 <= counts["work watched"] <= 2 * once
    assert 0 < counts["milliseconds watched"] <= 1000 * video.duration


def test_all_of_a_video_is_counted_once(videos: list[Video], tmp_path: Path) -> None:
    """(Segments overlap.)"""
    counted = BOARD.since()
    split(videos, SPLITTING, tmp_path)
    counts, work = counted(), sum(map(counted_watching, videos))
    assert not counts.get("work to watch")  # that is counted when videos are probed
    assert work - 2 <= counts["work watched"] <= work
    seconds = sum(video.duration for video in videos)
    updates = 3 * OFTEN / 25  # of two segments and a short video, the last of each does not come
    assert seconds - updates <= counts["milliseconds watched"] / 1000 <= seconds


def stream(segments: Sequence[Segment], folder: Path, late: Sequence[Segment] = ()) -> None:
    """Split what is told of, and what is late when the patience is over."""
    told = TestStream(coder=beam.coders.PickleCoder()).add_elements(list(segments))
    if late:
        # The stream's clock begins in 1970, and timers are set by the clock on the wall. Far beyond
        # patience, far from forgetting.
        far = int(time.time() + FORGET_AFTER / 2 * PATIENCE)
        told = told.advance_processing_time(far).add_elements(list(late))
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        everything = pipeline | told.advance_processing_time(100).advance_watermark_to_infinity()
        same = everything | beam.Map(lambda each: each).with_output_types(Segment)
        made = same | SplitVideos(SPLITTING, list, patience=PATIENCE)
        keep(made.reels, "reels", folder)
        keep(made.failures, "failures", folder)


def test_in_a_stream_a_video_is_planned_when_its_last_segment_was_watched(
    videos: list[Video], tmp_path: Path
) -> None:
    stream([*reversed(divided(videos[0], LOOKING)), Segment(videos[1])], tmp_path)
    assert failures_in(tmp_path) == []
    assert len(chunks_in(tmp_path)) == sum(len(chunks_of(video, SPLITTING)) for video in videos)


def test_segments_that_do_not_come_fail_their_video_and_may_come_later(
    videos: list[Video], tmp_path: Path
) -> None:
    """Then it is planned after all, from what came before and after."""
    first, *lost = divided(videos[0], LOOKING)
    assert lost
    stream([first], tmp_path, late=[Segment(videos[1])])
    [failure] = failures_in(tmp_path)
    assert (failure.step, failure.source) == ("split", videos[0].source)
    assert f"of the {1 + len(lost)} segments in which" in failure.message
    assert "only 1 came within --patience" in failure.message
    assert chunks_in(tmp_path) == chunks_of(videos[1], SPLITTING)
    later = tmp_path / "later"
    later.mkdir()
    stream([first], later, late=lost)
    assert failures_in(later) == [failure]
    assert chunks_in(later) == chunks_of(videos[0], SPLITTING)
