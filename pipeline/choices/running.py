"""How a run goes, and what a video may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import LIMITS, LONGEST_WAIT, MOST_WORKERS, RUN, option

#: The runner of who names none.
LOCAL: Final = "local"
LOCAL_RUNNERS: Final = (LOCAL, "DirectRunner", "FnApiRunner")


@dataclass(frozen=True, kw_only=True)
class RunChoices:
    scratch: str | None = option(
        None,
        RUN,
        "A folder on this machine for contact sheets while they are needed.",
        metavar="FOLDER",
        shown="the system's own",
        matters=False,
    )

    scratch_mb: int = option(
        1024,
        RUN,
        "Megabytes that may lie there; what is not there is drawn again.",
        metavar="MB",
        least=0,
        matters=False,
    )

    overwrite: bool = option(
        False,
        RUN,
        "Do every video again; usually those that an earlier run finished, from the same file and "
        "with the same options, are skipped.",
        matters=False,
    )

    max_attempts: int = option(
        3,
        RUN,
        "Set a video aside that failed so often (until it is replaced, or with --overwrite); 0 "
        "means never.",
        metavar="N",
        least=0,
        most=1_000_000,
        matters=False,
    )

    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or a Beam runner by name with its own "
        "options.",
        metavar="NAME",
        matters=False,
    )

    workers: int = option(
        0,
        RUN,
        "Reels cut at the same time on this machine; 0 means one for each core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
        matters=False,
    )

    verbose: bool = option(
        False,
        RUN,
        "Say of each video and clip what is done, and show warnings of libraries.",
        matters=False,
    )

    quiet: bool = option(
        False,
        RUN,
        "Say nothing but what went wrong: no progress, and no words at the end.",
        matters=False,
    )

    profile: bool = option(
        False,
        RUN,
        "Write where the time and the memory of this run went, step by step and as a flame graph "
        "(runs/…/profile/).",
        matters=False,
    )

    log_stats: bool = option(
        False,
        RUN,
        "Print how many items, seconds and bytes each step took at the end.",
        matters=False,
    )

    max_pixels: int = option(
        67_108_864,
        LIMITS,
        "Refuse films whose pictures have more pixels (8192 by 8192).",
        metavar="N",
        above=0,
        matters=False,
    )

    max_seconds: float = option(
        86_400.0,
        LIMITS,
        "Refuse films that are longer (a day).",
        metavar="SECONDS",
        above=0,
        matters=False,
    )

    max_frames: int = option(
        10_000_000,
        LIMITS,
        "Refuse films that have more frames.",
        metavar="N",
        above=0,
        matters=False,
    )

    max_streams: int = option(
        64, LIMITS, "Refuse files that have more tracks.", metavar="N", above=0, matters=False
    )

    no_isolation: bool = option(
        False,
        LIMITS,
        "Decode films in the workers themselves; usually they are decoded in child processes, and "
        "one that crashes the decoder costs itself only.",
        matters=False,
    )

    max_memory_mb: int = option(
        4096,
        LIMITS,
        "Memory that the work on one film may take, in its child process.",
        metavar="MB",
        least=512,
        most=1_000_000,
        matters=False,
    )

    max_cpu_seconds: float = option(
        14_400.0,
        LIMITS,
        "Processor time that the work on one reel may take there.",
        metavar="SECONDS",
        least=1,
        matters=False,
    )

    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "How long it may take there without getting on.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
        matters=False,
    )
