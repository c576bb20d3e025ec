"""What is read."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from finecut.transforms.option import INPUT, option


@dataclass(frozen=True)
class InputChoices:
    input: tuple[str, ...] = option(
        (),
        INPUT,
        "A folder (searched at any depth), a glob in quotes, a video, or a list of videos "
        "(.txt, .json, .jsonl, .csv); several may be given.",
        metavar="PATH",
        shown="required",
        matters=False,
    )

    # All others are given by name.
    _: KW_ONLY

    video_limit: int | None = option(
        None,
        INPUT,
        "Take at most so many videos, the first by path.",
        metavar="N",
        shown="all",
        above=0,
        matters=False,
    )

    named_as: str | None = option(
        None,
        INPUT,
        "Name sources as if the input's root were ROOT, so that ids stay the same wherever the "
        "files are mounted.",
        metavar="ROOT",
        shown="where they lie",
        matters=False,
    )

    subscription: str | None = option(
        None,
        INPUT,
        "Go on for ever, on a cluster: take the videos below the input (a folder of a bucket) that "
        "this Pub/Sub subscription tells of as they are written, and not those that are there.",
        metavar="NAME",
        shown="none",
        matters=False,
    )

    patience: float = option(
        3600.0,
        INPUT,
        "With --subscription: how long a chunk waits for clips that may have failed before it is "
        "closed without them.",
        metavar="SECONDS",
        above=0,
        matters=False,
    )
