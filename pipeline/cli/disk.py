"""Disks that refuse: of all that can go wrong with a run, what no option mends, in one sentence."""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from finecut.io.records import Failure
from finecut.io.storage import files as shelf

#: What to do about each refusal. Only writers meet these, except for the last one.
REMEDIES: Final[Mapping[int, str]] = {
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Make room there, or have the quota raised",
    errno.EFBIG: "Use a disk, or limits of this process, that allow larger files",
    errno.EROFS: "Mount it so that it can be written to",
    errno.EIO: "Check what the system log says about the disk",
}
#: Steps that only write: a failing disk under them is the output's.
WRITING: Final = frozenset(
    [
        "PublishClips",
        "PublishArtefacts",
        "WriteMetas",
        "WriteVectors",
        "WriteParquet",
        "CloseChunks",
        "CloseVideos",
        "refilter",
    ]
)
#: Engines hand on the text of what went wrong on their workers.
_LED_OUTSIDE: Final = re.compile(r"LeadsOutside: (.*?)(?: \[while running|$)", re.DOTALL)
_NUMBERED: Final = re.compile(r"\[Errno (\d+)\] [^:]*(?:: '(.*)')?", re.DOTALL)


def disk_trouble(failures: Iterable[Failure], output: str) -> str | None:
    """What to say if the output's disk refused to be written to, as these failures tell."""
    refused, root = refused_writing(failures, output), shelf.absolute(output)
    return refused and (
        f"the disk could not be written to ({refused.why}), so whatever failed there is missing "
        f"from {root}. {refused.remedy}, and run the same command again; everything finished "
        "stays finished."
    )


class Refused(NamedTuple):
    """Why a disk refused, and what to do about it."""

    why: str
    remedy: str


def refused_writing(failures: Iterable[Failure], output: str) -> Refused | None:
    """Whether the output's disk refused to be written to, as these failures tell."""
    root = shelf.absolute(output)
    for failure in failures:
        number, path = _numbered(failure.message)
        # Of trouble with reading, it may be a film's disk.
        if number == errno.EIO and failure.step not in WRITING and not path.startswith(f"{root}/"):
            continue
        if number in REMEDIES:
            return Refused(f"{os.strerror(number)}: {path or root}", REMEDIES[number])
    return None


def refusal(error: Exception) -> str | None:
    """Why a disk refused, here or at a worker; nothing if that is not what went wrong."""
    led = _LED_OUTSIDE.search(str(error))
    return why_refused(error) or (None if led is None else led[1])


def why_refused(error: Exception) -> str | None:
    """The same of what may be different when somebody has made room, or mended the disk."""
    number = error.errno if isinstance(error, OSError) else _numbered(str(error))[0]
    return os.strerror(number) if number is not None and number in REMEDIES else None


def _numbered(message: str) -> tuple[int, str]:
    """The number of the system's error and the path that it names, as far as they are said."""
    found = _NUMBERED.search(message)
    return (0, "") if found is None else (int(found[1]), found[2] or "")
