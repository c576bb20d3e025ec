"""How much work videos and clips are, roughly: what is dealt to workers, and what is left to do."""

from collections.abc import Iterable

from finecut.io.records import PlannedClip, Video

#: Pictures of many bits a pixel take up to three times as long as those of few, and newer codecs
#: are dearer to decode: nine films of 0.016 to 0.2 bits took 8.3 to 24 ns a pixel to cut, 7.5 times
#: this; without it they are guessed up to twofold wrong.
BITS, MOST_BITS = 15.0, 2.0
DEAR_CODECS, DEARER = frozenset({"hevc", "av1", "vp9"}), 1.35

#: Each frame that is watched takes as long as decoding so many pixels, however small it is.
EACH_WATCHED = 1.5e6


def pixels_of(video: Video) -> float:
    """How many there are a second."""
    return video.framerate * video.width * video.height


def work_of(video: Video, seconds: float) -> float:
    """So many seconds of the video, by its pixels, bits and codec."""
    bits = 1024 * video.bit_rate_k / max(1.0, pixels_of(video))
    dear = DEARER if video.video_codec in DEAR_CODECS else 1.0
    return seconds * pixels_of(video) * (1 + min(MOST_BITS, BITS * bits)) * dear


def counted(video: Video, seconds: float) -> int:
    """The same as counters have it, which are whole numbers: thousands of pixels."""
    return round(work_of(video, seconds) / 1000)


def counted_watching(video: Video) -> int:
    """How much watching the video is, as counters have it."""
    frames = video.framerate * video.duration
    return counted(video, video.duration) + round(frames * EACH_WATCHED / 1000)


def counted_clips(video: Video, clips: Iterable[PlannedClip]) -> int:
    """The clips of a video, each as it is counted when it is cut."""
    return sum(counted(video, clip.span.length) for clip in clips)
