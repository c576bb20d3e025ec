"""Where videos are cut, how clips are made, and which of them are kept, besides what steps say."""

import math
from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import CUT, ENCODE, LOOK, SCENES, option

FIXED_STRIDE, TRANSNETV2, CONTENT = "fixed_stride", "transnetv2", "content"
LEAST_STRIDE: Final = 0.001
SOFTWARE, NVDEC = DECODERS = "software", "nvdec"
X264: Final = "libx264"
ENCODERS: Final = (X264, "libx265", "libsvtav1", "libvpx-vp9", "h264_nvenc", "libopenh264")
#: Encode all pictures of a clip; copy them; encode only those between key frames and cuts.
ENCODE_ALL, COPY, SMART = TRANSCODES = "encode", "copy", "smart"
MOST_ENCODER_THREADS, MOST_BIT_RATE = 64, 1_000_000_000


def parse_bit_rate(text: str) -> int:
    """Bits per second: ``4000000``, ``4000K`` or ``4M``."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower())
    number = float(text[:-1] if scale else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number * (scale or 1))


@dataclass(frozen=True, kw_only=True)
class ClipChoices:
    splitting_algorithm: str = option(
        FIXED_STRIDE,
        CUT,
        "Where to cut: at regular intervals, at scene changes found by a neural network, or at "
        "scene changes found by comparing frames (needs no model).",
        choices=(FIXED_STRIDE, TRANSNETV2, CONTENT),
    )

    cuts: str | None = option(
        None,
        CUT,
        "Cut at the times in this file instead (.json or .csv: cuts or scenes of each video).",
        metavar="FILE",
        shown="none",
    )

    clip_length: float = option(
        10.0, CUT, "Length of a clip in seconds, with a fixed stride.", metavar="SECONDS", above=0
    )

    clip_stride: float | None = option(
        None,
        CUT,
        "Distance from the start of one clip to the start of the next; if it is less than the "
        "length, clips overlap.",
        metavar="SECONDS",
        shown="the length",
        above=0,
    )

    min_clip_length: float = option(
        2.0,
        CUT,
        "Drop clips that are shorter than this, at the end of a video or of a scene.",
        metavar="SECONDS",
        least=0,
    )

    chunk_seconds: int = option(
        256,
        CUT,
        "Close a chunk (the unit of work, and of one Parquet file) when its clips add up to this "
        "many seconds.",
        metavar="SECONDS",
        above=0,
    )

    limit_clips: int = option(
        0, CUT, "Cut at most this many clips from each video; 0 means all.", metavar="N", least=0
    )

    max_clip_length: float = option(
        10.0,
        SCENES,
        "Divide longer scenes into several clips; 0 means no limit.",
        metavar="SECONDS",
        least=0,
    )

    long_scenes: str = option(
        "stride",
        SCENES,
        "What to do with a scene longer than --max-clip-length: cut consecutive clips (stride), or "
        "only one clip at its start (truncate).",
        choices=("stride", "truncate"),
    )

    crop: float | None = option(
        None,
        SCENES,
        "Leave out this much at both ends of a scene, where a transition may be visible.",
        metavar="SECONDS",
        shown="0.5; 0 with --cuts",
        least=0,
    )

    crop_every_piece: bool = option(
        False, SCENES, "Crop every clip of a long scene at both ends, as NeMo Curator does."
    )

    transnetv2_threshold: float = option(
        0.4,
        SCENES,
        "Probability above which a frame belongs to a transition (transnetv2).",
        metavar="P",
        least=0,
        most=1,
    )

    skip_uncut: bool = option(
        False, SCENES, "Make no clip from a video in which no transition is found."
    )

    transcode: str = option(
        "encode",
        ENCODE,
        "How to make clips: encode them, copy them from key frame to key frame (200 times real "
        "time, but slightly longer than planned), or copy all but the frames at both ends "
        "(exactly as planned); what cannot be copied is encoded, and its document says why.",
        choices=TRANSCODES,
    )

    decoder: str = option(
        SOFTWARE,
        ENCODE,
        "What decodes source videos: the processor, or the GPU of each worker. GPUs do not "
        "return motion vectors, so motion is then estimated from pixels.",
        choices=DECODERS,
    )

    encoder: str = option("libx264", ENCODE, "The video encoder for the clips.", choices=ENCODERS)

    preset: str | None = option(
        None,
        ENCODE,
        "The encoder's own preset, from fastest to smallest files (libx264: ultrafast … veryslow).",
        metavar="NAME",
        shown="veryfast for libx264",
    )

    crf: int | None = option(
        None,
        ENCODE,
        "Constant quality; lower is better.",
        metavar="N",
        shown="21 for libx264",
        least=0,
    )

    bit_rate: int | None = option(
        None,
        ENCODE,
        "Encode at this many bits per second (4M, 800K) instead of at constant quality.",
        metavar="RATE",
        shown="constant quality",
        parse=parse_bit_rate,
        above=0,
        most=MOST_BIT_RATE,
    )

    use_input_bit_rate: bool = option(
        False, ENCODE, "Encode each clip at the bit rate of its source."
    )

    encoder_threads: int = option(
        1,
        ENCODE,
        "Threads of one encoder. The number affects the encoded bytes; keep it unchanged to get "
        "identical output.",
        metavar="N",
        above=0,
        most=MOST_ENCODER_THREADS,
    )

    audio: str = option(
        "copy",
        ENCODE,
        "Audio of the clips: copied where MP4 allows it (otherwise AAC), always AAC, or none.",
        choices=("copy", "aac", "none"),
    )

    keep: tuple[str, ...] = option(
        (),
        LOOK,
        "Keep only clips that satisfy this rule, as in 'sharpness>=0.1' or 'motion>0.001' (= and "
        "!= where a score is a label), or 'source.license=CC0' on the metadata of the source "
        "video. The scores it needs are measured; several rules must all "
        "be satisfied.",
        metavar="RULE",
        shown="all clips",
    )

    step: tuple[str, ...] = option(
        (),
        LOOK,
        "Add a custom step: package.module:Name, or the name under which an installed package "
        "registers it. Add @PLACE to choose when it runs: after cut, judged, scored, previewed, "
        "embedded or captioned.",
        metavar="STEP",
        shown="none",
    )

    step_option: tuple[str, ...] = option(
        (),
        LOOK,
        "Set an option of such a step, as in Brightness.brightness_threshold=0.4.",
        metavar="STEP.OPTION=VALUE",
        shown="none",
        matters=False,
    )

    drop: tuple[str, ...] = option(
        (),
        LOOK,
        "Reject the clips on this list before any model processes them: a folder that finecut "
        "dedup wrote, a .parquet file with one column id, or a text file with one id per line.",
        metavar="LIST",
        shown="none",
    )
