"""The detector without a model finds the transitions of films that were painted with them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from places import SHARED
from shot_scores import Run, f1, matched, runs

from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH
from finecut.io.media.testfilm.paint import Flash, Painting, Scene, Transition, paint
from finecut.transforms.split.content import Content, transitions
from finecut.transforms.split.distances import REACH

Frames = npt.NDArray[np.uint8]

CUT, DISSOLVE, FADE = Transition(), Transition("dissolve", 0.8), Transition("fade", 1)
SHORT_DISSOLVE, LONG_FADE = Transition("dissolve", 0.5), Transition("fade", 1.6)
#: Shots that differ in everything, and shots of the same colours that differ in their hills only.
STILL = (Scene(0), Scene(1), Scene(2), Scene(3), Scene(4), Scene(5))
ALIKE = (Scene(1), Scene(1, (30, 0)), Scene(1), Scene(1, (0, 20)), Scene(1), Scene(1, (-30, 10)))
BUSY = (
    Scene(0, (200, 60), 60),
    Scene(3, (-180, 90), -120),
    Scene(5, (90, -150), 200),
    Scene(1, (250, 0), -60),
    Scene(2, (-60, 120), 160),
    Scene(4, (120, 40), -90),
)
FIVE = (1.2, 2.6, 4.1, 5.5, 7.0)
FLASHES = (Flash(0.6, 1), Flash(2, 2), Flash(3.3, 3), Flash(5, 2), Flash(6.2, 1))

FILMS: dict[str, dict[str, Any]] = {
    "cuts_24": {"rate": 24},
    "cuts_30": {},
    "cuts_60": {"rate": 60},
    "cuts_ntsc_portrait": {"rate": Fraction(30000, 1001), "width": 180, "height": 320},
    "cuts_of_stills": {"scenes": STILL},
    "cuts_of_busy_shots": {"scenes": BUSY},
    "cuts_between_similar_shots": {"scenes": ALIKE},
    "cuts_coarse": {"codec_options": {"crf": "36"}, "scenes": BUSY},
    "cuts_3_to_5_frames_apart": {"cuts": (1, 1.1, 1.1 + 4 / 30, 1.4, 3, 3 + 5 / 30)},
    "no_cut_fast_pan": {"cuts": (), "scenes": [Scene(3, (0, 0), 500)]},
    "no_cut_fast_ball": {"cuts": (), "scenes": [Scene(4, (900, 500))]},
    "no_cut_still": {"cuts": (), "scenes": [Scene(2)]},
    "no_cut_flashes": {"cuts": (), "flashes": FLASHES, "scenes": [Scene(0, (80, 30), 40)]},
    "no_cut_flashes_60": {"cuts": (), "rate": 60, "flashes": FLASHES, "scenes": [Scene(5)]},
    "cuts_and_flashes": {"flashes": FLASHES},
    "cuts_and_flashes_in_busy_shots": {"flashes": FLASHES, "scenes": BUSY},
    "fades": {"transitions": [FADE] * 5},
    "fades_24_busy": {"rate": 24, "transitions": [FADE] * 5, "scenes": BUSY},
    "fades_60": {"rate": 60, "transitions": [FADE] * 5},
    "cuts_fades_flashes": {
        "transitions": [CUT, FADE, CUT, Transition("fade", 0.5), CUT],
        "flashes": (Flash(0.6, 2), Flash(1.8, 1), Flash(3.4, 3), Flash(6.2, 1)),
    },
}
DISSOLVED: dict[str, dict[str, Any]] = {
    "dissolves": {"transitions": [DISSOLVE] * 5},
    "dissolves_24": {"rate": 24, "transitions": [SHORT_DISSOLVE] * 5},
    "dissolves_60": {"rate": 60, "transitions": [DISSOLVE] * 5},
    "dissolves_of_stills": {"scenes": STILL, "transitions": [Transition("dissolve", 1)] * 5},
    "dissolves_coarse": {"transitions": [SHORT_DISSOLVE] * 5, "codec_options": {"crf": "34"}},
    "all_kinds": {
        "transitions": [CUT, DISSOLVE, FADE, SHORT_DISSOLVE, CUT],
        "flashes": (Flash(0.6, 2), Flash(6.2, 1)),
    },
}


def read(path: str) -> Frames:
    """All frames of a film as the detector takes them."""
    with av.open(path) as container:
        frames = [
            frame.to_ndarray(width=WIDTH, height=HEIGHT, format="rgb24")
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)


def found(frames: Sequence[Frames] | Frames) -> list[Run]:
    verdicts = list(transitions(frames))
    assert len(verdicts) == len(frames)
    assert {type(verdict) for verdict in verdicts} <= {bool}
    return runs(verdicts)


def truth(film: Painting) -> list[Run]:
    return [(frames.start, frames.stop - 1) for frames in film.changing]


Shown = tuple[Painting, Frames]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shown]:
    """Paint a case, once, and read it back."""
    folder = tmp_path_factory.mktemp("content")

    @cache
    def painted(name: str) -> Shown:
        case = {"seconds": 8.2, "cuts": FIVE, **(FILMS | DISSOLVED)[name]}
        film = paint(folder / f"{name}.mp4", **case)
        return film, read(film.path)

    return painted


# ── painted films ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FILMS)
def test_transitions_are_where_they_were_painted(name: str, shown: Callable[[str], Shown]) -> None:
    film, frames = shown(name)
    wanted = truth(film)
    assert len(wanted) == len(film.cuts)
    hits = found(frames)
    assert len(matched(hits, wanted)) == len(hits) == len(wanted), (hits, wanted)
    for hit, run, crossing in zip(hits, wanted, film.transitions, strict=True):
        # A cut to the frame; a fade may lose its first and last frames, which are hardly darker.
        slack = 0 if crossing.kind == "cut" else 4
        assert abs(hit[0] - run[0]) <= slack
        assert abs(hit[1] - run[1]) <= slack


def _score(films: Iterator[Shown], spoil: Callable[[Frames], Frames] = lambda x: x) -> float:
    """F1 over several films as if they were one."""
    pairs, hits, wanted = 0, 0, 0
    for film, frames in films:
        one, other = found(spoil(frames)), truth(film)
        pairs += len(matched(one, other))
        hits += len(one)
        wanted += len(other)
    assert wanted >= 20
    return 2 * pairs / (hits + wanted)


def _noisy(frames: Frames) -> Frames:
    noise = np.random.default_rng(1).normal(0, 4, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def _letterboxed(frames: Frames) -> Frames:
    frames = frames.copy()
    frames[:, :4] = frames[:, -4:] = 0
    return frames


def _drifting(frames: Frames) -> Frames:
    light = 0.8 + 0.2 * np.sin(np.arange(len(frames)) / 40)
    return (frames * light[:, None, None, None]).astype(np.uint8)


SPOILT = {
    "clean": lambda frames: frames,
    "noisy": _noisy,
    "letterboxed": _letterboxed,
    "drifting light": _drifting,
    "mirrored": lambda frames: frames[:, :, ::-1],
}
HOW = [
    pytest.param(how, marks=() if how in ("noisy", "drifting light") else pytest.mark.slow)
    for how in SPOILT
]


@pytest.mark.parametrize("how", HOW)
def test_hard_cuts_among_flashes_and_fades(how: str, shown: Callable[[str], Shown]) -> None:
    assert _score(map(shown, FILMS), SPOILT[how]) >= 0.95


@pytest.mark.parametrize("how", HOW)
def test_dissolves(how: str, shown: Callable[[str], Shown]) -> None:
    assert _score(map(shown, DISSOLVED), SPOILT[how]) >= 0.9


def test_the_run_of_a_dissolve_is_about_as_long_as_the_dissolve(
    shown: Callable[[str], Shown],
) -> None:
    film, frames = shown("dissolves_of_stills")
    for hit, run in matched(found(frames), truth(film)):
        assert abs(hit[0] - run[0]) <= 3
        assert abs(hit[1] - run[1]) <= 3


# ── frames made here ────────────────────────────────────────────────────────────────────────────


def picture(seed: int) -> Frames:
    """A picture of some soft blobs in some colours, as unlike others as films are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (4, 6, 3)).astype(float)
    down, across = (
        np.maximum(0, 1 - np.abs(np.linspace(0, knots - 1, size)[:, None] - np.arange(knots)))
        for knots, size in ((4, HEIGHT), (6, WIDTH))
    )
    return np.einsum("yr,rcx,zc->yzx", down, coarse, across).astype(np.uint8)


def shot(seed: int, length: int) -> list[Frames]:
    return [picture(seed)] * length


def colour(*rgb: int, length: int) -> list[Frames]:
    return [np.full((HEIGHT, WIDTH, 3), rgb, np.uint8)] * length


def ramp(seed: int, start: float, end: float, length: int) -> list[Frames]:
    """A picture whose light goes from start towards end, both of which are left out."""
    light = np.linspace(start, end, length + 2)[1:-1]
    return [(picture(seed) * share).astype(np.uint8) for share in light]


def blend(one: int, two: int, length: int) -> list[Frames]:
    shares = np.linspace(0, 1, length + 2)[1:-1]
    return [(picture(one) * (1 - w) + picture(two) * w).astype(np.uint8) for w in shares]


BLACK, WHITE = (0, 0, 0), (255, 255, 255)

MADE: dict[str, tuple[list[Frames], list[Run]]] = {
    "nothing": ([], []),
    "one frame": (shot(1, 1), []),
    "two frames alike": (shot(1, 2), []),
    "two frames": (shot(1, 1) + shot(2, 1), [(0, 0)]),
    "a still": (shot(1, 200), []),
    "a black film": (colour(*BLACK, length=200), []),
    "a white film": (colour(*WHITE, length=200), []),
    "a red film": (colour(200, 10, 10, length=200), []),
    "red, then blue": (
        colour(200, 10, 10, length=30) + colour(10, 10, 200, length=30),
        [(29, 29)],
    ),
    "two stills": (shot(1, 30) + shot(2, 30), [(29, 29)]),
    "a cut after the first frame": (shot(1, 1) + shot(2, 30), [(0, 0)]),
    "a cut before the last frame": (shot(1, 30) + shot(2, 1), [(29, 29)]),
    "cuts at the ends of blocks": (shot(1, 64) + shot(2, 64) + shot(3, 10), [(63, 63), (127, 127)]),
    "three frames of another shot": (shot(1, 30) + shot(2, 3) + shot(1, 30), [(29, 29), (32, 32)]),
    "one frame of another shot": (shot(1, 30) + shot(2, 1) + shot(1, 30), []),
    "cuts every three frames": (
        [frame for seed in range(9) for frame in shot(seed, 3)],
        [(3 * n + 2, 3 * n + 2) for n in range(8)],
    ),
    "a flash": (shot(1, 30) + colour(*WHITE, length=3) + shot(1, 30), []),
    "a flash, then a cut": (
        shot(1, 30) + colour(*WHITE, length=2) + shot(1, 6) + shot(2, 30),
        [(37, 37)],
    ),
    "two black frames in a shot": (shot(1, 30) + colour(*BLACK, length=2) + shot(1, 30), []),
    "a dissolve": (shot(1, 40) + blend(1, 2, 20) + shot(2, 40), [(40, 59)]),
    "one blended frame": (shot(1, 40) + blend(1, 2, 1) + shot(2, 40), [(40, 40)]),
    "a fade through black": (
        shot(1, 40) + ramp(1, 1, 0, 12) + colour(*BLACK, length=5) + ramp(2, 0, 1, 12)
        + shot(2, 40),
        [(40, 68)],
    ),
    "a fade through white": (
        shot(1, 40)
        + [(frame * 0.5 + 127).astype(np.uint8) for frame in shot(1, 1)]
        + colour(*WHITE, length=8)
        + shot(2, 40),
        [(40, 48)],
    ),
    "black between two shots": (
        shot(1, 40) + colour(*BLACK, length=10) + shot(2, 40),
        [(39, 49)],
    ),
    "black for a long time between two shots": (
        shot(1, 40) + ramp(1, 1, 0, 10) + colour(*BLACK, length=300) + ramp(2, 0, 1, 10)
        + shot(2, 40),
        [(40, 359)],
    ),
    "a fade-in at the beginning": (
        colour(*BLACK, length=30) + ramp(1, 0, 1, 20) + shot(1, 50),
        [],
    ),
    "a fade-out at the end": (shot(1, 50) + ramp(1, 1, 0, 20) + colour(*BLACK, length=20), []),
    "long black at the end": (
        shot(1, 50) + ramp(1, 1, 0, 20) + colour(*BLACK, length=100),
        [(50, 169)],
    ),
    "light that goes and comes": (
        shot(1, 20) + ramp(1, 1, 0.5, 60) + ramp(1, 0.5, 1, 60) + shot(1, 20),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_made_films(name: str) -> None:
    frames, wanted = MADE[name]
    hits = found(frames)
    assert len(hits) == len(wanted), hits
    for hit, run in zip(hits, wanted, strict=True):
        slack = 0 if run[0] == run[1] else 2
        assert abs(hit[0] - run[0]) <= slack
        assert abs(hit[1] - run[1]) <= slack


def test_a_strict_ratio_finds_less() -> None:
    frames = shot(1, 30) + shot(2, 30)
    assert runs(transitions(frames, Content(ratio=10))) == [(29, 29)]
    assert runs(transitions(frames, Content(ratio=1000))) == []


def test_longer_flashes_are_overlooked_when_asked() -> None:
    lit = [(frame // 4 + 191).astype(np.uint8) for frame in shot(1, 5)]
    frames = shot(1, 30) + lit + shot(1, 30)
    assert runs(transitions(frames, Content(longest_flash=5))) == []
    assert runs(transitions(frames)) != []


# ── streaming ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mixed() -> list[Frames]:
    """A film in which something of every kind happens."""
    rng = np.random.default_rng(0)
    frames = [frame for name in sorted(MADE) for frame in MADE[name][0][:130]]
    noise = [rng.integers(0, 3, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(7)]
    return [np.maximum(frame, noise[n % 7]) for n, frame in enumerate(frames)]


@pytest.mark.parametrize(
    "extra", [37, *(pytest.param(extra, marks=pytest.mark.slow) for extra in (1, 150))]
)
def test_verdicts_do_not_depend_on_where_blocks_begin(mixed: list[Frames], extra: int) -> None:
    """What comes before a shot, and is far away, moves the blocks and nothing else."""
    lead = shot(99, 150)
    plain = list(transitions([*lead, *mixed]))
    moved = list(transitions([*lead, *shot(99, extra), *mixed]))
    assert sum(plain) > 100
    assert moved[extra:] == plain


def test_frames_are_taken_one_by_one_and_verdicts_follow_soon(mixed: list[Frames]) -> None:
    taken = itertools.count()
    most = given_back = last = 0

    def source() -> Iterator[Frames]:
        nonlocal last
        for frame in mixed:
            last = next(taken)
            yield frame

    for _ in transitions(source()):
        given_back += 1
        most = max(most, last - given_back)
    assert given_back == len(mixed) > 1000
    assert most < 4 * REACH


def test_verdicts_on_the_past_stay_what_they_are(mixed: list[Frames]) -> None:
    whole = list(transitions(mixed))
    for length in (200, 333, 700):
        part = list(transitions(mixed[:length]))
        sure = length - 2 * REACH
        assert part[:sure] == whole[:sure]


@pytest.mark.slow
def test_a_thousand_frames_in_a_second(mixed: list[Frames]) -> None:
    frames = mixed * 3
    start = time.process_time()
    assert len(list(transitions(frames))) == len(frames)
    assert len(frames) / (time.process_time() - start) > 1000


# ── real films ──────────────────────────────────────────────────────────────────────────────────

VIDEOS = SHARED / "videos"
#: Transitions as eyes find them; the last fade-out of the first film ends with the film.
REAL: dict[str, list[Run]] = {
    "psd_testvideo_720p2997_cuts.mp4": [(29, 29), (179, 239), (333, 422), (528, 558)],
    "psd_vfr_drop3.mp4": [(59, 59), (139, 139)],
    "tc_nasa_multistream.mp4": [(127, 150), (201, 201)],
    "decord_pancake_h264_opus.mkv": [],
    "mdn_crystal_vp8_vorbis.webm": [],
}


@pytest.mark.slow
@pytest.mark.skipif(not VIDEOS.exists(), reason="the shared films are not here")
@pytest.mark.parametrize("name", REAL)
def test_real_films(name: str) -> None:
    hits = found(read(str(VIDEOS / name)))
    assert f1(hits, REAL[name]) == 1
    for hit, run in zip(hits, REAL[name], strict=True):
        assert max(abs(hit[0] - run[0]), abs(hit[1] - run[1])) <= 3


# ── the score ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hits", "wanted", "score"),
    [
        ([], [], 1),
        ([(4, 4)], [], 0),
        ([], [(4, 4)], 0),
        ([(4, 4)], [(6, 6)], 1),
        ([(4, 4)], [(7, 7)], 0),
        ([(10, 20)], [(12, 14)], 1),
        ([(10, 20)], [(12, 14), (16, 18)], 2 / 3),
        ([(3, 3), (5, 5)], [(4, 4), (6, 6)], 1),
        ([(3, 3), (4, 4)], [(4, 4)], 2 / 3),
    ],
)
def test_score(hits: list[Run], wanted: list[Run], score: float) -> None:
    assert f1(hits, wanted) == pytest.approx(score)
    assert f1(wanted, hits) == pytest.approx(score)


def test_runs() -> None:
    assert runs([]) == []
    assert runs([False, True, True, False, True]) == [(1, 2), (4, 4)]
