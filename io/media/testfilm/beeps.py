"""The sound of painted films: silence with short beeps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

from finecut.io.media.testfilm.pattern import Array

BEEP_SECONDS = 0.05
BEEP_HERTZ = 1000
_LOUDNESS = 0.5
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
    """The encoder for a name, and the options that it needs."""
    codec = _ENCODERS.get(codec, codec)
    if codec == "libvorbis" and codec not in av.codecs_available:
        codec = "vorbis"
    # FFmpeg's own Vorbis encoder counts as experimental; PyAV ships no other.
    return codec, {"strict": "experimental"} if codec == "vorbis" else {}
