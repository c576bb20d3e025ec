"""The sound of painted films: silence with short beeps, written and heard again.

:class:`Beeper` feeds an audio stream; :func:`hear_beeps` decodes any file's sound and says
when beeps begin, on the clock of the picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from finecut.io.media.channels import samples_of
from finecut.io.media.testfilm.pattern import Array

BEEP_SECONDS = 0.05
BEEP_HERTZ = 1000
_LOUDNESS = 0.5
# Quieter than this (full scale is 1) is not a beep but what a codec made of silence.
_AUDIBLE = 0.05
# Two periods of the tone: long enough for a steady loudness, short enough to be sharp.
_WINDOW_SECONDS = 0.002
# Beeps closer together than this are heard as one.
_PAUSE_SECONDS = 0.02
# Samples judged at a time, to keep memory small.
_BLOCK = 2**20
# Names without an encoder of their own.
_ENCODERS = {"mp3": "libmp3lame", "opus": "libopus"}
#: Samples that encoders put before the first one they are given.
PRIMING = {"libmp3lame": 1105, "aac": 1024}


class Beeper:
    """Writes silence with beeps into a container, as far as the picture has come."""

    def __init__(
        self,
        container: OutputContainer,
        stream: AudioStream,
        start: Fraction,
        beeps: Sequence[Fraction],
    ) -> None:
        self.container, self.stream = container, stream
        stream.codec_context.layout = "stereo"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        self.sample_rate = sample_rate = stream.codec_context.sample_rate
        self.sent = round(start * sample_rate)
        self.onsets = [round(beep * sample_rate) for beep in beeps]
        length = round(BEEP_SECONDS * sample_rate)
        tone = np.sin(np.arange(length) * (2 * np.pi * BEEP_HERTZ / sample_rate))
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

    def finish(self) -> None:
        """Let the encoder write what it still holds."""
        self.container.mux(self.stream.encode(None))

    def _samples(self, first: int, last: int) -> Array:
        samples = np.zeros(last - first, np.int16)
        for onset in self.onsets:
            begin, end = max(onset, first), min(onset + len(self.tone), last)
            if begin < end:
                samples[begin - first : end - first] = self.tone[begin - onset : end - onset]
        return samples


def sound_encoder(codec: str) -> tuple[str, dict[str, str]]:
    """The encoder for a name, and what it must be told."""
    codec = _ENCODERS.get(codec, codec)
    if codec == "libvorbis" and codec not in av.codecs_available:
        codec = "vorbis"
    # FFmpeg's own Vorbis encoder counts as experimental; PyAV ships no other.
    return codec, {"strict": "experimental"} if codec == "vorbis" else {}


def hear_beeps(path: str | os.PathLike[str]) -> list[float]:
    """When beeps begin in a file's sound: seconds after its first video frame is shown.

    A beep that is already under way at the first sample is reported there.  Without video,
    seconds count from 0 on the container's clock.  The whole sound is held in memory, in 16 bits.
    """
    with av.open(os.fspath(path)) as container:
        if not container.streams.audio:
            raise ValueError(f"No beeps can be heard in {path}: the file has no sound stream.")
        samples, clock = _hear(container)
        rate = container.streams.audio[0].codec_context.sample_rate
    if not len(samples):
        return []
    window = max(1, round(_WINDOW_SECONDS * rate))
    peak = max(block.max() for _, block in _power(samples, window))
    if peak < _AUDIBLE**2 / 2:
        return []
    # The centred window is half full exactly at the onset.
    loud = np.concatenate(
        [first + np.flatnonzero(block > peak / 2) for first, block in _power(samples, window)]
    )
    fresh = np.diff(loud, prepend=-rate) > _PAUSE_SECONDS * rate
    origin = _first_shown(path)
    return [clock(int(sample)) - origin for sample in loud[fresh]]


def _power(samples: Array, window: int) -> Iterator[tuple[int, Array]]:
    """The loudness around each sample, in blocks with the number of their first sample."""
    kernel = np.full(window, 1 / window, np.float32)
    for first in range(0, len(samples), _BLOCK):
        before = min(first, window)
        piece = samples[first - before : first + _BLOCK + window].astype(np.float32) / 32768
        power = np.convolve(piece**2, kernel, "same")[before : before + _BLOCK]
        yield first, power[: len(samples) - first]


def _hear(container: InputContainer) -> tuple[Array, Callable[[int], float]]:
    """All samples in 16 bits, mixed to one channel, and the container's clock for each.

    Times come from each decoded frame's timestamp, for there FFmpeg has already applied edit
    lists and cut off the codec's priming.
    """
    chunks: list[Array] = []
    starts, times = [0], []
    for frame in container.decode(audio=0):
        chunks.append(_mono(frame))
        starts.append(starts[-1] + len(chunks[-1]))
        times.append(float(frame.time or 0))
        rate = frame.sample_rate

    def clock(sample: int) -> float:
        at = int(np.searchsorted(starts, sample, "right")) - 1
        return times[at] + (sample - starts[at]) / rate

    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16), clock


def _mono(frame: av.AudioFrame) -> Array:
    array: Array = samples_of(frame)
    mixed: Array = array.mean(axis=0, dtype=np.float32)
    whole = array.dtype.kind == "i"
    scale = 2.0 ** (16 - 8 * array.dtype.itemsize) if whole else 32767
    levels: Array = np.clip(np.rint(mixed * scale), -32768, 32767)
    return levels.astype(np.int16)


def _first_shown(path: str | os.PathLike[str]) -> float:
    with av.open(os.fspath(path)) as container:
        if not container.streams.video:
            return 0.0
        for frame in container.decode(video=0):
            return float(frame.time or 0)
    raise ValueError(f"The beeps in {path} have no clock: its video has no frame to decode.")
