"""What is written, how a run goes, on which machines, and what a video may ask for."""

from dataclasses import dataclass
from typing import Final

from finecut.io.layout import ARRANGEMENTS
from finecut.io.storage.web.urls import MOST_MB
from finecut.pipeline.choices.inputs import InputChoices
from finecut.transforms.models.resources import AUTO, step_names
from finecut.transforms.option import (
    LIMITS,
    LONGEST_WAIT,
    MACHINES,
    MOST_WORKERS,
    OUTPUT,
    PREVIEW,
    RUN,
    option,
)

#: The runner of who names none.
LOCAL: Final = "local"
LOCAL_RUNNERS: Final = (LOCAL, "DirectRunner", "FnApiRunner")
#: Every GPU that torch sees.
ALL_GPUS: Final = "all"


def parse_gpus(text: str) -> list[int]:
    """The numbers of GPUs.

    >>> parse_gpus("0,1")
    [0, 1]
    """
    words = str(text).split(",")
    if not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
        raise ValueError(f"{text} names no GPUs: give their numbers, as in 0,1, or {ALL_GPUS}")
    numbers = [int(word) for word in words]
    if len({*numbers}) < len(numbers):
        raise ValueError(f"{text} names a GPU twice: each has one process")
    return numbers


@dataclass(frozen=True, kw_only=True)
class RunChoices(InputChoices):
    scratch: str | None = option(
        None,
        RUN,
        "A folder on this machine for contact sheets while they are needed.",
        metavar="FOLDER",
        shown="the system's temporary folder",
        matters=False,
    )

    scratch_mb: int = option(
        1024,
        RUN,
        "Maximum size of that folder in megabytes; contact sheets that do not fit are "
        "sampled again.",
        metavar="MB",
        least=0,
        matters=False,
    )

    overwrite: bool = option(
        False,
        RUN,
        "Process every video again. By default, videos that an earlier run finished from the "
        "same file with the same options are skipped.",
        matters=False,
    )

    max_attempts: int = option(
        3,
        RUN,
        "After this many failures, set a video aside until its file changes (or until you give "
        "--overwrite); 0 means never.",
        metavar="N",
        least=0,
        most=1_000_000,
        matters=False,
    )

    max_marked: int = option(
        50,
        RUN,
        "Stop the run when one step has marked this many clips in a row with an error; 0 means "
        "never.",
        metavar="N",
        least=0,
        most=1_000_000,
        matters=False,
    )

    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), prism (Beam's own engine, on this "
        "machine), or the name of another Beam runner, with its own options.",
        metavar="NAME",
        matters=False,
    )

    workers: int = option(
        0,
        RUN,
        "How many chunks are cut at the same time on this machine; 0 means one per core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
        matters=False,
    )

    gpus: str | None = option(
        None,
        RUN,
        "Which GPUs of this machine to share the videos among, one process for each: their "
        "numbers, as in 0,1, or all.",
        metavar="N,N",
        shown="all, if a step works on a GPU",
        matters=False,
    )

    verbose: bool = option(
        False,
        RUN,
        "Log what is done with each video and clip, and show the warnings of libraries.",
        matters=False,
    )

    quiet: bool = option(
        False,
        RUN,
        "Print only errors: no progress and no final message.",
        matters=False,
    )

    profile: bool = option(
        False,
        RUN,
        "Write a profile of the time and memory of this run, step by step and as a flame graph "
        "(runs/…/profile/).",
        matters=False,
    )

    log_stats: bool = option(
        False,
        RUN,
        "At the end, print how many items, seconds and bytes each step took.",
        matters=False,
    )

    max_pixels: int = option(
        67_108_864,
        LIMITS,
        "Refuse videos with more pixels per frame than this (8192 by 8192).",
        metavar="N",
        above=0,
        matters=False,
    )

    max_seconds: float = option(
        86_400.0,
        LIMITS,
        "Refuse videos that are longer than this (one day).",
        metavar="SECONDS",
        above=0,
        matters=False,
    )

    max_frames: int = option(
        10_000_000,
        LIMITS,
        "Refuse videos with more frames than this.",
        metavar="N",
        above=0,
        matters=False,
    )

    max_streams: int = option(
        64, LIMITS, "Refuse files with more tracks than this.", metavar="N", above=0, matters=False
    )

    max_download_mb: int = option(
        MOST_MB,
        LIMITS,
        "Refuse videos on web servers, and compressed ones in archives, that are larger than this.",
        metavar="MB",
        least=1,
        most=1_000_000_000,
        matters=False,
    )

    no_isolation: bool = option(
        False,
        LIMITS,
        "Decode videos in the workers themselves, not in child processes. Then a video that "
        "crashes the decoder ends the whole run.",
        matters=False,
    )

    max_memory_mb: int = option(
        4096,
        LIMITS,
        "Memory limit of the child process that works on a video.",
        metavar="MB",
        least=512,
        most=1_000_000,
        matters=False,
    )

    max_cpu_seconds: float = option(
        14_400.0,
        LIMITS,
        "CPU time limit for one chunk, in a child process.",
        metavar="SECONDS",
        least=1,
        matters=False,
    )

    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "Stop a child process that makes no progress for this long.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
        matters=False,
    )

    resources: tuple[str, ...] = option(
        (),
        MACHINES,
        "What a step needs on a cluster, as in embed:gpu_memory_gb=8 or caption:entire_gpu=true "
        f"(steps: {', '.join(step_names())}).",
        metavar="STEP:KEY=VALUE",
        shown="what its model needs",
        matters=False,
    )

    right_fitting: bool = option(
        False,
        MACHINES,
        "On a cluster: cut on machines without a GPU (unless cutting needs one), and pass the "
        "clips on to machines with a GPU for the models. Those machines decode the clips once "
        "more.",
        matters=False,
    )

    accelerator: str = option(
        "nvidia-l4",
        MACHINES,
        "Which GPU the workers of a cluster get if a step needs one, by its name on Google Cloud.",
        metavar="NAME",
        matters=False,
    )

    accelerator_machine: str = option(
        AUTO,
        MACHINES,
        "With --right-fitting: the type of the machines that have that GPU. All others are those "
        "of the runner's own option (--machine_type).",
        metavar="TYPE",
        shown="the smallest that suits the GPU, such as g2-standard-8",
        matters=False,
    )

    window_size: int = option(
        256,
        PREVIEW,
        "Frames in a window, the unit of previews and captions.",
        metavar="FRAMES",
        above=0,
    )

    window_remainder: int = option(
        128,
        PREVIEW,
        "If at least this many frames are left at the end, they become another window; fewer "
        "join the last one.",
        metavar="FRAMES",
        above=0,
    )

    output: str = option(
        "",
        OUTPUT,
        "The folder or bucket path for the output.",
        metavar="PATH",
        shown="required",
        matters=False,
    )

    layout: str | None = option(
        None,
        OUTPUT,
        "How clips are written: as files, or packed into two files for each chunk (packs/). It is "
        "decided when a dataset is begun; give it again for one in a bucket.",
        metavar="LAYOUT",
        choices=ARRANGEMENTS,
        shown="that of the dataset; files for a new one and in a bucket",
        matters=False,
    )

    shard_prefix: bool = option(
        False, OUTPUT, "Put clips into two-letter folders (clips/d2/d2d0….mp4)."
    )

    no_upload_clips: bool = option(
        False, OUTPUT, "Write everything except the video files of the clips."
    )

    dry_run: bool = option(
        False,
        OUTPUT,
        "Process everything, but write only the documents of videos and chunks; they replace those "
        "of an existing dataset, so give an empty --output.",
    )

    no_report: bool = option(
        False,
        OUTPUT,
        "Do not write the report (report/index.html) at the end of a run that writes to a disk. "
        "For buckets, finecut report writes it.",
        matters=False,
    )

    write_threads: int = option(
        6,
        OUTPUT,
        "How many files are written at the same time.",
        metavar="N",
        above=0,
        most=MOST_WORKERS,
        matters=False,
    )
