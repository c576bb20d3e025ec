"""Dealing: every shot is cut once, and neither workers nor other films change what comes of it."""

# Annotations are read by Beam.
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from faults import tree
from hypothesis import given
from hypothesis import strategies as st
from pairs import all_and_quick_pairs

from finecut.io.media.codecs import Encoding
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Chunk, Clip, PlannedChunk, PlannedClip, Segment, Source, Span, Video
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.dealing import (
    PART_SECONDS,
    ShareOut,
    deal_chunks,
    deal_segments,
    divided,
    parts_of,
    seconds_of,
)
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.find.probe import probe_source
from finecut.transforms.split.spans import FixedStride, Splitting, chunks_of


def video_of(seconds: float, name: str) -> Video:
    source = Source(f"/films/{name}", f"/films/{name}", name)
    frames = int(25 * seconds)
    return Video(source, 1000, 0, 320, 180, 25.0, frames, seconds, "h264", "yuv420p", None, 800, 0)


def planned_of(
    lengths: Sequence[float], film: float | None = None, name: str = "a"
) -> PlannedChunk:
    """A reel of a film, which may be longer."""
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    clips = tuple(
        PlannedClip(f"{name}-{n}", n, Span(end - length, end))
        for n, (length, end) in enumerate(zip(lengths, ends, strict=True))
    )
    video = video_of(sum(lengths) if film is None else film, name)
    return PlannedChunk(video, Chunk(name, 0, len(clips), 1, len(clips)), clips)


LENGTHS = st.lists(st.floats(0.5, 120, allow_nan=False), max_size=12)


@given(LENGTHS, st.floats(0, 20_000))
def test_every_shot_is_in_one_part_and_in_its_order(lengths: list[float], film: float) -> None:
    planned = planned_of(lengths, film)
    parts = parts_of(planned)
    assert tuple(clip for part in parts for clip in part.clips) == planned.clips
    assert {(part.video, part.chunk) for part in parts} == {(planned.video, planned.chunk)}
    assert len(parts) <= max(1, seconds_of(planned.clips) / PART_SECONDS + 0.5)


@given(LENGTHS.filter(bool), st.integers(1, 12))
def test_rows_of_shots_are_about_equally_long(lengths: list[float], number: int) -> None:
    clips = planned_of(lengths).clips
    rows = list(divided(clips, number))
    assert [clip for row in rows for clip in row] == list(clips)
    assert all(rows)
    assert len(rows) <= number
    longest = seconds_of(clips) / number + max(lengths)
    assert all(seconds_of(row) <= longest + 1e-6 for row in rows)


def test_short_films_have_several_parts_and_long_ones_hardly_any() -> None:
    def parts(seconds: int, film: float) -> int:
        return len(parts_of(planned_of([10.0] * (seconds // 10), film)))

    assert [parts(seconds, seconds) for seconds in (0, 10, 40, 50, 100, 250)] == [1, 1, 1, 2, 3, 8]
    assert [parts(260, 60 * minutes) for minutes in (8, 15, 30, 60, 240)] == [8, 5, 2, 1, 1]


def test_the_longest_is_dealt_first_and_all_get_alike() -> None:
    lengths = (3.0, 90.0, 1.0, 40.0, 7.0)
    whole = [Segment(video_of(seconds, str(seconds))) for seconds in lengths]
    assert [each.video.duration for each in deal_segments(whole, 2)] == [90.0, 40.0, 3.0, 7.0, 1.0]
    parts = [Segment(video_of(100.0, "a"), number, count=4) for number in range(4)]
    assert deal_segments([*whole, *parts], 2)[:2] == [whole[1], whole[3]]
    chunks = [planned_of([seconds], name=str(seconds)) for seconds in lengths]
    assert [seconds_of(planned.clips) for planned in deal_chunks(chunks, 3)] == [
        90.0,
        40.0,
        7.0,
        1.0,
        3.0,
    ]
    assert deal_chunks([planned_of([])], 2) == [planned_of([])]


class _Who(beam.DoFn):
    """Says which worker got the reel, and as its how-manieth."""

    turns = threading.local()

    def start_bundle(self) -> None:
        self.turns.taken = 0

    def process(self, planned: PlannedChunk) -> Iterable[tuple[int, int, float]]:
        self.turns.taken += 1
        yield threading.get_ident(), self.turns.taken, planned.video.duration


def test_the_runner_deals_in_turn() -> None:
    """What the order is made for: a Beam that deals otherwise would need another one."""
    lengths = [3.0, 1.0, 4.0, 1.0, 5.0, 90.0, 2.0, 6.0]
    chunks = [planned_of([seconds], name=f"{n}.mp4") for n, seconds in enumerate(lengths)]

    def check(taken: list[tuple[int, int, float]]) -> None:
        by_worker: dict[int, list[float]] = {}
        for worker, _, seconds in sorted(taken):
            by_worker.setdefault(worker, []).append(seconds)
        assert sorted(by_worker.values()) == [[6.0, 5.0, 3.0, 1.0], [90.0, 4.0, 2.0, 1.0]]

    options = PipelineOptions(["--direct_running_mode=in_memory", "--direct_num_workers=2"])
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        dealt = pipeline | beam.Create(chunks) | ShareOut(deal_chunks, 2)
        assert_that(dealt | "Who" >> beam.ParDo(_Who()), check)


#: Sound throughout, so that a packet more or less is another clip; key frames where clips begin.
SOUNDS = [("mp4", "aac"), ("mov", "ac3"), ("mkv", "libopus"), ("mp4", "mp3"), ("avi", "mp3")]


@pytest.mark.parametrize(
    ("track", "transcode", "gop"),
    all_and_quick_pairs(SOUNDS, ["encode", "smart", "copy"], [10, 49]),
)
def test_a_part_makes_the_clips_of_the_whole(
    track: tuple[str, str], transcode: str, gop: int, tmp_path: Path
) -> None:
    container, sound = track
    film = tmp_path / f"film.{container}"
    beeps = tuple(range(0, 150, 4))
    paint(film, width=64, height=36, rate=10, seconds=15, gop=gop, sound=sound, beeps=beeps)
    video = probe_source(Source(str(film), str(film), film.name))
    [planned] = chunks_of(video, Splitting(FixedStride(3.0, 3.0)))

    def clips_of(chunks: Sequence[PlannedChunk], name: str) -> dict[str, str]:
        shelf = Shelf(str(tmp_path / name), str(tmp_path / name / ".staging/run"))
        cutting = Cutting(shelf, Encoding(preset="ultrafast"), transcode=transcode)
        made = [clip for part in chunks for clip in cut_chunk(part, cutting)]
        assert all(isinstance(clip, Clip) and clip.file for clip in made)
        return {clip.id: clip.file.sha256 for clip in made if isinstance(clip, Clip) and clip.file}

    parts = [replace(planned, clips=(clip,)) for clip in planned.clips]
    assert len(parts) == 5
    assert clips_of(parts, "parts") == clips_of([planned], "whole")


def test_workers_and_other_films_change_nothing(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name, seconds in (("a.mkv", 63), ("b.mkv", 5)):
        paint(films / name, width=64, height=36, rate=10, seconds=seconds, gop=70, sound="aac")

    def run_to(name: str, workers: int, given: Path) -> dict[str, bytes]:
        options = Options(
            input=(str(given),),
            output=str(tmp_path / name),
            clip_length=7.0,
            motion_filter="score-only",
            no_generate_embeddings=True,
            workers=workers,
        )
        assert run(options).summary.imbalances() == []
        return tree(tmp_path / name)

    both = run_to("both", 1, films)
    assert run_to("three workers", 3, films) == both
    alone = run_to("alone", 2, films / "a.mkv")
    clips = {name: clip for name, clip in alone.items() if name.startswith("clips/")}
    assert len(clips) == 9
    assert clips.items() <= both.items()
