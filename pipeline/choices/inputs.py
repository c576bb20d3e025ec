"""What is read, which of it, and for how long."""

from dataclasses import KW_ONLY, dataclass

from finecut.transforms.option import INPUT, LONGEST_WAIT, option


@dataclass(frozen=True)
class InputChoices:
    input: tuple[str, ...] = option(
        (),
        INPUT,
        "A folder (searched recursively), a glob in quotes, a video, an archive of videos (.tar, "
        ".zip), or a list of videos (.txt, .json, .jsonl, .csv, .parquet; its other columns become "
        "metadata of the videos), on a disk, in a bucket or at a URL; you can give several.",
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

    part: str | None = option(
        None,
        INPUT,
        "Process only part K of N of the videos, chosen by their names. The runs of all N parts, "
        "one after another or at the same time, together write what one run would write.",
        metavar="K/N",
        shown="all",
        matters=False,
    )

    archives: bool = option(
        False,
        INPUT,
        "Also read the .tar and .zip archives that are in a folder or match a glob. "
        "Archives that you name are always opened.",
        matters=False,
    )

    allow_private: bool = option(
        False,
        INPUT,
        "Also connect to web servers at private, local and reserved addresses.",
        matters=False,
    )

    named_as: str | None = option(
        None,
        INPUT,
        "Name source videos as if the root of the input were ROOT, so that ids stay the same "
        "wherever the files are mounted.",
        metavar="ROOT",
        shown="their actual location",
        matters=False,
    )

    source_metadata: bool = option(
        False,
        INPUT,
        "Read the metadata of each video from a JSON file beside it, if there is one: a.mp4.json, "
        "a.json or a.info.json for a.mp4. Columns of a list take precedence.",
        matters=False,
    )

    subscription: str | None = option(
        None,
        INPUT,
        "Keep running: process the videos below the input (a folder in a bucket) that are not "
        "finished, and then those that this Pub/Sub subscription announces as they are written. "
        "On this machine or on Dataflow.",
        metavar="NAME",
        shown="none",
        matters=False,
    )

    announced_only: bool = option(
        False,
        INPUT,
        "With --subscription: process only what is announced, not what is already there. What "
        "was announced to an earlier job that did not finish it is then lost.",
        matters=False,
    )

    watch: float | None = option(
        None,
        INPUT,
        "Keep running: look for new videos every so many seconds, and process each when it is "
        "complete. On this machine, Ctrl-C and SIGTERM end this after the videos it has begun; on "
        "an engine that streams, the job goes on until it is cancelled.",
        metavar="SECONDS",
        shown="none",
        above=0,
        most=LONGEST_WAIT,
        matters=False,
    )

    patience: float = option(
        3600.0,
        INPUT,
        "In a stream: how long a chunk waits for missing clips before it is closed without them.",
        metavar="SECONDS",
        above=0,
        matters=False,
    )
