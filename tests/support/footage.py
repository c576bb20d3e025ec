"""The films that tests cut: one painted case for each way a video can be awkward.

``painted("vfr", folder)`` paints the case into the folder, once per folder and process, and returns
its truth. Cases are keyword arguments of :func:`finecut.io.media.testfilm.paint.paint` and a
suffix; all have cuts at 1.3 and 2.4 s unless they say otherwise."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from finecut.io.media.testfilm.paint import Painting, paint

# The AV1 encoder writes its settings to the terminal unless told to keep to errors.
os.environ.setdefault("SVT_LOG", "1")

CUTS = (1.3, 2.4)


def uneven_times(count: int = 100, ticks: int = 90000) -> tuple[Fraction, ...]:
    """Times as a telephone stamps them: about 30 a second, with jitter, a stall and a burst."""
    steps = itertools.cycle((3003, 2877, 3122, 4510, 1493, 3000, 2999, 13500, 900, 3018))
    places = itertools.accumulate(itertools.islice(steps, count - 1), initial=0)
    return tuple(Fraction(place, ticks) for place in places)


def _case(suffix: str = ".mp4", **settings: Any) -> dict[str, Any]:
    return {"suffix": suffix, "seconds": 3.6, "cuts": CUTS, **settings}


CASES: dict[str, dict[str, Any]] = {
    "cfr": _case(sound="aac"),
    "film24": _case(rate=24, sound="aac", sample_rate=44100),
    "fps60": _case(rate=60, b_frames=2),
    "ntsc": _case(rate=Fraction(30000, 1001), sound="aac"),
    "vfr": _case(seconds=None, times=uneven_times(), b_frames=0, sound="aac"),
    "vfr_bframes": _case(seconds=None, times=uneven_times(), b_frames=3),
    "vfr_mkv": _case(".mkv", seconds=None, times=uneven_times(), sound="libopus"),
    "bframes": _case(b_frames=3, gop=30, sound="aac"),
    "late_start": _case(start=Fraction(3, 2), sound="aac"),
    "nonzero_start": _case(".mkv", start=5, sound_start=5, sound="aac"),
    "nonzero_start_mp4": _case(start=5, sound_start=5, sound="aac"),
    "ts": _case(".ts", start=10, sound_start=10, sound="aac", b_frames=2),
    "ten_bit": _case(pix_fmt="yuv420p10le"),
    "ten_bit_hevc": _case(codec="libx265", pix_fmt="yuv420p10le", sound="aac"),
    "yuv422": _case(pix_fmt="yuv422p"),
    "yuv444": _case(pix_fmt="yuv444p"),
    "odd_size": _case(width=321, height=241, pix_fmt="yuv444p", sound="aac"),
    "odd_size_mkv": _case(".mkv", width=321, height=181, codec="libvpx-vp9"),
    "tiny": _case(width=160, height=90, codec_options={"crf": "28"}),
    "portrait": _case(width=180, height=320, sound="aac"),
    "rotated_90": _case(rotation=90, sound="aac"),
    "rotated_180": _case(rotation=180),
    "rotated_270": _case(rotation=270, b_frames=2),
    "wide_pixels": _case(width=240, height=240, sample_aspect_ratio=2),
    "tall_pixels": _case(width=320, height=180, sample_aspect_ratio=Fraction(1, 2)),
    "mkv": _case(".mkv", sound="mp3"),
    "mkv_vorbis": _case(".mkv", sound="libvorbis"),
    "mp4_mp3": _case(sound="mp3"),
    "webm": _case(".webm", codec="libvpx-vp9", sound="libopus"),
    "avi": _case(".avi", codec="mpeg4", sound="pcm_s16le"),
    "avi_h264": _case(".avi", b_frames=3, gop=30, sound="pcm_s16le"),
    "intra_refresh": _case(codec_options={"x264-params": "intra-refresh=1:keyint=20"}, b_frames=0),
    "avi_mp3": _case(".avi", codec="mpeg4", rate=25, sound="mp3"),
    "mjpeg": _case(".mov", codec="mjpeg", pix_fmt="yuvj420p", sound="pcm_s16le"),
    "prores": _case(".mov", codec="prores", pix_fmt="yuv422p10le", sound="pcm_s16le", rate=25),
    "hevc": _case(codec="libx265", b_frames=2, sound="aac"),
    "av1": _case(codec="libsvtav1", sound="libopus"),
    "open_gop": _case(
        b_frames=3, gop=24, open_gop=True, codec_options={"sc_threshold": "0", "preset": "medium"}
    ),
    "long_gop": _case(gop=10_000, b_frames=2, codec_options={"sc_threshold": "0"}),
    "audio_late": _case(sound="aac", sound_start=Fraction(3, 4)),
    "full_range": _case(full_range=True),
    "silent": _case(sound="aac", beeps=()),
    "one_frame": _case(seconds=None, times=(0,), cuts=()),
}

#: AVI keeps no times of showing: with B-frames, what a reader makes of them is up to the reader.
WITHOUT_TIMES = frozenset({"avi_h264"})

_painted: dict[Path, Painting] = {}


def painted(name: str, folder: str | os.PathLike[str]) -> Painting:
    """The truth about a case, whose film is painted into the folder if not there yet."""
    settings = dict(CASES[name])
    path = Path(folder) / (name + settings.pop("suffix"))
    if path not in _painted:
        path.parent.mkdir(parents=True, exist_ok=True)
        _painted[path] = paint(path, **settings)
    return _painted[path]
