"""Cuts somebody made: read strictly, kept exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from finecut.io.records import Source, Video
from finecut.transforms.split.scenes import Trimming
from finecut.transforms.split.spans import CutsError, GivenCuts, Times, given_pieces, read_cuts

ALL = Trimming(0.0, 0.0, "stride", 0.0)


def video(duration: float, framerate: float = 30.0, relative: str = "films/a.mp4") -> Video:
    return Video(
        source=Source(f"/in/{relative}", f"/data/{relative}", relative),
        size=1,
        stream_index=0,
        width=64,
        height=64,
        framerate=framerate,
        num_frames=int(duration * framerate),
        duration=duration,
        video_codec="h264",
        pixel_format="yuv420p",
        audio_codec=None,
        bit_rate_k=1,
        first_pts=0,
    )


def spans(times: Times, duration: float, trimming: Trimming = ALL) -> list[tuple[float, float]]:
    pieces = given_pieces(times, video(duration), trimming)
    return [(piece.span.start, piece.span.end) for piece in pieces]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((3.5, 7.0), [(0.0, 3.5), (3.5, 7.0), (7.0, 10.0)]),
        ((), [(0.0, 10.0)]),
        ((0.0, 10.0, 99.0), [(0.0, 10.0)]),
        (((1.0, 2.0), (1.5, 40.0), (12.0, 13.0)), [(1.0, 2.0), (1.5, 10.0)]),
    ],
)
def test_cuts_and_scenes(times: Times, expected: list[tuple[float, float]]) -> None:
    assert spans(times, 10.0) == expected


def test_a_given_time_stays_exactly_what_it_is() -> None:
    odd = 3.123456789
    assert spans((odd,), 10.0) == [(0.0, odd), (odd, 10.0)]
    pieces = list(given_pieces((odd,), video(10.0), ALL))
    assert [(piece.first, piece.end) for piece in pieces] == [(0, 94), (94, 300)]


def test_too_long_too_short_and_cropped() -> None:
    trimming = Trimming(2.0, 4.0, "stride", 0.0)
    assert spans((1.0,), 10.0, trimming) == [(1.0, 5.0), (5.0, 9.0)]
    cropped = Trimming(2.0, 0.0, "stride", 0.5)
    assert spans((5.0,), 10.0, cropped) == [(0.5, 4.5), (5.5, 9.5)]


def test_a_video_is_named_in_any_of_three_ways() -> None:
    for name in ("films/a.mp4", "/data/films/a.mp4", "a.mp4"):
        pieces = list(GivenCuts({name: (5.0,)}, ALL).pieces(video(10.0)))
        assert len(pieces) == 2
    assert len(list(GivenCuts({"b.mp4": (5.0,)}, ALL).pieces(video(10.0)))) == 1


def test_both_files_say_the_same(tmp_path: Path) -> None:
    as_json, as_csv = tmp_path / "cuts.json", tmp_path / "cuts.CSV"
    as_json.write_text(json.dumps({"a.mp4": [3.5, 7], "b, c.mp4": [[0, 4], [6.5, 12]]}))
    as_csv.write_text(
        '\ufeffvideo,time,end\na.mp4,3.5\na.mp4,7\n\n"b, c.mp4",6.5,12\n"b, c.mp4",0,4\n'
    )
    expected = {"a.mp4": (3.5, 7.0), "b, c.mp4": ((0.0, 4.0), (6.5, 12.0))}
    assert read_cuts(str(as_json)) == read_cuts(str(as_csv)) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "[1, 2]", "a list for each video"),
        ("a.json", '{"a": 3}', "a list for each video"),
        ("a.json", '{"a": [3', "is not valid JSON"),
        ("a.json", '{"a": [7, 3]}', "neither cuts in ascending order"),
        ("a.json", '{"a": [[7, 3]]}', "neither cuts in ascending order"),
        ("a.json", '{"a": [1, [2, 3]]}', "neither cuts in ascending order"),
        ("a.json", '{"a": [NaN]}', "not a"),
        ("a.json", '{"a": [true]}', "neither cuts in ascending order"),
        ("a.json", '{"a": [-1]}', "neither cuts in ascending order"),
        ("a.csv", "a.mp4,1\na.mp4,x\n", "line 2"),
        ("a.csv", "a.mp4\n", "line 1"),
        ("a.csv", "a.mp4,1,2,3\n", "line 1"),
    ],
)
def test_a_wrong_list_is_told_where_and_what(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CutsError, match=words):
        read_cuts(str(tmp_path / name))


def test_a_list_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(CutsError, match="the file does not exist"):
        read_cuts(str(tmp_path / "none.csv"))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CutsError, match="not text in UTF-8"):
        read_cuts(str(tmp_path / "a.csv"))


def test_a_rate_that_is_no_whole_number() -> None:
    rate = float(Fraction(30000, 1001))
    pieces = list(given_pieces((4.0,), video(10.01, rate), Trimming(1.0, 2.0, "stride", 0.0)))
    assert pieces[0].span.start == 0.0
    assert pieces[0].span.end == 59 / rate
    assert any(piece.span.start == 4.0 for piece in pieces)
    assert all(a.span.end <= b.span.start for a, b in pairwise(pieces))
