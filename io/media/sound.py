"""The sound that clips get: a film's packets as they are, or samples in places that AAC holds.

Sound is copied packet by packet where MP4 can hold it, and encoded to AAC where not.

    film    FL FR FC LFE BL BR FLC FRC SL SR TFL …      24 channels of a cinema
    AAC     FL FR FC LFE BL BR         SL SR            8 at the most, in these places
            FLC is heard in FL, TFL as well; a place behind (BC) is heard on both sides of it

All facts about layouts stand here. Nothing here reads planes of a frame one by one: PyAV counts
them wrongly from seven or eight channels on, so samples travel interleaved.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import av
import numpy as np

from finecut.io.media.source import has_decoder

Samples = np.typing.NDArray[np.float32]

#: What AAC holds, by number of channels, and in which order their samples lie.
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
#: The format of samples that travel: all channels of one moment side by side.
INTERLEAVED = "flt"
#: Up to this many channels, those without places have the usual ones, as players assume, too.
MOST_USUAL = 8

#: Channels of a sphere of sound: the first is what is heard from everywhere, the others only say
#: from which side more of it comes.
_SPHERE, _FROM_EVERYWHERE = "AMBI", "AMBI0"
#: Places that a smaller layout hears as the place they are nearest to.
_NEAREST = {
    place: nearest
    for nearest, places in {
        "FL": ("FLC", "TFL", "BFL", "DL"),
        "FR": ("FRC", "TFR", "BFR", "DR"),
        "FC": ("TFC", "BFC", _FROM_EVERYWHERE),
        "BL": ("TBL", "TTL"),
        "BR": ("TBR", "TTR"),
        "BC": ("TBC",),
        "SL": ("TSL", "SDL", "SSL"),
        "SR": ("TSR", "SDR", "SSR"),
        "LFE": ("LFE2",),
    }.items()
    for place in places
}
#: Where the others are heard: the first row that the layout has. Without a row for deep sounds
#: alone (LFE) they are left out, as players do.
_INSTEAD: dict[str, tuple[tuple[str, ...], ...]] = {
    "FL": (("FC",),),
    "FR": (("FC",),),
    "FC": (("FL", "FR"),),
    "BL": (("SL",), ("BC",), ("FL",), ("FC",)),
    "BR": (("SR",), ("BC",), ("FR",), ("FC",)),
    "SL": (("BL",), ("BC",), ("FL",), ("FC",)),
    "SR": (("BR",), ("BC",), ("FR",), ("FC",)),
    "BC": (("BL", "BR"), ("FL", "FR"), ("FC",)),
    "TC": (("FL", "FR", "BL", "BR"), ("FL", "FR"), ("FC",)),
    "WL": (("FL", "SL"), ("FL", "BL"), ("FL",), ("FC",)),
    "WR": (("FR", "SR"), ("FR", "BR"), ("FR",), ("FC",)),
    "LFE": (),
}
_KNOWN = frozenset({*_NEAREST, *_INSTEAD})

#: Codecs that MP4 holds and common players play.
COPYABLE = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})

#: Seconds of packets a decoder wants before the first it plays; others want one packet.
#: MP3 may keep a frame's bits in the packets before it.
RUN_IN = {"opus": Fraction(8, 100), "mp3": Fraction(27, 100)}
#: MP4 takes no MP3 of a lower rate.
LEAST_MP3_RATE = 16_000

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_FRAME = 1024

#: What decoders say of damaged sound, and mixers of what they do not know.
NOT_HEARD = (av.error.FFmpegError, ValueError)


@dataclass(frozen=True)
class Heard:
    """A piece of sound, in the film's seconds: a packet to copy, or samples to encode."""

    start: Fraction
    length: Fraction
    packet: "av.Packet[av.AudioStream] | None" = None
    samples: Samples | None = None
    #: What was lost on the way to these samples, in a few words.
    note: str = ""

    @cached_property
    def end(self) -> Fraction:
        return self.start + self.length


class Listener:
    """Turns the packets of a film's sound track into :class:`Heard` pieces, once for all clips."""

    def __init__(self, stream: av.AudioStream, film_start: Fraction, audio: str) -> None:
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
        self.layout = aac_layout(
            context.layout if context.layout.nb_channels else av.AudioLayout("stereo")
        )
        self._resampler: av.AudioResampler | None = None
        self._mixing = Mixing(self.layout)
        self._resamples: tuple[str, str, int] | None = None

    def hear(self, packet: "av.Packet[av.AudioStream]") -> Iterator[Heard]:
        """The pieces this packet holds; damaged sound is a gap."""
        if self.copies:
            if packet.pts is not None and packet.size:
                start = packet.pts * packet.time_base - self._film_start
                said = self._every or (packet.duration or 0) * packet.time_base
                yield Heard(start, said or _packet_length(self.stream), packet=packet)
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
            if piece.pts is not None and piece.time_base is not None:
                start = piece.pts * piece.time_base - self._film_start
                samples = self._mixing(np.asarray(samples_of(piece), dtype=np.float32))
                length = Fraction(piece.samples, self.rate)
                yield Heard(start, length, samples=samples, note=self._mixing.note)


def why_left_out(stream: av.AudioStream, audio: str, locked: bool) -> str:
    """Why clips cannot have this sound at all; empty: they can."""
    if locked:
        return "left out: it is encrypted"
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


def _fits_mp4(stream: av.AudioStream, codec: str) -> bool:
    """Whether MP4 holds these packets: not all codecs, and not without the header some need."""
    if codec == "mp3":
        return stream.codec_context.sample_rate >= LEAST_MP3_RATE
    # AAC from a broadcast stream, for one, carries its header in every packet instead.
    has_header = codec in ("ac3", "eac3") or bool(stream.codec_context.extradata)
    return codec in COPYABLE and has_header


def _packet_length(stream: av.AudioStream) -> Fraction:
    context = stream.codec_context
    return Fraction(context.frame_size or AAC_FRAME, context.sample_rate or 48000)


def _aac_rate(rate: int) -> int:
    return rate if rate in AAC_RATES else 48000


# ── channels ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Mixing:
    """How sound of one layout becomes sound of another."""

    #: What is made, as AAC knows it.
    layout: str
    #: A row for each channel that is made, a column for each that is there; ``None``: as they are.
    matrix: Samples | None = None
    #: What was lost, in a few words; empty: nothing.
    note: str = ""

    def __call__(self, samples: Samples) -> Samples:
        return samples if self.matrix is None else self.matrix @ samples


def places_of(layout: av.AudioLayout) -> tuple[str, ...] | None:
    """The places of its channels; ``None`` where nobody says what they are.

    >>> places_of(av.AudioLayout("3.0"))
    ('FL', 'FR', 'FC')
    >>> places_of(av.AudioLayout("16 channels")) is None
    True
    """
    places = tuple(channel.name for channel in layout.channels)
    if _SPHERE in "".join(places) or _KNOWN.issuperset(places):
        return places
    if len(places) <= MOST_USUAL:
        return tuple(channel.name for channel in av.AudioLayout(f"{len(places)}c").channels)
    return None


def aac_layout(layout: av.AudioLayout) -> str:
    """The smallest layout of AAC in which nothing of this one is lost, or the nearest to it.

    >>> aac_layout(av.AudioLayout("7.0")), aac_layout(av.AudioLayout("octagonal"))
    ('7.1', '7.1')
    """
    places = places_of(layout)
    if places is None or _SPHERE in "".join(places):
        return AAC_LAYOUTS[1]
    for channels, name in AAC_LAYOUTS.items():
        if channels >= len(places) and _keeps_all(matrix(places, _aac_places(name))):
            return name
    return AAC_LAYOUTS[max(number for number in AAC_LAYOUTS if number <= max(1, len(places)))]


def mixing(layout: av.AudioLayout, wanted: str) -> Mixing:
    """How sound of this layout becomes sound of the wanted one, which is one of AAC's."""
    places = places_of(layout)
    if places is None:
        count = layout.nb_channels
        rows = np.full((len(_aac_places(wanted)), count), 1 / count, np.float32)
        return Mixing(wanted, rows, f"mixed down from {count} channels with no layout, to {wanted}")
    rows = matrix(places, _aac_places(wanted))
    note = f"mixed down from {len(places)} channels ({layout.name}) to {wanted}"
    same = rows.shape[0] == rows.shape[1] and np.array_equal(rows, np.eye(len(rows)))
    return Mixing(wanted, None if same else rows, "" if _keeps_all(rows) else note)


def matrix(places: Sequence[str], wanted: Sequence[str]) -> Samples:
    """How loud each of these places is in each wanted one; together never louder than the film.

    >>> matrix(("FL", "FR"), ("FC",)).tolist()
    [[0.5, 0.5]]
    """
    rows = np.zeros((len(wanted), len(places)), np.float32)
    for column, place in enumerate(places):
        heard = heard_in(place, wanted)
        for other in heard:
            rows[wanted.index(other), column] = 1 / math.sqrt(len(heard))
    return rows / np.float32(max(1.0, float(rows.sum(axis=1).max())))


def heard_in(place: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Where sound of this place is heard when there are only the wanted ones.

    >>> heard_in("TBC", ("FL", "FR", "FC", "LFE", "BL", "BR"))
    ('BL', 'BR')
    """
    if place in wanted:
        return (place,)
    if place in _NEAREST:
        return heard_in(_NEAREST[place], wanted)
    return next((row for row in _INSTEAD.get(place, ()) if {*row} <= {*wanted}), ())


def _keeps_all(rows: Samples) -> bool:
    """Whether each channel could be separated from the others again."""
    return int(np.linalg.matrix_rank(rows)) == int(rows.shape[1])


def _aac_places(name: str) -> tuple[str, ...]:
    return tuple(channel.name for channel in av.AudioLayout(name).channels)


# ── samples in and out of frames ─────────────────────────────────────────────────────────────────


def samples_of(frame: av.AudioFrame) -> np.typing.NDArray[Any]:
    """The samples of a frame, a row for each channel, whatever their number and format."""
    if frame.format.is_planar:
        [frame] = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate).resample(
            frame
        )
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


def frame_of(samples: Samples, layout: str) -> av.AudioFrame:
    """The other way: a frame of interleaved samples, of a row for each channel."""
    return av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.T).reshape(1, -1), format=INTERLEAVED, layout=layout
    )
