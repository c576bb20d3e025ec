"""Spans, ids and chunks: the contract's vectors, and the formula against counting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finecut.io.records import PlannedClip, Source, Span, Video
from finecut.transforms.split.scenes import Piece
from finecut.transforms.split.spans import (
    Splitting,
    chunked,
    chunks_of,
    fixed_stride_spans,
    planned_clips,
)

NTSC = 30000 / 1001


def video(num_frames: int, framerate: float, name: str = "/data/videos/a.mp4") -> Video:
    return Video(
        source=Source(name, name, "a.mp4"),
        size=1,
        stream_index=0,
        width=640,
        height=360,
        framerate=framerate,
        num_frames=num_frames,
        duration=num_frames / framerate,
        video_codec="h264",
        pixel_format="yuv420p",
        audio_codec=None,
        bit_rate_k=2000,
        first_pts=0,
    )


def spans(
    num_frames: int,
    framerate: float,
    length: float = 10.0,
    stride: float = 10.0,
    least: float = 2.0,
) -> list[tuple[float, float]]:
    found = fixed_stride_spans(num_frames, framerate, length, stride, least)
    return [(span.start, span.end) for span in found]


def test_spans_of_the_contract() -> None:
    assert spans(705, 30) == [(0, 10), (10, 20), (20, 23.5)]
    assert spans(660, 30)[-1] == (20, 22)
    assert spans(659, 30)[-1] == (10, 20)
    assert spans(360, NTSC) == [(0, 10), (10, 12.012)]
    assert spans(899, NTSC)[-1][1] == 29.996633333333335
    assert spans(575, 24000 / 1001)[-1][1] == 23.982291666666665


def test_overlapping_spans_end_together() -> None:
    found = spans(600, 30, 5, 2.5, 1)
    assert len(found) == 8
    assert found[-2:] == [(15, 20), (17.5, 20)]
    assert spans(150, 30, 5, 2.5, 1) == [(0, 5), (2.5, 5)]


def test_strides_are_added_up() -> None:
    assert [start for start, _ in spans(30, 30, 0.1, 0.1, 0.05)][3] == 0.30000000000000004


def test_ids_of_the_contract() -> None:
    ids = [clip.id[:8] for clip in chunks_of(video(360, NTSC), Splitting())[0].clips]
    assert ids == ["8b529f52", "d80ccf78"]
    ids = [clip.id[:8] for clip in chunks_of(video(575, 24000 / 1001), Splitting())[0].clips]
    assert ids == ["5171cf45", "d884b272", "acc4cff6"]


@pytest.mark.parametrize(
    ("length", "number", "wanted"),
    [
        (10, 100, [26, 26, 26, 22]),
        (5, 100, [52, 48]),
        (8, 100, [32, 32, 32, 4]),
        (2.5, 300, [128, 128, 44]),
        (9.9, 60, [29, 29, 2]),
        (0.9, 300, [300]),
    ],
)
def test_chunk_sizes_of_the_contract(length: float, number: int, wanted: list[int]) -> None:
    clips = [PlannedClip(str(i), i, Span(i * length, i * length + length)) for i in range(number)]
    chunks = chunked(clips, 256)
    assert [len(chunk) for chunk in chunks] == wanted
    assert [clip for chunk in chunks for clip in chunk] == clips


def test_reels_know_the_whole_they_are_part_of() -> None:
    chunks = chunks_of(video(30 * 600, 30), Splitting())
    assert [planned.chunk.index for planned in chunks] == [0, 1, 2]
    assert {(planned.chunk.num_chunks, planned.chunk.num_total_clips) for planned in chunks} == {
        (3, 60)
    }
    assert sum(planned.chunk.num_clips for planned in chunks) == 60
    assert chunks[1].chunk.id == "4a052d8f-c08f-5d16-9f8f-9c077bcfc216"


def test_a_short_video_has_one_empty_reel() -> None:
    [planned] = chunks_of(video(30, 30), Splitting())
    assert planned.clips == ()
    assert (planned.chunk.num_chunks, planned.chunk.num_total_clips) == (0, 0)


def test_the_limit_is_a_limit() -> None:
    chunks = chunks_of(video(30 * 600, 30), Splitting(limit=7))
    assert sum(len(planned.clips) for planned in chunks) == 7
    assert chunks[0].chunk.num_total_clips == 7


def test_spans_with_the_same_frames_are_one_shot() -> None:
    clips = planned_clips(
        video(100, 10),
        [Piece(0, 10, Span(0, 1)), Piece(0, 10, Span(0.01, 1.05)), Piece(10, 20, Span(1, 2))],
    )
    assert [(clip.index, clip.span) for clip in clips] == [(0, Span(0, 1)), (1, Span(1, 2))]


@settings(deadline=None)
@given(
    frames=st.integers(1, 400),
    length=st.integers(1, 40),
    stride=st.integers(1, 40),
    least=st.integers(0, 40),
)
def test_spans_against_counting(frames: int, length: int, stride: int, least: int) -> None:
    """At 1 frame per second, spans are sets of frames one can count on one's fingers."""
    counted = []
    for start in range(0, frames, stride):
        members = [frame for frame in range(frames) if start <= frame < start + length]
        if len(members) >= least:
            counted.append((members[0], members[-1] + 1))
    assert spans(frames, 1.0, length, stride, least) == counted


@given(lengths=st.lists(st.floats(0.1, 50), max_size=60), seconds=st.integers(1, 100))
def test_chunks_against_counting(lengths: list[float], seconds: int) -> None:
    clips = [PlannedClip(str(i), i, Span(0.0, length)) for i, length in enumerate(lengths)]
    chunks = chunked(clips, seconds)
    assert [clip for chunk in chunks for clip in chunk] == clips
    for chunk in chunks[:-1]:
        whole = [int(clip.span.length) for clip in chunk]
        assert sum(whole) >= seconds > sum(whole[:-1])
