"""What is read."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from finecut.transforms.option import INPUT, option


@dataclass(frozen=True)
class InputChoices:
    input: tuple[str, ...] = option(
        (),
        INPUT,
        "A folder (searched at any depth), a glob in quotes, a video, or a list of videos (.txt, "
        ".json, .jsonl, .csv); you can give several.",
        metavar="PATH",
        shown="required",
        matters=False,
    )

    # All others are given by name.
    _: KW_ONLY

    video_limit: int | None = option(
        None,
        INPUT,
        "Process at most this many videos, the first ones by path.",
        metavar="N",
        shown="all",
        above=0,
        matters=False,
    )

    named_as: str | None = option(
        None,
        INPUT,
        "Name source videos as if the root of the input were ROOT, so that ids stay the same "
        "wherever the files are mounted.",
        metavar="ROOT",
        shown="where they are",
        matters=False,
    )

    subscription: str | None = option(
        None,
        INPUT,
        "On a cluster, keep running: process the videos below the input (a folder in a bucket) "
        "that this Pub/Sub subscription announces as they are written, but not those that are "
        "already there.",
        metavar="NAME",
        shown="none",
        matters=False,
    )

    patience: float = option(
        3600.0,
        INPUT,
        "With --subscription: how long a chunk waits for clips that may have failed, before it "
        "is closed without them.",
        metavar="SECONDS",
        above=0,
        matters=False,
    )
