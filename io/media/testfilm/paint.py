"""Films whose truth is known, painted on the spot.

``paint()`` writes a video file and returns a :class:`Painting`: when each frame is shown,
where the cuts are, when the sound beeps.  A cutter fed with such films can be checked
exactly, since every frame carries its own number (see :mod:`finecut.io.media.testfilm.scenery`)::

    film = paint("film.mp4", seconds=10, cuts=[3.0, 6.5], sound="aac")
    film.times[42]                       # Fraction: when frame 42 is shown
    film.indices_between(3.0, 6.5)       # range: the frames of the second scene
    film.beeps                           # a beep begins with the first frame of each scene

A film is a row of scenes, one landscape each, with a hard cut between them.  In each a ball
moves at ``Scene.velocity`` pixels per second, bouncing off the edges, and the landscape
passes by at ``Scene.pan`` pixels per second; set both to zero for a still scene.

A cut can be softened by a :class:`Transition`, which is centred on it.  Its frames (for a cut
the last of the old scene) are what a detector of scenes should find, ``Painting.changing``::

                      cut                                cut
    old  ─────────────╮                 old  ────────╲    ┊
    new               ╰─────────────                  ╲   ┊    ╱──────────── new
         "cut"       one frame               "fade"    ╲__┊___╱   darkest at the cut
                                                    │ seconds │
    old  ─────────╲ ┊  ╱────────────
                   ╲┊ ╱                 both scenes move all the while, each on its own
    new            ╱╲╱   "dissolve"     clock, which is 0 at its cut and negative before
                  │  ┊  │

A :class:`Flash` resembles a cut without being one: some nearly white frames in a scene.
Neither touches the strip with the frame's number.

Clocks.  ``times``, ``cuts`` and ``beeps`` count seconds from the first video frame.
``start`` and ``sound_start`` place the first frame and the first sample on the container's
clock, so they can begin late, or apart.  MP4 and MOV hold any frame time exactly but round
starts to milliseconds; Matroska and WebM round everything to milliseconds, MPEG-TS to
1/90000 s (``times`` says what was really written); AVI has no timestamps and takes neither
``times`` nor starts.  Where a container cannot hold the negative timestamps of B-frames or
codec priming, its writer moves all streams together, which leaves these clocks as they are.
``duration`` ends with the last frame's display; what a container claims may differ, in MP4
most with uneven times and B-frames.

``width`` and ``height`` are those of the stored picture.  With ``rotation`` the picture is
stored turned, as telephones do, and the file tells players to turn it back: upright is
``numpy.rot90(stored, rotation // 90)``, the counter-clockwise angle that PyAV reports as
``frame.rotation``.

The same arguments give the same bytes on the same library versions; encoders run on one
thread for that reason.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av

from finecut.io.media.testfilm.easel import codec_settings, write
from finecut.io.media.testfilm.scenery import (
    SAME,
    Crossing,
    Flash,
    Number,
    Painting,
    Scene,
    Transition,
)

__all__ = ["Crossing", "Flash", "Painting", "Scene", "Transition", "paint"]

# Ticks per second of containers that cannot hold every time.
_COARSE = {".mkv": 1000, ".webm": 1000, ".ts": 90000}


def paint(
    path: str | Path,
    *,
    width: int = 320,
    height: int = 180,
    rate: Number = 30,
    seconds: Number | None = None,
    times: Sequence[Number] | None = None,
    cuts: Sequence[Number] = (),
    scenes: Sequence[Scene] | None = None,
    transitions: Sequence[Transition] | None = None,
    flashes: Sequence[Flash] = (),
    codec: str = "libx264",
    codec_options: Mapping[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    gop: int | None = None,
    b_frames: int | None = None,
    open_gop: bool = False,
    start: Number = 0,
    rotation: int = 0,
    sample_aspect_ratio: Number = 1,
    full_range: bool = False,
    sound: str | None = None,
    sound_start: Number = 0,
    sample_rate: int = 48000,
    beeps: Sequence[int] | None = None,
) -> Painting:
    """Paint a film and say what is true of it; the container follows from the suffix.

    Frames come at ``rate`` for ``seconds`` (4 by default), or at the explicit ``times``,
    which begin with 0 and rise; the last frame then lasts as long as the one before it.
    ``cuts`` are the times from which each next scene is shown; they rise.  ``scenes``, if given,
    are one more than the cuts, and ``transitions`` as many as the cuts; each must end before the
    next begins.
    ``flashes`` lie within one scene, outside of transitions.  ``codec`` and ``sound`` are
    names of FFmpeg encoders.  ``beeps`` are indices of frames that begin with a beep: by
    default the first of each scene but the opening one, or the middle frame of a film
    without cuts.
    """
    path, rate = Path(path), Fraction(rate)
    start, sound_start = Fraction(start), Fraction(sound_start)
    ticks = _COARSE.get(path.suffix.lower())
    shown = _times(rate, seconds, times)
    step = shown[-1] - shown[-2] if times and len(shown) > 1 else 1 / rate
    if ticks:
        origin = Fraction(round(start * ticks), ticks)
        shown = tuple(Fraction(round((start + at) * ticks), ticks) - origin for at in shown)
        start = origin
    firsts = [bisect_left(shown, Fraction(cut) - SAME) for cut in cuts]
    if beeps is None:
        beeps = firsts or [len(shown) // 2]
    upright = (height, width) if rotation % 180 else (width, height)
    film = Painting(
        path=str(path),
        width=width,
        height=height,
        rate=rate,
        times=shown,
        duration=shown[-1] + step,
        cuts=tuple(float(shown[first]) for first in firsts),
        scenes=tuple(scenes or _scenes(len(firsts) + 1, upright)),
        codec=codec,
        pix_fmt=pix_fmt,
        start=start,
        rotation=rotation,
        sample_aspect_ratio=Fraction(sample_aspect_ratio),
        full_range=full_range or pix_fmt.startswith("yuvj"),
        sound=sound,
        sound_start=sound_start,
        sample_rate=sample_rate,
        beeps=tuple(
            float(shown[index]) for index in beeps if sound and start + shown[index] >= sound_start
        ),
        transitions=tuple(_crossings(shown, firsts, transitions)),
        flashes=tuple(flashes),
    )
    asked = {k: str(n) for k, n in (("g", gop), ("bf", b_frames)) if n is not None}
    try:
        write(film, codec_settings(codec, {**asked, **(codec_options or {})}, open_gop))
    except (av.error.FFmpegError, ValueError) as error:
        raise ValueError(
            f"The film {path} could not be painted with {codec}, {pix_fmt}, {width}x{height} "
            f"and sound {sound}: {error}. Choose a codec, pixel format, size and sound that "
            f"go together and into a {path.suffix} file."
        ) from error
    return film


def _times(
    rate: Fraction, seconds: Number | None, times: Sequence[Number] | None
) -> tuple[Fraction, ...]:
    if times is not None:
        return tuple(Fraction(at) for at in times)
    count = max(1, round(Fraction(4 if seconds is None else seconds) * rate))
    return tuple(index / rate for index in range(count))


def _crossings(
    times: tuple[Fraction, ...], firsts: Sequence[int], transitions: Sequence[Transition] | None
) -> Iterator[Crossing]:
    hard = [Transition()] * len(firsts)
    for first, transition in zip(firsts, transitions or hard, strict=True):
        cut, half = times[first], Fraction(transition.seconds) / 2
        yield Crossing(transition.kind, float(cut - half), float(cut + half))


def _scenes(count: int, size: tuple[int, int]) -> Iterator[Scene]:
    speed = math.hypot(*size)
    for number in range(count):
        velocity = (speed * (0.22, -0.3, 0.15)[number % 3], speed * 0.06 * (number % 4))
        yield Scene(number, velocity, speed * (0.0, 0.05, -0.08)[number % 3])


def demo_films(folder: str | Path) -> list[Painting]:
    """The films of ``finecut demo``, to show and to try the cutter on, painted into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        paint(
            folder / "morning.mp4",
            width=640,
            height=360,
            rate=30,
            seconds=12,
            cuts=(3.5, 7.0, 9.2),
            sound="aac",
            scenes=(
                Scene(0, (90, -12), 90, texture=8),
                Scene(1, (40, 30)),
                Scene(3, (-110, 40), 120, texture=8),
                Scene(2, (60, 10), -90, texture=8),
            ),
        ),
        paint(
            folder / "night.webm",
            width=480,
            height=270,
            rate=24,
            seconds=10,
            cuts=(2.75, 6.25),
            sound="libopus",
            codec="libvpx-vp9",
            transitions=(Transition("dissolve", 0.6), Transition()),
            scenes=(
                Scene(2, (70, -8), 96, texture=8),
                Scene(4, (45, 12)),
                Scene(0, (-80, -15), -72, texture=8),
            ),
        ),
        paint(
            folder / "desert.mov",
            width=426,
            height=240,
            rate=25,
            seconds=9,
            cuts=(2.4, 5.0, 7.6),
            transitions=(Transition(), Transition("fade", 0.8), Transition()),
            sound="pcm_s16le",
            scenes=(
                Scene(5, (80, 15), 100, texture=8),
                Scene(1, (-60, 20), 50, texture=8),
                Scene(3, (50, -30), -100, texture=8),
                Scene(5, (0, 0)),
            ),
        ),
    ]
