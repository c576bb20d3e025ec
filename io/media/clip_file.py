"""One clip being written: an MP4 that begins with its index, so that it plays while it loads."""

from __future__ import annotations

import contextlib
import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.video.codeccontext import VideoCodecContext

from finecut.io.media.codecs import Encoding, PictureFormat, configure, encoder_options, opened
from finecut.io.media.sound import CopiedSound, EncodedSound, Heard, Listener, Sound
from finecut.io.records import ClipFile

Packet: TypeAlias = "av.Packet[Any]"

#: ``bitexact`` keeps version numbers and dates out, so that the same film gives the same bytes.
MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}


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
        self._sound: Sound | None = None

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

    def _finish(self, ticks: int, like: VideoCodecContext) -> ClipFile:
        """Write the last packet and the end of the file, which is this long."""
        self._mux_held(ticks, last=True)
        if self._sound is not None:
            self._sound.close()
        self._container.close()
        rate = self._num_frames / (ticks * self._time_base)
        return ClipFile(
            width=like.width,
            height=like.height,
            framerate=rate.numerator / rate.denominator,
            num_frames=self._num_frames,
            video_codec=like.codec.canonical_name,
            num_bytes=self.path.stat().st_size,
            sha256=_sha256(self.path),
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
        self._start, self._until = span
        self._ticks = 1 / picture.time_base
        stream = self._container.add_stream(
            encoding.encoder, rate=picture.rate, options=encoder_options(encoding)
        )
        assert isinstance(stream, av.VideoStream)
        self._track = stream
        configure(self._track.codec_context, encoding, picture)
        self._track.time_base = picture.time_base
        opened(self._track.codec_context)
        self._add_sound(listener)

    def show(self, frame: av.VideoFrame, seconds: Fraction) -> bool:
        """Add the picture that is shown from this second of the film on, if it comes in time."""
        tick = round((seconds - self._start) * self._ticks)
        if tick <= self._last_tick:
            return False
        frame.pts = tick
        frame.time_base = self._picture.time_base
        # The encoder decides which pictures are key frames, not the source.
        frame.pict_type = 0
        for packet in self._track.encode(frame):
            self._mux_held()
            self._hold_encoded(packet)
        self._last_tick = tick
        self._num_frames += 1
        return True

    def hear(self, piece: Heard) -> None:
        """Add this piece of the film's sound."""
        if self._sound is not None:
            self._sound.add(piece, self._start, self._until)

    def close(self, last_length: Fraction) -> ClipFile:
        """Finish the file; the last picture is shown for ``last_length`` seconds."""
        ticks = self._end(last_length)
        for packet in self._track.encode(None):
            self._mux_held(ticks)
            self._hold_encoded(packet)
        return self._finish(ticks, self._track.codec_context)

    def _hold_encoded(self, packet: Packet) -> None:
        assert packet.pts is not None
        decoded = packet.pts if packet.dts is None else packet.dts
        self._hold(packet, packet.pts, decoded, packet.duration or 0)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
