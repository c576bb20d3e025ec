"""Every choice a user has, once.

A field of :class:`Options` is a flag (``clip_length`` ↔ ``--clip-length``), an argument in Python
and a row in the README's table; ``flags.py`` derives them all. Standard library only: ``--help``
has to answer at once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "h264_nvenc", "libopenh264")
MOST_WORKERS, MOST_ENCODER_THREADS, MOST_BIT_RATE = 256, 64, 1_000_000_000
LEAST_STRIDE = 0.001
LOCAL_RUNNERS = ("local", "DirectRunner", "FnApiRunner")


class OptionError(ValueError):
    """Options that are wrong or contradict each other; the message says what to write instead."""


def option(
    default: Any,
    group: str,
    text: str,
    *,
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    shown: str | None = None,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """A field that is an option: its default, the group it is listed in, and one sentence."""
    metadata = {
        "group": group,
        "text": text,
        "choices": choices,
        "metavar": metavar,
        "shown": shown,
        "parse": parse,
    }
    return field(default=default, metadata=metadata)


def parse_bit_rate(text: str) -> int:
    """Bits per second: ``4000000``, ``4000K`` or ``4M``."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower())
    number = float(text[:-1] if scale else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number * (scale or 1))


INPUT, CUT, ENCODE, OUTPUT, RUN = "input", "cutting", "encoding", "output", "running"


@dataclass(frozen=True)
class Options:
    """The choices of one run. ``Options(input=("films",), output="dataset")`` is enough."""

    input: tuple[str, ...] = option(
        (),
        INPUT,
        "A folder (searched at any depth), a glob in quotes, a video, or a list of videos "
        "(.txt, .json, .jsonl, .csv); several may be given.",
        metavar="PATH",
        shown="required",
    )
    video_limit: int | None = option(
        None, INPUT, "Take at most so many videos, the first by path.", metavar="N", shown="all"
    )
    named_as: str | None = option(
        None,
        INPUT,
        "Name sources as if the input's root were ROOT, so that ids stay the same wherever the "
        "files are mounted.",
        metavar="ROOT",
        shown="where they lie",
    )

    clip_length: float = option(10.0, CUT, "Length of a clip in seconds.", metavar="SECONDS")
    clip_stride: float | None = option(
        None,
        CUT,
        "Distance from the start of one clip to the next; less than the length makes clips "
        "overlap.",
        metavar="SECONDS",
        shown="the length",
    )
    min_clip_length: float = option(
        2.0, CUT, "Drop a shorter clip at the end of a video.", metavar="SECONDS"
    )
    chunk_seconds: int = option(
        256,
        CUT,
        "Close a chunk (the unit of work, and of one Parquet file) when its clips reach so many "
        "seconds.",
        metavar="SECONDS",
    )
    limit_clips: int = option(
        0, CUT, "Cut at most so many clips of each video; 0 means all.", metavar="N"
    )

    encoder: str = option("libx264", ENCODE, "The video encoder of the clips.", choices=ENCODERS)
    preset: str | None = option(
        None,
        ENCODE,
        "The encoder's own preset, from fast to small (libx264: ultrafast … veryslow).",
        metavar="NAME",
        shown="veryfast for libx264",
    )
    crf: int | None = option(
        None,
        ENCODE,
        "Constant quality, lower is better.",
        metavar="N",
        shown="21 for libx264",
    )
    bit_rate: int | None = option(
        None,
        ENCODE,
        "Encode at so many bits per second (4M, 800K) instead of constant quality.",
        metavar="RATE",
        shown="constant quality",
        parse=parse_bit_rate,
    )
    use_input_bit_rate: bool = option(
        False, ENCODE, "Encode each clip at the bit rate of its source."
    )
    encoder_threads: int = option(
        2,
        ENCODE,
        "Threads of one encoder; part of the bytes it writes, so keep it for the same output.",
        metavar="N",
    )
    audio: str = option(
        "copy",
        ENCODE,
        "Sound of the clips: copied where MP4 allows (else AAC), always AAC, or none.",
        choices=("copy", "aac", "none"),
    )

    output: str = option(
        "", OUTPUT, "The folder or bucket path to write to.", metavar="PATH", shown="required"
    )
    shard_prefix: bool = option(
        False, OUTPUT, "Put clips into two-letter folders (clips/d2/d2d0….mp4)."
    )
    no_upload_clips: bool = option(False, OUTPUT, "Write everything except the clips' video files.")
    dry_run: bool = option(
        False,
        OUTPUT,
        "Do all the work, but write only the documents of videos and chunks.",
    )
    write_threads: int = option(6, OUTPUT, "Files written at the same time.", metavar="N")

    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or a Beam runner by name with its own "
        "options.",
        metavar="NAME",
    )
    workers: int = option(
        0,
        RUN,
        "Reels cut at the same time on this machine; 0 means one for each core.",
        metavar="N",
        shown="cores",
    )
    verbose: bool = option(
        False, RUN, "Say of each video and clip what is done, and show warnings of libraries."
    )
    log_stats: bool = option(
        False, RUN, "Print how many items, seconds and bytes each step took at the end."
    )

    @property
    def stride(self) -> float:
        return self.clip_length if self.clip_stride is None else self.clip_stride

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    def check(self) -> Options:
        """Itself, or an :class:`OptionError` that says what to write instead."""
        for wrong in _contradictions(self):
            raise OptionError(wrong)
        return self


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_of(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


def option_fields() -> list[Field[Any]]:
    return list(fields(Options))


def _contradictions(o: Options) -> list[str]:
    positive = {
        "--clip-length": o.clip_length,
        "--clip-stride": o.stride,
        "--chunk-seconds": o.chunk_seconds,
        "--encoder-threads": o.encoder_threads,
        "--write-threads": o.write_threads,
        "--video-limit": 1 if o.video_limit is None else o.video_limit,
        "--bit-rate": 1 if o.bit_rate is None else o.bit_rate,
    }
    not_negative = {
        "--min-clip-length": o.min_clip_length,
        "--limit-clips": o.limit_clips,
        "--workers": o.workers,
        "--crf": o.crf or 0,
    }
    wrong = []
    inputs: object = o.input
    if isinstance(inputs, str):
        return [f"input is one string: write input=({inputs!r},)"]
    for f in option_fields():
        value, choices = getattr(o, f.name), f.metadata["choices"]
        if choices and value not in choices:
            flag = f.name.replace("_", "-")
            wrong.append(f"--{flag} {value} is unknown: write one of {', '.join(choices)}")
    if not o.input:
        wrong.append("no --input: write --input FOLDER (or a file, a glob in quotes, a list)")
    if not o.output:
        wrong.append("no --output: write --output FOLDER, where the dataset shall lie")
    wrong += [
        f"{flag} {value:g} is not possible: write a number above 0"
        for flag, value in positive.items()
        if not value > 0
    ]
    wrong += [
        f"{flag} {value:g} is not possible: write 0 or more"
        for flag, value in not_negative.items()
        if not value >= 0
    ]
    wrong += [
        f"{flag} {value:g} is beyond reason: write {most:g} or less"
        for flag, value, most in (
            ("--workers", o.workers, MOST_WORKERS),
            ("--write-threads", o.write_threads, MOST_WORKERS),
            ("--encoder-threads", o.encoder_threads, MOST_ENCODER_THREADS),
            ("--bit-rate", o.bit_rate or 0, MOST_BIT_RATE),
        )
        if value > most
    ]
    if 0 < o.stride < LEAST_STRIDE:
        wrong.append(
            f"--clip-stride {o.stride:g} is shorter than any frame: write {LEAST_STRIDE:g} or more"
        )
    if any(not spec for spec in o.input):
        wrong.append("--input '' names nothing: write --input . for the current folder")
    if o.min_clip_length > o.clip_length:
        wrong.append(
            f"--min-clip-length {o.min_clip_length:g} is longer than --clip-length "
            f"{o.clip_length:g}, so no clip would be kept: write --min-clip-length "
            f"{o.clip_length:g} or less"
        )
    if o.use_input_bit_rate and o.bit_rate is not None:
        wrong.append("--bit-rate and --use-input-bit-rate contradict each other: write one of them")
    if o.crf is not None and (o.bit_rate is not None or o.use_input_bit_rate):
        wrong.append(
            "--crf (constant quality) contradicts a bit rate: write --crf, or --bit-rate, or "
            "--use-input-bit-rate"
        )
    if o.crf is not None and o.encoder == "libopenh264":
        wrong.append("libopenh264 has no constant quality: write --bit-rate instead of --crf")
    return wrong
