"""One clip being written: an MP4 that begins with its index, so that it plays while it loads.

Its sound is copied packet by packet where MP4 can hold it, encoded to AAC where not. Both keep
sound and picture together to the sample. A copied packet covers 20 to 60 ms and rarely begins with
the clip; the ones before the first picture are kept, and the MP4 edit list (written by the muxer
for negative times) tells players where to begin::

    pictures                |0────|1────|2────|3─…
    packets      |──a──|──b──|──c──|──d──|──e──
                 run-in^     ^ second 0: a and b are decoded, but not heard
"""

import contextlib
import hashlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np

from finecut.io.media.codecs import Encoding, PictureFormat, configure, encoder_options, opened
from finecut.io.media.sound import Heard, Listener, frame_of
from finecut.io.records import ClipFile

Packet: TypeAlias = "av.Packet[Any]"

#: ``bitexact`` keeps version numbers and dates out, so that the same film gives the same bytes.
MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}
AAC_BITS_PER_CHANNEL = 64_000


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
        self._stream.codec_context.bit_rate = (
            AAC_BITS_PER_CHANNEL * av.AudioLayout(heard.layout).nb_channels
        )
        #: The next sample's index, counted from the clip's first picture.
        self._position = 0
        #: What was lost of the film's sound, in a few words.
        self.note = ""

    def add(self, piece: Heard, clip_start: Fraction, clip_end: Fraction) -> None:
        assert piece.samples is not None
        at, end = (round((s - clip_start) * self._rate) for s in (piece.start, clip_end))
        samples = piece.samples[:, max(0, self._position - at) : max(0, end - at)]
        if not samples.shape[1]:
            return
        self.note = piece.note or self.note
        # Silence where the source has a gap keeps everything after it in time. (The encoder is
        # given as many at once as it wants.)
        frame = frame_of(np.pad(samples, ((0, 0), (max(0, at - self._position), 0))), self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._position
        self._position += frame.samples
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))


class Mp4Writer:
    """A clip as a file: a track of pictures that others fill, and the sound beside it."""

    #: At a variable rate they may run ahead of an encoder's, and would cut the last picture short.
    _decoding_times_are_made = False

    def __init__(self, path: Path, time_base: Fraction) -> None:
        self.path = path
        self._time_base = time_base
        self._last_tick = -1
        self._num_frames = 0
        self._first_dts: int | None = None
        #: The packet last handed on, when it is shown and decoded, and how long it is shown unless
        #: it is the last: that is known only when the clip ends.
        self._held: tuple[Packet, int, int, int] | None = None
        self._container = av.open(str(path), mode="w", format="mp4", options=MP4)
        self._track: Any = None
        self._sound: CopiedSound | EncodedSound | None = None

    def _add_sound(self, listener: Listener | None) -> None:
        if listener is not None:
            kind = CopiedSound if listener.copies else EncodedSound
            self._sound = kind(self._container, listener)

    def abandon(self) -> None:
        """Close and remove what there is: nobody may take half a clip for one."""
        # Closing writes the file's end, which fails again where writing failed before.
        with contextlib.suppress(OSError, ValueError):
            self._container.close()
        self.path.unlink(missing_ok=True)

    def _end(self, last_length: Fraction) -> int:
        """The tick at which the last picture is over."""
        return self._last_tick + max(1, round(last_length / self._time_base))

    def _finish(self, ticks: int, like: av.VideoCodecContext) -> ClipFile:
        """Write the last packet and the end of the file, which is this long."""
        self._mux_held(ticks, last=True)
        if self._sound is not None:
            self._sound.close()
        self._container.close()
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return ClipFile(
            width=like.width,
            height=like.height,
            framerate=float(self._num_frames / (ticks * self._time_base)),
            num_frames=self._num_frames,
            video_codec=like.codec.canonical_name,
            num_bytes=self.path.stat().st_size,
            sha256=digest.hexdigest(),
            sound="" if self._sound is None else self._sound.note,
        )

    def _hold(self, packet: Packet, shown: int, decoded: int, length: int) -> None:
        if self._first_dts is None:
            self._first_dts = decoded
        self._held = (packet, shown, decoded, length)

    def _mux_held(self, ticks: int | None = None, last: bool = False) -> None:
        """Hand on the held packet; with ``ticks`` known, the clip ends where it has to.

        MP4 says it twice: the edit list ends with the picture shown last, the track with the
        packet decoded last. With B-frames these are two packets.
        """
        if self._held is None:
            return
        packet, shown, decoded, length = self._held
        # Only now: clips that overlap share a copied packet.
        packet.stream, packet.time_base = self._track, self._time_base
        packet.pts, packet.dts, packet.duration = shown, decoded, length
        if ticks is not None and shown == self._last_tick:
            packet.duration = ticks - self._last_tick
        if ticks is not None and last and self._first_dts is not None:
            least = 1
            if self._decoding_times_are_made and shown == self._last_tick:
                least = packet.duration
            packet.duration = max(least, ticks - (decoded - self._first_dts))
        self._container.mux(packet)
        self._held = None


class ClipWriter(Mp4Writer):
    """Takes pictures and sound of one clip, whose span is in the film's seconds."""

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        picture: PictureFormat,
        listener: Listener | None,
        span: tuple[Fraction, Fraction],
    ) -> None:
        super().__init__(path, picture.time_base)
        self._picture = picture
        self.start, self._until = span
        #: Pictures that have come out of the encoder, which holds back about forty.
        self.encoded = 0
        self._ticks = 1 / picture.time_base
        self._track = self._container.add_stream(
            encoding.encoder, rate=picture.rate, options=encoder_options(encoding)
        )
        configure(self._track.codec_context, encoding, picture)
        self._track.time_base = picture.time_base
        opened(self._track.codec_context)
        self._add_sound(listener)

    def show(self, frame: av.VideoFrame, seconds: Fraction) -> bool:
        """Add the picture that is shown from this second of the film on, if it comes in time."""
        tick = round((seconds - self.start) * self._ticks)
        if tick <= self._last_tick:
            return False
        frame.pts = tick
        frame.time_base = self._picture.time_base
        # The encoder decides which pictures are key frames, not the source.
        frame.pict_type = 0
        self._take(self._track.encode(frame))
        self._last_tick = tick
        self._num_frames += 1
        return True

    def hear(self, piece: Heard) -> None:
        """Add this piece of the film's sound."""
        if self._sound is not None:
            self._sound.add(piece, self.start, self._until)

    def close(self, last_length: Fraction) -> ClipFile:
        """Finish the file; the last picture is shown for ``last_length`` seconds."""
        ticks = self._end(last_length)
        self._take(self._track.encode(None), ticks)
        return self._finish(ticks, self._track.codec_context)

    def _take(self, packets: Iterable[Packet], ticks: int | None = None) -> None:
        for packet in packets:
            self.encoded += 1
            self._mux_held(ticks)
            assert packet.pts is not None
            decoded = packet.pts if packet.dts is None else packet.dts
            self._hold(packet, packet.pts, decoded, packet.duration or 0)
