"""Dealing: every shot is dealt once, no worker waits long for another, and clips stay the same."""

# Annotations are read by Beam.
import threading
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from faults import tree
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.film.paint import paint
from finecut.io.records import Chunk, Reel, Shot, Source, Span, Video
from finecut.pipeline import dealing
from finecut.pipeline.dealing import (
    LEAST_SECONDS,
    TURNS,
    ShareOut,
    deal_reels,
    deal_videos,
    divided,
    reel_work,
    seconds_of,
)
from finecut.pipeline.options import Options
from finecut.pipeline.running import run


def video_of(seconds: float, name: str, width: int = 320) -> Video:
    source = Source(f"/films/{name}", f"/films/{name}", name)
    frames = int(25 * seconds)
    return Video(
        source, 1000, 0, width, 180, 25.0, frames, seconds, "h264", "yuv420p", None, 800, 0
    )


def reel_of(lengths: Sequence[float], name: str, width: int = 320) -> Reel:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    shots = tuple(
        Shot(f"{name}-{n}", n, Span(end - length, end))
        for n, (length, end) in enumerate(zip(lengths, ends, strict=True))
    )
    video = video_of(sum(lengths), name, width)
    return Reel(video, Chunk(name, 0, len(shots), 1, len(shots)), shots)


LENGTHS = st.lists(st.floats(0.5, 120, allow_nan=False), max_size=12)


@given(
    st.lists(st.tuples(LENGTHS, st.sampled_from([160, 320, 1920])), max_size=6), st.integers(1, 9)
)
def test_every_shot_is_dealt_once_and_in_its_order(
    films: list[tuple[list[float], int]], workers: int
) -> None:
    reels = [reel_of(lengths, str(n), width) for n, (lengths, width) in enumerate(films)]
    dealt = deal_reels(reels, workers)
    for reel in reels:
        parts = sorted(
            (part for part in dealt if part.video == reel.video),
            key=lambda part: [shot.index for shot in part.shots],
        )
        assert tuple(shot for part in parts for shot in part.shots) == reel.shots
        assert {part.chunk for part in parts} == {reel.chunk}
        assert len(parts) <= max(1, seconds_of(reel.shots) / LEAST_SECONDS)


@given(LENGTHS.filter(bool), st.integers(1, 12))
def test_rows_of_shots_are_about_equally_long(lengths: list[float], number: int) -> None:
    shots = reel_of(lengths, "a").shots
    rows = list(divided(shots, number))
    assert [shot for row in rows for shot in row] == list(shots)
    assert all(rows)
    assert len(rows) <= number
    longest = seconds_of(shots) / number + max(lengths)
    assert all(seconds_of(row) <= longest + 1e-6 for row in rows)


def test_a_lone_film_is_dealt_to_all_workers() -> None:
    reel = reel_of([10.0] * 25, "a")
    dealt = deal_reels([reel], 4)
    assert len(dealt) == 4 * TURNS
    works = [reel_work(part) for part in dealt]
    assert all(before >= after for before, after in pairwise(works[::4]))
    assert deal_reels([reel_of([4.0, 5.0], "short")], 4) == [reel_of([4.0, 5.0], "short")]


def test_many_films_stay_whole() -> None:
    reels = [reel_of([10.0] * 12, str(n)) for n in range(2 * TURNS)]
    assert sorted(deal_reels(reels, 2), key=reels.index) == reels


def test_the_longest_is_dealt_first_there_and_back() -> None:
    videos = [video_of(seconds, str(seconds)) for seconds in (3.0, 90.0, 1.0, 40.0, 7.0)]
    assert [video.duration for video in deal_videos(videos, 2)] == [90.0, 40.0, 3.0, 7.0, 1.0]
    assert deal_reels([reel_of([], "empty")], 2) == [reel_of([], "empty")]


class _Who(beam.DoFn):
    """Says which worker got the reel, and as its how-manieth."""

    turns = threading.local()

    def start_bundle(self) -> None:
        self.turns.taken = 0

    def process(self, reel: Reel) -> Iterable[tuple[int, int, float]]:
        self.turns.taken += 1
        yield threading.get_ident(), self.turns.taken, reel.video.duration


def test_the_runner_deals_in_turn(tmp_path: Path) -> None:
    """What the order is made for: a Beam that deals otherwise would need another one."""
    lengths = [3.0, 1.0, 4.0, 1.0, 5.0, 90.0, 2.0, 6.0]
    reels = [reel_of([seconds], f"{n}.mp4") for n, seconds in enumerate(lengths)]

    def check(taken: list[tuple[int, int, float]]) -> None:
        by_worker: dict[int, list[float]] = {}
        for worker, _, seconds in sorted(taken):
            by_worker.setdefault(worker, []).append(seconds)
        assert sorted(by_worker.values()) == [[6.0, 5.0, 2.0, 1.0], [90.0, 4.0, 3.0, 1.0]]

    options = PipelineOptions(["--direct_running_mode=in_memory", "--direct_num_workers=2"])
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        dealt = pipeline | beam.Create(reels) | ShareOut(deal_reels, 2)
        assert_that(dealt | "Who" >> beam.ParDo(_Who()), check)


def test_parts_make_the_same_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a film of a minute and a half, which is one reel, cut in parts and at one go."""
    film = tmp_path / "film.mkv"
    paint(film, width=64, height=36, rate=10, seconds=90, gop=70, sound="aac")

    def run_to(name: str) -> dict[str, bytes]:
        options = Options(
            input=(str(film),),
            output=str(tmp_path / name),
            clip_length=7.0,
            motion_filter="score-only",
            no_generate_embeddings=True,
            workers=2,
        )
        assert run(options).summary.shots_kept == 13
        return tree(tmp_path / name)

    assert len(deal_reels([reel_of([7.0] * 13, "film")], 2)) == 2 * TURNS
    in_parts = run_to("in parts")
    monkeypatch.setattr(dealing, "LEAST_SECONDS", 1000.0)
    assert len(deal_reels([reel_of([7.0] * 13, "film")], 2)) == 1
    assert in_parts == run_to("whole")
