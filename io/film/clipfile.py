"""One clip being written: an MP4 that begins with its index, so that it plays while it loads."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from finecut.io.film.encoders import Encoding, PictureFormat, configure, encoder_options
from finecut.io.film.sound import CopiedSound, EncodedSound, Heard, Listener, Sound
from finecut.io.records import ClipFile

#: ``bitexact`` keeps version numbers and dates out, so that the same film gives the same bytes.
MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}


class ClipWriter:
    """Takes pictures and sound of one clip, in the film's seconds, and closes into its facts."""

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        picture: PictureFormat,
        start: Fraction,
        end: Fraction,
        listener: Listener | None,
    ) -> None:
        self.path = path
        self._picture = picture
        self._start, self._end = start, end
        self._last_tick = -1
        self._num_frames = 0
        self._first_dts: int | None = None
        #: The packet last encoded: its length is known only when the clip ends.
        self._held: av.Packet[av.VideoStream] | None = None
        self._container = av.open(str(path), mode="w", format="mp4", options=MP4)
        stream = self._container.add_stream(
            encoding.encoder, rate=picture.rate, options=encoder_options(encoding)
        )
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        configure(self._stream.codec_context, encoding, picture)
        self._stream.time_base = picture.time_base
        self._sound: Sound | None = None
        if listener is not None:
            kind = CopiedSound if listener.copies else EncodedSound
            self._sound = kind(self._container, listener)

    def show(self, frame: av.VideoFrame, seconds: Fraction) -> bool:
        """Add the picture that is shown from this second of the film on, if it comes in time."""
        tick = round((seconds - self._start) / self._picture.time_base)
        if tick <= self._last_tick:
            return False
        frame.pts = tick
        frame.time_base = self._picture.time_base
        # The encoder decides which pictures are key frames, not the source.
        frame.pict_type = 0
        for packet in self._stream.encode(frame):
            self._mux_held()
            self._hold(packet)
        self._last_tick = tick
        self._num_frames += 1
        return True

    def hear(self, piece: Heard) -> None:
        """Add this piece of the film's sound."""
        if self._sound is not None:
            self._sound.add(piece, self._start, self._end)

    def close(self, last_length: Fraction) -> ClipFile:
        """Finish the file; the last picture is shown for ``last_length`` seconds."""
        ticks = self._last_tick + max(1, round(last_length / self._picture.time_base))
        for packet in self._stream.encode(None):
            self._mux_held(ticks)
            self._hold(packet)
        self._mux_held(ticks, last=True)
        if self._sound is not None:
            self._sound.close()
        self._container.close()
        rate = self._num_frames / (ticks * self._picture.time_base)
        return ClipFile(
            width=self._picture.width,
            height=self._picture.height,
            framerate=rate.numerator / rate.denominator,
            num_frames=self._num_frames,
            video_codec=self._stream.codec_context.codec.canonical_name,
            num_bytes=self.path.stat().st_size,
            sha256=_sha256(self.path),
        )

    def abandon(self) -> None:
        """Close and remove what there is: nobody may take half a clip for one."""
        # Closing writes the file's end, which fails again where writing failed before.
        with contextlib.suppress(OSError, ValueError):
            self._container.close()
        self.path.unlink(missing_ok=True)

    def _hold(self, packet: av.Packet[av.VideoStream]) -> None:
        if self._first_dts is None:
            self._first_dts = packet.dts
        self._held = packet

    def _mux_held(self, ticks: int | None = None, last: bool = False) -> None:
        """Hand on the held packet; with ``ticks`` known, the clip ends where it has to.

        MP4 says it twice: the edit list ends with the picture shown last, the track with the
        packet decoded last. With B-frames these are two packets.
        """
        packet = self._held
        if packet is None:
            return
        if ticks is not None and packet.pts == self._last_tick:
            packet.duration = ticks - self._last_tick
        if ticks is not None and last and packet.dts is not None and self._first_dts is not None:
            packet.duration = max(1, ticks - (packet.dts - self._first_dts))
        self._container.mux(packet)
        self._held = None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
