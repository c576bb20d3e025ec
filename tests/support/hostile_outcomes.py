"""What becomes of a file, found out in a process of its own, which may die of it.

Under ``strace``, where there is one that may trace, it is also known which files were opened.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutting_room import QUICK
from hostile_making import State

from finecut.io.media.limits import FilmError, prepare_process
from finecut.io.records import Clip, Failure, Source
from finecut.io.storage.publishing import Shelf
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.find.probe import probe_source
from finecut.transforms.split.spans import FixedStride, Splitting, chunks_of

#: Clips of a second, every second.
SPLITTING = Splitting(FixedStride(1.0, 1.0, 0.5))
#: Seconds for one case on a busy machine, and megabytes at the peak of all of them.
PATIENCE, PEAK_MB = 30, 1200


@dataclass(frozen=True)
class Outcome:
    """What became of a file, and what was said of it."""

    state: State
    said: str = ""


def outcome(path: Path, work: Path) -> Outcome:
    """What the plain functions make of a file: probed, split, cut."""
    if path.is_dir():
        return Outcome("unseen")
    cutting = Cutting(Shelf(str(work / "out"), str(work / "out/.staging/x")), QUICK)
    try:
        video = probe_source(Source(str(path), str(path), path.name))
        made: list[Clip | Failure] = []
        chunks = chunks_of(video, SPLITTING)
        for planned in chunks:
            made.extend(cut_chunk(planned, cutting))
    except (FilmError, OSError) as error:
        return Outcome("failed", f"{type(error).__name__}: {error}")
    if not any(planned.clips for planned in chunks):
        return Outcome("empty")
    failed = [one.message for one in made if isinstance(one, Failure)]
    if failed:
        return Outcome("failed", failed[0])
    marks = [said for one in made if isinstance(one, Clip) for said in one.errors.values()]
    return Outcome("marked", marks[0]) if marks else Outcome("done")


def in_a_process(
    work: Path, paths: list[Path], trace: Path | None = None
) -> dict[str, dict[str, Any]]:
    """What becomes of these files; the one is named at which the process died."""
    command = [sys.executable, __file__, str(work)]
    if trace is not None and can_trace():
        command = ["strace", "-f", "-e", "trace=open,openat", "-o", str(trace), *command]
    done = subprocess.run(
        [*command, *map(str, paths)], capture_output=True, text=True, check=False, timeout=300
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    told = {Path(line["path"]).name: line for line in lines}
    missing = [path.name for path in paths if path.name not in told]
    assert done.returncode == 0, (done.returncode, missing[:1], done.stderr[-2000:])
    return told


def can_trace() -> bool:
    """``strace`` may be there and not be allowed to."""
    tracer = shutil.which("strace")
    return (
        tracer is not None
        and not subprocess.run(
            [tracer, "-f", "-o", os.devnull, "true"], capture_output=True, check=False
        ).returncode
    )


def files_below(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def peak_mb() -> int:
    """The most memory this program had. (What getrusage says begins with its parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) // 1024


def main(work: str, *paths: str) -> None:
    """What becomes of these files, one line of JSON each: for a process of its own."""
    prepare_process()
    for path in paths:
        began = time.monotonic()
        ended = outcome(Path(path), Path(work))
        peak = peak_mb()
        told = {"path": path, "state": ended.state, "said": ended.said, "mb": peak}
        print(json.dumps({**told, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
