"""Putting a painted film into its container: streams, clocks, frames and their encoding.

:func:`write` takes the truth that :func:`~finecut.io.media.testfilm.paint.paint` has settled and
makes a file of which it holds. Frames are drawn, encoded and written one by one, so memory does not
grow with length."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import cast

import av
import numpy as np

from finecut.io.media.codecs import opened
from finecut.io.media.frame_view import plane
from finecut.io.media.testfilm.scenery import Array, Painting, Scenery, strip_height

# Encoders and containers take clocks up to about this many ticks per second.
_FINEST = 1_000_000

# One thread everywhere: the number of threads changes what encoders write.
_CODEC_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libx265": {
        "preset": "ultrafast",
        "crf": "22",
        "x265-params": "log-level=error:pools=none:frame-threads=1",
    },
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    # Faster presets leave changed blocks of small pictures unencoded, the index among them.
    "libsvtav1": {"preset": "8", "crf": "30", "svtav1-params": "lp=1"},
}
_NEED_BIT_RATE = ("mpeg4", "mjpeg")
_JPEG_RANGE = 2
# Of 256 parts of a frame that is lit by a flash, this many are white.
_FLASH = 240

# Sound is silence with short beeps.
BEEP_SECONDS = 0.05
BEEP_HERTZ = 1000
_LOUDNESS = 0.5
# Names without an encoder of their own, or here.
_ENCODERS = {"mp3": "libmp3lame", "opus": "libopus", "libvorbis": "vorbis"}
#: Samples that encoders put before the first one they are given.
PRIMING = {"libmp3lame": 1105, "aac": 1024}


def codec_settings(codec: str, asked: Mapping[str, str], open_gop: bool) -> dict[str, str]:
    """The painter's options for a codec, overridden by the caller's; '-params' add up."""
    settings = {"threads": "1", **_CODEC_OPTIONS.get(codec, {})}
    added = {"libx264": "x264-params", "libx265": "x265-params"}.get(codec)
    if added:
        known = [settings[added]] if added in settings else []
        settings[added] = ":".join([*known, f"open-gop={int(open_gop)}"])
    for name, value in asked.items():
        both = name.endswith("-params") and name in settings
        settings[name] = f"{settings[name]}:{value}" if both else value
    return settings


def write(film: Painting, settings: dict[str, str]) -> None:
    """Paint the film into its file."""
    flags = {"fflags": "+bitexact"}
    if film.path.lower().endswith((".mp4", ".mov")):
        flags["movflags"] = "+faststart"
    with av.open(film.path, "w", container_options=flags) as container:
        video = _video_stream(container, film, settings)
        opened(video.codec_context)
        sound = Beeper(container, film, film.sound) if film.sound else None
        for at, frame in _frames(film):
            if sound:
                sound.send_until(film.start + at)
            container.mux(video.encode(frame))
        if sound:
            sound.send_until(film.start + film.duration)
            container.mux(sound.stream.encode(None))
        container.mux(video.encode(None))


class Beeper:
    """Writes silence with beeps into a container, as far as the picture has come."""

    def __init__(self, container: av.container.OutputContainer, film: Painting, sound: str) -> None:
        codec, rate = _ENCODERS.get(sound, sound), film.sample_rate
        # FFmpeg's own Vorbis encoder counts as experimental; PyAV ships no other.
        options = {"strict": "experimental"} if codec == "vorbis" else {}
        self.container = container
        self.stream = cast(av.AudioStream, container.add_stream(codec, rate=rate, options=options))
        self.stream.codec_context.layout = "stereo"
        self.stream.codec_context.flags |= av.codec.context.Flags.bitexact
        self.sample_rate = self.stream.codec_context.sample_rate
        self.sent = round(film.sound_start * self.sample_rate)
        if film.path.lower().endswith(".avi"):
            # AVI cannot say that the first samples are the encoder's priming, so they are played:
            # let them take the place of the first silence.
            self.sent += PRIMING.get(codec, 0)
        self.onsets = [
            round((film.start + Fraction(beep)) * self.sample_rate) for beep in film.beeps
        ]
        samples = np.arange(round(BEEP_SECONDS * self.sample_rate))
        tone = np.sin(samples * (2 * np.pi * BEEP_HERTZ / self.sample_rate))
        self.tone = np.rint(tone * (_LOUDNESS * 32767)).astype(np.int16)

    def send_until(self, at: Fraction) -> None:
        """Encode the sound up to this time on the container's clock."""
        first, last = self.sent, round(at * self.sample_rate)
        if last <= first:
            return
        frame = av.AudioFrame.from_ndarray(
            np.repeat(self._samples(first, last), 2)[None], format="s16", layout="stereo"
        )
        frame.sample_rate = self.sample_rate
        frame.time_base = Fraction(1, self.sample_rate)
        frame.pts = first
        self.sent = last
        self.container.mux(self.stream.encode(frame))

    def _samples(self, first: int, last: int) -> Array:
        samples = np.zeros(last - first, np.int16)
        for onset in self.onsets:
            begin, end = max(onset, first), min(onset + len(self.tone), last)
            if begin < end:
                samples[begin - first : end - first] = self.tone[begin - onset : end - onset]
        return samples


def _time_base(film: Painting) -> Fraction:
    """The coarsest clock that holds every frame exactly; for AVI, which counts, the rate."""
    if film.path.lower().endswith(".avi"):
        return 1 / film.rate
    ticks = math.lcm(*{(film.start + at).denominator for at in (*film.times, film.duration)})
    if ticks > _FINEST:
        raise ValueError(
            f"The times of {film.path} have no common clock coarser than 1/{ticks} s, and "
            f"encoders refuse such clocks: round times and start to multiples of 1/{_FINEST} s "
            "or coarser."
        )
    return Fraction(1, ticks)


def _video_stream(
    container: av.container.OutputContainer, film: Painting, settings: dict[str, str]
) -> av.VideoStream:
    stream = cast(
        av.VideoStream, container.add_stream(film.codec, rate=film.rate, options=settings)
    )
    context = stream.codec_context
    context.width, context.height = film.width, film.height
    context.pix_fmt = film.pix_fmt
    context.time_base = _time_base(film)
    context.sample_aspect_ratio = film.sample_aspect_ratio
    # Without the second flag the last frame's duration is lost, and the film's with it.
    context.flags |= av.codec.context.Flags.bitexact | av.codec.context.Flags.frame_duration
    if film.full_range:
        context.color_range = _JPEG_RANGE
    if film.codec in _NEED_BIT_RATE:
        context.bit_rate = max(1_000_000, int(film.width * film.height * film.rate / 3))
    if film.rotation:
        stream.set_display_rotation(film.rotation)
    return stream


def _frames(film: Painting) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Each frame with its time, drawn, with timestamp and duration for the encoder."""
    tick = _time_base(film)
    halved = "420" in film.pix_fmt
    master = (
        film.pix_fmt
        if film.pix_fmt in ("yuv420p", "yuvj420p", "yuv444p")
        else ("yuv420p" if halved else "yuv444p")
    )
    stage = _Stage(film, 2 if halved else 1)
    for index, at in enumerate(film.times):
        frame = av.VideoFrame(film.width, film.height, master)
        # Writable views on its planes as they will be seen after turning.
        rows = (plane(frame, number) for number in range(len(frame.planes)))
        stage.draw([np.rot90(each, film.rotation // 90) for each in rows], index)
        if master != film.pix_fmt:
            frame = frame.reformat(format=film.pix_fmt)
        if film.full_range:
            frame.color_range = _JPEG_RANGE
        following = film.times[index + 1] if index + 1 < len(film.times) else film.duration
        frame.time_base = tick
        frame.pts = int((film.start + at) / tick)
        frame.duration = int((following - at) / tick)
        yield at, frame


class _Stage:
    """The scenes that are on show: one, or two while one dissolves into the next."""

    def __init__(self, film: Painting, halving: int) -> None:
        self.film = film
        self.halving = halving
        self.starts = film.scene_starts
        self.lit = {index for frames in film.flashing for index in frames}
        #: Not more than two: each is some times as large as a frame.
        self.scenery = lru_cache(2)(self._scenery)

    def draw(self, planes: list[Array], index: int) -> None:
        """Draw the frame of this index as the film shows it."""
        number = bisect_right(self.starts, index) - 1
        changes = self.film.transitions
        # The transition into this scene and the one out of it, with the scene on its other side.
        near = [(number - 1, changes[number - 1])] if number else []
        near += [(number + 1, changes[number])] if number < len(changes) else []
        crossed = [
            (other, crossing.kind, done)
            for other, crossing in near
            if 0 < (done := crossing.progress(self.film.times[index])) < 1
        ]
        self._draw_scene(number, planes, index)
        for other, kind, done in crossed:
            if kind == "fade":
                self._tint(planes, black=True, weight=256 - round(256 * abs(2 * done - 1)))
            else:
                beside = [np.empty_like(part) for part in planes]
                self._draw_scene(other, beside, index)
                # Both have the same strip, which blending therefore leaves as it is.
                weight = round(256 * (done if other > number else 1 - done))
                for part, blended in zip(planes, beside, strict=True):
                    part[:] = _blend(part, blended, weight)
        if index in self.lit:
            self._tint(planes, black=False, weight=_FLASH)

    def _scenery(self, number: int) -> Scenery:
        return Scenery(
            self.film.scenes[number],
            number,
            self.film.upright_size,
            halving=self.halving,
            full_range=self.film.full_range,
        )

    def _draw_scene(self, number: int, planes: list[Array], index: int) -> None:
        seconds = float(self.film.times[index] - self.film.times[self.starts[number]])
        self.scenery(number).draw(planes, index, seconds)

    def _tint(self, planes: list[Array], *, black: bool, weight: int) -> None:
        """Take the picture above the strip towards black or white by this many 256ths."""
        darkest, lightest = (0, 255) if self.film.full_range else (16, 235)
        strip = strip_height(self.film.upright_size[1])
        for part, picture in enumerate(planes):
            above = picture[: picture.shape[0] - strip // (self.halving if part else 1)]
            above[:] = _blend(above, 128 if part else darkest if black else lightest, weight)


def _blend(one: Array, other: Array | int, weight: int) -> Array:
    """Two pictures in one, the other with a weight in 256ths."""
    blended: Array = (one.astype(np.uint16) * (256 - weight) + np.uint16(weight) * other) >> 8
    return blended.astype(np.uint8)
