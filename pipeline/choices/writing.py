"""What is written, and how clips are divided into windows."""

from __future__ import annotations

from dataclasses import dataclass

from finecut.transforms.option import MOST_WORKERS, OUTPUT, PREVIEW, option


@dataclass(frozen=True, kw_only=True)
class OutputChoices:
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
