"""How films end: with a still that is nobody's fault, or cut off, which has to be said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import av
import pytest
from cutting_room import QUICK, clips_of, indices_and_times, planned_at, video_of
from odd_films import emptied_at_the_end, held, with_gaps

from finecut.io.media.codecs import Encoding
from finecut.io.media.containers import is_whole
from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.remux.copying import COPY, SMART, transcode
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Clip
from finecut.io.storage.publishing import Shelf
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.split.spans import FixedStride, Splitting, chunks_of

KINDS: dict[str, dict[str, Any]] = {
    ".mp4": {"b_frames": 0},
    ".mov": {"b_frames": 0},
    ".mkv": {"b_frames": 2, "gop": 12},
    ".webm": {"codec": "libvpx"},
    "_heard.mkv": {"b_frames": 0, "sound": "aac"},
}


@pytest.mark.parametrize("audio", ["copy", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_spans_behind_the_last_picture_of_a_still_are_rejected_not_lost(
    kind: str, audio: str, tmp_path: Path
) -> None:
    painting = held(
        paint(tmp_path / f"a{kind}", seconds=3, **KINDS[kind]), tmp_path / f"b{kind}", 9
    )
    video = video_of(painting)
    assert video.duration == pytest.approx(12, abs=0.1)
    [planned] = chunks_of(video, Splitting(FixedStride(2, 2, 0.5)))
    shelf = Shelf(str(tmp_path / "out"), str(tmp_path / "out/.staging/x"))
    cutting = Cutting(shelf, Encoding(preset="ultrafast", audio=audio))
    clips = [clip for clip in cut_chunk(planned, cutting) if isinstance(clip, Clip)]
    assert [clip.rejected_by for clip in clips] == [None, None, *4 * ["no_frames"]]
    assert [clip.errors for clip in clips[:2]] == [{}, {}]
    # The last picture is shown until the clip is over, as in the film.
    last = clips[1].file
    assert last is not None
    assert last.num_frames / last.framerate == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("how", [COPY, SMART])
@pytest.mark.parametrize("kind", [".mp4", ".mkv"])
def test_a_still_is_copied_as_long_as_it_is_shown(kind: str, how: str, tmp_path: Path) -> None:
    whole = paint(tmp_path / f"a{kind}", seconds=3, gop=30, b_frames=0)
    painting = held(whole, tmp_path / f"b{kind}", 9)
    planned = planned_at((0, 2), (2, 4), (1, 6), (6, 8))
    found = transcode(painting.path, video_of(painting), planned, Recipe(tmp_path, QUICK, mode=how))
    clips = {clip.planned.span.start: clip for clip in found}
    assert "no new frame" in str(clips.pop(6).empty)
    assert [clip.damage for clip in clips.values()] == [None, None, None]
    for clip in clips.values():
        assert clip.file is not None
        length = clip.file.num_frames / clip.file.framerate
        assert length == pytest.approx(clip.planned.span.length, abs=0.001)


def test_an_avi_whose_last_entries_hold_no_frame_ends_with_a_still(tmp_path: Path) -> None:
    painting = with_gaps(tmp_path / "full.avi", lambda _: True, seconds=6, rate=30)
    emptied_at_the_end(Path(painting.path), tmp_path / "still.avi", 120)
    painting = dataclasses.replace(painting, path=str(tmp_path / "still.avi"))
    assert video_of(painting).duration == 6
    clips = clips_of(painting, tmp_path / "clips", (0, 3), (3, 4.5), (4.5, 6))
    first, *others = clips.values()
    assert (first.damage, indices_and_times(first.path)[0]) == (None, list(range(60)))
    assert [other.error for other in others] == [None, None]
    assert all("no new frame" in str(other.empty) for other in others)


@pytest.mark.parametrize("kind", [".mkv", ".webm", "_heard.mkv"])
@pytest.mark.parametrize("left", ["cut off", "zeros"])
def test_what_is_lost_is_still_lost(kind: str, left: str, tmp_path: Path) -> None:
    painting = held(
        paint(tmp_path / f"a{kind}", seconds=6, **KINDS[kind]), tmp_path / f"b{kind}", 9
    )
    video, path = video_of(painting), Path(painting.path)
    data = path.read_bytes()
    half = len(data) // 2
    assert is_whole(str(path), "matroska,webm")
    path.write_bytes(
        data[:half] + (bytes(len(data) - half - 400) + data[-400:]) * (left == "zeros")
    )
    assert not is_whole(str(path), "matroska,webm")
    mute = Encoding(preset="ultrafast", audio="none")
    *_, before, last = cut(
        str(path), video, planned_at((0, 6), (8, 10), (12, 14)), Recipe(tmp_path, mute)
    )
    assert "the source shows no frame" in str(before.error)
    assert "the source shows no frame" in str(last.error)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_short_clip_that_lacks_some_pictures_says_so(suffix: str, tmp_path: Path) -> None:
    painting = paint(tmp_path / f"a{suffix}", seconds=3, b_frames=0, gop=15)
    video, path = video_of(painting), Path(painting.path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    *_, last = cut(str(path), video, planned_at((1, 2), (2, 3)), Recipe(tmp_path, QUICK))
    assert "missing" in str(last.damage)


def test_pictures_that_cannot_be_decoded_are_no_still(tmp_path: Path) -> None:
    """The file is whole, and what the last packets hold is noise."""
    painting = paint(tmp_path / "noise.mkv", seconds=6, codec="mjpeg", pix_fmt="yuvj420p")
    video, path = video_of(painting), Path(painting.path)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as film:
        packets = [(packet.pos or 0, packet.size) for packet in film.demux(video=0) if packet.size]
    for place, size in packets[90:]:
        # What follows the head of the block, of four bytes.
        data[place + 4 : place + size] = bytes(size - 4)
    path.write_bytes(data)
    assert is_whole(str(path), "matroska,webm")
    shown, lost = cut(str(path), video, planned_at((0, 2), (4, 6)), Recipe(tmp_path, QUICK))
    assert shown.damage is None
    assert "the source shows no frame" in str(lost.error)
