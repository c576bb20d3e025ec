"""The sound of clips: copied packet by packet where MP4 can hold it, encoded to AAC where not.

Both keep sound and picture together to the sample. A copied packet covers 20 to 60 ms and rarely
begins with the clip; the ones before the first picture are kept, and the MP4 edit list (written by
the muxer for negative times) tells players where to begin::

    pictures                |0────|1────|2────|3─…
    packets      |──a──|──b──|──c──|──d──|──e──
                 run-in^     ^ second 0: a and b are decoded, but not heard
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import av
import numpy as np
from av.audio.stream import AudioStream

from finecut.io.media.channels import (
    INTERLEAVED,
    Mixing,
    Samples,
    aac_layout,
    frame_of,
    mixing,
    samples_of,
)
from finecut.io.media.source import has_decoder

#: Codecs that MP4 holds and common players play.
COPYABLE = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})

#: Seconds of packets a decoder wants before the first it plays; others want one packet.
#: MP3 may keep a frame's bits in the packets before it.
RUN_IN = {"opus": Fraction(8, 100), "mp3": Fraction(27, 100)}
#: MP4 takes no MP3 of a lower rate.
LEAST_MP3_RATE = 16_000

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_FRAME = 1024
AAC_BITS_PER_CHANNEL = 64_000


#: What decoders say of damaged sound, and mixers of what they do not know.
NOT_HEARD = (av.error.FFmpegError, ValueError)


@dataclass(frozen=True)
class Heard:
    """A piece of sound, in the film's seconds: a packet to copy, or samples to encode."""

    start: Fraction
    length: Fraction
    packet: av.Packet[AudioStream] | None = None
    samples: Samples | None = None
    #: What was lost on the way to these samples, in a few words.
    note: str = ""

    @cached_property
    def end(self) -> Fraction:
        return self.start + self.length


class Listener:
    """Turns the packets of a film's sound track into :class:`Heard` pieces, once for all clips."""

    def __init__(self, stream: AudioStream, film_start: Fraction, audio: str) -> None:
        self.stream = stream
        self._film_start = film_start
        context = stream.codec_context
        codec = context.codec.canonical_name
        self.copies = audio == "copy" and _fits_mp4(stream, codec)
        length = _packet_length(stream)
        self.run_in = RUN_IN.get(codec, length) if self.copies else Fraction(0)
        #: How long every packet sounds, unless each says it itself.
        self._every = None if codec == "opus" else length
        self.rate = context.sample_rate if self.copies else _aac_rate(context.sample_rate)
        known = context.layout if context.layout.nb_channels else av.AudioLayout("stereo")
        self.layout = aac_layout(known)
        self._resampler: av.AudioResampler | None = None
        self._mixing = Mixing(self.layout)
        self._resamples: tuple[str, str, int] | None = None

    def hear(self, packet: av.Packet[AudioStream]) -> Iterator[Heard]:
        """The pieces this packet holds; damaged sound is a gap."""
        if self.copies:
            if packet.pts is not None and packet.size:
                start = packet.pts * packet.time_base - self._film_start
                yield Heard(start, self._length_of(packet), packet=packet)
            return
        try:
            pieces = [piece for frame in packet.decode() for piece in self._resampled(frame)]
        except NOT_HEARD:
            self._resampler = None  # half of one must not be asked again
            return
        yield from pieces

    def _resampled(self, frame: av.AudioFrame) -> Iterator[Heard]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._resamples:
            # Broadcasts change from stereo to mono and back within one track.
            self._resampler = av.AudioResampler(INTERLEAVED, frame.layout, self.rate)
            self._mixing, self._resamples = mixing(frame.layout, self.layout), kind
        for piece in self._resampler.resample(frame):
            if piece.pts is None or piece.time_base is None:
                continue
            start = piece.pts * piece.time_base - self._film_start
            samples = self._mixing(np.asarray(samples_of(piece), dtype=np.float32))
            length = Fraction(piece.samples, self.rate)
            yield Heard(start, length, samples=samples, note=self._mixing.note)

    def _length_of(self, packet: av.Packet[AudioStream]) -> Fraction:
        if self._every is not None:
            return self._every
        return (packet.duration or 0) * packet.time_base or _packet_length(self.stream)


class CopiedSound:
    """The sound track of one clip, made of the source's own packets."""

    #: Nothing is lost.
    note = ""

    def __init__(self, container: av.container.OutputContainer, heard: Listener) -> None:
        self._container = container
        self._stream = container.add_stream_from_template(heard.stream)
        self._rate, self._time_base = heard.rate, Fraction(1, heard.rate)
        self._tick = int((heard.stream.time_base or 0) * heard.rate) + 1
        self._next: int | None = None

    def add(self, piece: Heard, clip_start: Fraction, _clip_end: Fraction) -> None:
        assert piece.packet is not None
        at = round((piece.start - clip_start) * self._rate)
        if self._next is not None and abs(at - self._next) <= self._tick:
            # The container rounded; packets of one track follow each other without a gap.
            at = self._next
        if self._next is not None and at < self._next:
            return
        length = round(piece.length * self._rate)
        # A packet of its own: overlapping clips share the source's.
        packet = av.Packet(bytes(piece.packet))
        packet.stream = self._stream
        packet.time_base = self._time_base
        packet.pts = packet.dts = at
        packet.duration = length
        packet.is_keyframe = True
        self._container.mux(packet)
        self._next = at + max(1, length)

    def close(self) -> None:
        """Nothing is held back."""


class EncodedSound:
    """The sound track of one clip as AAC, beginning and ending with its pictures to the sample."""

    def __init__(self, container: av.container.OutputContainer, heard: Listener) -> None:
        self._container = container
        self._layout, self._rate = heard.layout, heard.rate
        self._stream = container.add_stream("aac", rate=heard.rate, layout=heard.layout)
        channels = av.AudioLayout(heard.layout).nb_channels
        self._stream.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * channels
        #: The next sample's index, counted from the clip's first picture.
        self._position = 0
        #: What was lost of the film's sound, in a few words.
        self.note = ""

    def add(self, piece: Heard, clip_start: Fraction, clip_end: Fraction) -> None:
        assert piece.samples is not None
        at = round((piece.start - clip_start) * self._rate)
        end = round((clip_end - clip_start) * self._rate)
        samples = piece.samples[:, max(0, self._position - at) : max(0, end - at)]
        if not samples.shape[1]:
            return
        self.note = piece.note or self.note
        # Silence where the source has a gap keeps everything after it in time.
        gap = np.zeros((samples.shape[0], max(0, at - self._position)), np.float32)
        # (The encoder is given as many at once as it wants.)
        frame = frame_of(np.concatenate([gap, samples], axis=1), self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._position
        self._position += frame.samples
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))


Sound = CopiedSound | EncodedSound


def why_left_out(stream: AudioStream, audio: str) -> str:
    """Why clips cannot have this sound at all; empty: they can."""
    if not has_decoder(stream):
        return "left out: its codec is unknown here, so the length of its packets is unknown, too"
    context = stream.codec_context
    if not context.sample_rate:
        return "left out: the video does not state its sample rate"
    if context.layout.nb_channels and not (
        audio == "copy" and _fits_mp4(stream, context.codec.canonical_name)
    ):
        name = context.layout.name
        trouble = _why_unmixable(context.format.name, name, context.sample_rate)
        if trouble:
            return (
                f"left out: its channels ({name}) cannot be mixed into channels that AAC "
                f"supports ({trouble})"
            )
    return ""


@cache
def _why_unmixable(form: str, layout: str, rate: int) -> str:
    """What the mixer says of such sound, tried once with a little silence; empty: nothing."""
    try:
        silence = av.AudioFrame(format=form, layout=layout, samples=AAC_FRAME)
        silence.sample_rate, silence.pts = rate, 0
        av.AudioResampler(INTERLEAVED, silence.layout, _aac_rate(rate)).resample(silence)
    except NOT_HEARD as error:
        return str(error)
    return ""


def _fits_mp4(stream: AudioStream, codec: str) -> bool:
    """Whether MP4 holds these packets: not all codecs, and not without the header some need."""
    if codec not in COPYABLE:
        return False
    if codec == "mp3":
        return stream.codec_context.sample_rate >= LEAST_MP3_RATE
    # AAC from a broadcast stream, for one, carries its header in every packet instead.
    return codec in ("ac3", "eac3") or bool(stream.codec_context.extradata)


def _packet_length(stream: AudioStream) -> Fraction:
    context = stream.codec_context
    return Fraction(context.frame_size or AAC_FRAME, context.sample_rate or 48000)


def _aac_rate(rate: int) -> int:
    return rate if rate in AAC_RATES else 48000
