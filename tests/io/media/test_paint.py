"""The painter tells the truth: what it says of a film is what a decoder finds in it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from footage import CASES, WITHOUT_TIMES, painted
from painted import (
    ORIENTATIONS,
    UPRIGHT,
    Orientation,
    find_index,
    hear_beeps,
    read_index,
)

from finecut.io.media.testfilm.paint import (
    Crossing,
    Flash,
    Painting,
    Scene,
    Transition,
    demo_films,
    paint,
)
from finecut.io.media.testfilm.scenery import LARGEST_INDEX, Array, strip_height, strip_row


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


def _seconds(ticks: int | None, time_base: Fraction | None) -> Fraction:
    assert ticks is not None
    assert time_base is not None
    return ticks * time_base


def _decoded(film: Painting) -> tuple[list[Fraction], list[tuple[int, Orientation]]]:
    """Exact times from the first frame, and index with orientation, in presentation order."""
    with av.open(film.path) as container:
        stream = container.streams.video[0]
        frames = [(_seconds(f.pts, f.time_base), find_index(f)) for f in container.decode(stream)]
    return [at - frames[0][0] for at, _ in frames], [found for _, found in frames]


#: One of each kind; the clips that test_cutting reads back prove as much of the others.
QUICK = ("cfr", "vfr_bframes", "ten_bit_hevc", "av1", "ts", "avi", "rotated_90", "webm", "odd_size")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in sorted(set(CASES) - WITHOUT_TIMES)
    ],
)
def test_every_frame_carries_its_index_at_its_time(name: str, films: Path) -> None:
    film = painted(name, films)
    times, found = _decoded(film)
    lie = Orientation(-film.rotation % 360, False)
    assert found == [(index, lie) for index in range(len(film.times))]
    assert times == list(film.times)


SOUNDING = [name for name, case in CASES.items() if case.get("sound") and name not in WITHOUT_TIMES]


#: Each codec of sound, and sound that begins late.
HEARD = (*QUICK, "mkv", "mkv_vorbis", "audio_late")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in HEARD else pytest.mark.slow) for name in SOUNDING],
)
def test_beeps_are_heard_when_their_frames_are_shown(name: str, films: Path) -> None:
    film = painted(name, films)
    assert hear_beeps(film.path) == pytest.approx(film.beeps, abs=0.005)
    assert film.beeps or name == "silent"


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_decoders_see_the_rotation_that_sets_the_picture_upright(
    rotation: int, films: Path
) -> None:
    film = painted(f"rotated_{rotation}", films)
    with av.open(film.path) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation % 360 == rotation
    stored = frame.to_ndarray(format="rgb24")
    upright = np.rot90(stored, rotation // 90)
    assert upright.shape[1::-1] == film.upright_size
    assert read_index(upright) == 0
    with pytest.raises(ValueError, match="find_index"):
        read_index(stored)


@pytest.mark.parametrize("name", ["wide_pixels", "tall_pixels"])
def test_pixel_shape_is_written(name: str, films: Path) -> None:
    film = painted(name, films)
    with av.open(film.path) as container:
        assert container.streams.video[0].sample_aspect_ratio == film.sample_aspect_ratio


def test_starts_are_where_they_were_asked_for(films: Path) -> None:
    late, shifted = painted("late_start", films), painted("nonzero_start_mp4", films)
    for film in (late, shifted):
        with av.open(film.path) as container:
            video, sound = container.streams.video[0], container.streams.audio[0]
            assert _seconds(video.start_time, video.time_base) == film.start
            # An AAC stream begins up to one packet of priming before its first sample.
            starts = _seconds(sound.start_time, sound.time_base)
            priming = Fraction(1024, film.sample_rate) + Fraction(1, 1000)
            assert abs(starts - film.sound_start) <= priming


def test_group_structures_are_what_they_are_called(films: Path) -> None:
    def packets(name: str) -> list[tuple[int, bool]]:
        with av.open(painted(name, films).path) as container:
            return [(p.pts, p.is_keyframe) for p in container.demux(video=0) if p.pts is not None]

    assert sum(key for _, key in packets("long_gop")) == 1
    order = [pts for pts, _ in packets("bframes")]
    assert order != sorted(order)
    # In an open group frames follow a keyframe in the file that are shown before it.
    assert any(key and later < pts for (pts, key), (later, _) in pairwise(packets("open_gop")))
    for name in ("bframes", "hevc"):
        assert not any(key and later < pts for (pts, key), (later, _) in pairwise(packets(name)))


def test_range_is_written(films: Path) -> None:
    for name, wanted in (("full_range", 2), ("mjpeg", 2)):
        with av.open(painted(name, films).path) as container:
            frame = next(container.decode(video=0))
        assert frame.color_range == wanted
        assert frame.to_ndarray(format="gray").max() > 180


@pytest.mark.parametrize(
    "settings",
    [
        {"sound": "aac"},
        {"codec": "libx265"},
        {"codec": "libvpx-vp9", "suffix": ".webm", "sound": "libopus"},
        {"codec": "libsvtav1", "suffix": ".mkv"},
    ],
    ids=str,
)
def test_same_arguments_same_bytes(settings: dict[str, str], tmp_path: Path) -> None:
    suffix = settings.pop("suffix", ".mp4")
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    for path in (one, two):
        paint(path, seconds=1.5, cuts=[0.7], **settings)  # type: ignore[arg-type]
    assert one.read_bytes() == two.read_bytes()


def _strip(index: int, width: int, height: int) -> Array:
    picture = np.full((height, width), 120, np.uint8)
    picture[-strip_height(height) :] = strip_row(index, width)
    return picture


@pytest.mark.parametrize("size", [(160, 90), (90, 160), (320, 180), (321, 241), (1920, 1080)])
@pytest.mark.parametrize("index", [0, 1, 54321, LARGEST_INDEX])
def test_strip_is_read_in_every_orientation_and_cropped(index: int, size: tuple[int, int]) -> None:
    picture = _strip(index, *size)
    for cropped in (picture, picture[:-1], picture[:, :-1], picture[1:, 1:]):
        assert read_index(cropped) == index
    for lie in ORIENTATIONS:
        lying = np.rot90(picture[:, ::-1] if lie.mirrored else picture, lie.turned // 90)
        assert find_index(lying) == (index, lie)
        if lie != UPRIGHT:
            with pytest.raises(ValueError, match="No frame index"):
                read_index(lying)


@pytest.mark.parametrize("across", [0.5, 0.75, 1, 1.37, 2])
@pytest.mark.parametrize("down", [0.5, 1, 1.5, 2])
def test_lossy_strip_is_read_after_scaling(across: float, down: float, films: Path) -> None:
    with av.open(painted("cfr", films).path) as container:
        for wanted, frame in enumerate(container.decode(video=0)):
            if wanted % 10 == 0:
                size = round(frame.width * across), round(frame.height * down)
                assert read_index(frame.reformat(*size, format="yuv420p")) == wanted


@pytest.mark.parametrize(
    ("codec", "options", "suffix"),
    [
        ("libx264", {"crf": "28", "preset": "ultrafast"}, ".mp4"),
        ("libx265", {"crf": "30"}, ".mp4"),
        ("libvpx-vp9", {"crf": "40"}, ".webm"),
        ("libsvtav1", {"crf": "45"}, ".mkv"),
        ("mpeg4", {"b": "150000"}, ".avi"),
    ],
)
def test_coarse_quality_keeps_the_smallest_strip(
    codec: str, options: dict[str, str], suffix: str, tmp_path: Path
) -> None:
    film = paint(
        tmp_path / f"film{suffix}",
        width=160,
        height=90,
        seconds=3,
        cuts=[1.1, 2.2],
        codec=codec,
        codec_options=options,
    )
    _, found = _decoded(film)
    assert found == [(index, UPRIGHT) for index in range(90)]


def test_blended_frames_are_refused() -> None:
    blend = _strip(7, 320, 180) / 2 + _strip(8, 320, 180) / 2
    with pytest.raises(ValueError, match="blended"):
        read_index(blend)


def test_truth_of_ranges(tmp_path: Path) -> None:
    film = paint(tmp_path / "film.mp4", seconds=2, cuts=[0.5, 1.5])
    assert film.indices_between(0.5, 1.5) == range(15, 45)
    assert film.indices_between(0, film.duration) == range(60)
    assert film.indices_between(1 / 30, 2 / 30) == range(1, 2)
    assert film.indices_between(1.5, 0.5) == range(45, 45)


def test_ball_moves_at_its_velocity_and_cuts_change_the_picture(tmp_path: Path) -> None:
    film = paint(
        tmp_path / "film.mkv",
        seconds=2,
        cuts=[1],
        codec="libx264",
        codec_options={"crf": "10"},
        scenes=[Scene(4, (60, 0)), Scene(1)],
    )
    with av.open(film.path) as container:
        frames = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    steps = [np.abs(b[:160] - a[:160]).mean() for a, b in pairwise(frames)]
    assert int(np.argmax(steps)) == 29
    assert steps[29] > 10 * max(steps[:29])
    assert max(steps[30:]) < 0.5
    centres = [np.flatnonzero((f[:160] > 200).any(axis=0)).mean() for f in (frames[0], frames[28])]
    assert (centres[1] - centres[0]) / (28 / 30) == pytest.approx(60, abs=3)


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("film.gif", {}, "gif"),
        ("film.mp4", {"times": [0, Fraction(1, 999_983), 1]}, None),
        ("film.mp4", {"times": [0, Fraction(1, 1_000_003)]}, "clock"),
        ("film.mp4", {"width": 321}, "go together"),
        ("film.mp4", {"codec": "nosuch"}, "nosuch"),
        ("film.webm", {"sound": "aac", "codec": "libvpx-vp9"}, "aac"),
    ],
)
def test_wrong_requests_are_refused_in_sentences(
    name: str, settings: dict[str, object], reason: str | None, tmp_path: Path
) -> None:
    if reason is None:
        paint(tmp_path / name, **settings)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=reason) as caught:
        paint(tmp_path / name, **settings)  # type: ignore[arg-type]
    assert str(caught.value).endswith(".")


def _luma(film: Painting) -> list[Array]:
    """Every frame's luma above the strip, set upright; each has to carry its index."""
    pictures = []
    strip = strip_height(film.upright_size[1])
    with av.open(film.path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            picture = np.rot90(frame.to_ndarray(format="gray"), film.rotation // 90)
            assert read_index(picture) == index
            pictures.append(picture[:-strip].astype(float))
    assert len(pictures) == len(film.times)
    return pictures


FINE = {"codec_options": {"crf": "4"}, "scenes": [Scene(1), Scene(0)]}


def test_a_fade_is_darkest_at_the_cut_and_leaves_no_trace_outside(tmp_path: Path) -> None:
    plain = _luma(paint(tmp_path / "plain.mp4", cuts=[2], **FINE))  # type: ignore[arg-type]
    film = paint(
        tmp_path / "film.mp4",
        cuts=[2],
        transitions=[Transition("fade", 1)],
        **FINE,  # type: ignore[arg-type]
    )
    assert film.transitions == (Crossing("fade", 1.5, 2.5),)
    assert film.changing == (range(46, 75),)
    pictures = _luma(film)
    light = [picture.mean() for picture in pictures]
    assert int(np.argmin(light)) == 60
    assert light[60] < 1
    assert light[45:61] == sorted(light[45:61], reverse=True)
    assert light[60:76] == sorted(light[60:76])
    assert light[46] < plain[46].mean() - 2
    for index in (0, 20, 45, 75, 100):
        assert np.abs(pictures[index] - plain[index]).mean() < 1.5


@pytest.mark.parametrize("extra", [{}, {"rotation": 90}, {"pix_fmt": "yuv444p"}], ids=str)
def test_the_middle_of_a_dissolve_is_the_mean_of_both_scenes(
    extra: dict[str, object], tmp_path: Path
) -> None:
    settings = {"cuts": [2], **FINE, **extra}
    plain = _luma(paint(tmp_path / "plain.mp4", **settings))  # type: ignore[arg-type]
    film = paint(
        tmp_path / "film.mp4",
        transitions=[Transition("dissolve", 0.5)],
        **settings,  # type: ignore[arg-type]
    )
    assert film.changing == (range(53, 68),)
    pictures = _luma(film)
    old, new = plain[0], plain[-1]
    assert np.abs(new - old).mean() > 20
    for index, share in ((52, 0), (56, 4 / 15), (60, 0.5), (64, 11 / 15), (68, 1)):
        there = (index - 52.5) / 15
        assert share == pytest.approx(there, abs=0.04)
        wanted = old + (new - old) * np.clip(there, 0, 1)
        assert np.abs(pictures[index] - wanted).mean() < 1.5


def test_both_scenes_move_while_they_dissolve(tmp_path: Path) -> None:
    """The ball of the new scene is on its way before the cut: nothing jumps at the cut."""
    film = paint(
        tmp_path / "film.mkv",
        cuts=[2],
        scenes=[Scene(4, (60, 0)), Scene(4, (-50, 20), 90)],
        transitions=[Transition("dissolve", 1)],
    )
    steps = [np.abs(b - a).mean() for a, b in pairwise(_luma(film))]
    assert min(steps[46:73]) > 0.3
    assert max(steps[55:65]) < 1.5 * float(np.median(steps[48:72]))


@pytest.mark.parametrize("full_range", [False, True])
def test_a_flash_is_white_for_exactly_its_frames(full_range: bool, tmp_path: Path) -> None:
    film = paint(
        tmp_path / "film.mp4",
        cuts=[2],
        flashes=[Flash(0.5, 1), Flash(1, 3), Flash(3.5)],
        full_range=full_range,
    )
    assert film.flashing == (range(15, 16), range(30, 33), range(105, 107))
    assert film.cuts == (2.0,)
    white = [index for index, picture in enumerate(_luma(film)) if picture.min() > 200]
    assert white == [15, 30, 31, 32, 105, 106]


def test_hard_cuts_are_what_one_gets_without_asking(tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    film = paint(one, cuts=[1, 2.5])
    assert film.changing == (range(29, 30), range(74, 75))
    paint(two, cuts=[1, 2.5], transitions=[Transition(), Transition("cut")], flashes=[])
    assert one.read_bytes() == two.read_bytes()
    softened = [tmp_path / "three.mp4", tmp_path / "four.mp4"]
    for path in softened:
        paint(
            path,
            cuts=[1, 2.5],
            transitions=[Transition("dissolve", 1), Transition("fade", 1)],
            flashes=[Flash(0.2)],
        )
    assert softened[0].read_bytes() == softened[1].read_bytes() != one.read_bytes()


def test_demo_films_are_true(tmp_path: Path) -> None:
    for film in demo_films(tmp_path):
        times, found = _decoded(film)
        assert found == [(index, UPRIGHT) for index in range(len(film.times))]
        assert times == list(film.times)
        assert hear_beeps(film.path) == pytest.approx(film.beeps, abs=0.005)
        assert 8 <= film.duration <= 15
        assert len(film.cuts) >= 2
