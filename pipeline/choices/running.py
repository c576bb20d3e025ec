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
        shown="the system's temporary folder",
        matters=False,
    )

    scratch_mb: int = option(
        1024,
        RUN,
        "Largest size of that folder in megabytes; contact sheets that do not fit are "
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

    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or the name of a Beam runner, with its "
        "own options.",
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
        "Limit of processor time for one chunk, in that process.",
        metavar="SECONDS",
        least=1,
        matters=False,
    )

    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "How long that process may go without progress.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
        matters=False,
    )
