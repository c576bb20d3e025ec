"""How scene detection of a long film is shared out: as a whole, and in segments by workers.

    detection.py                       ten hours, 24 frames a second
    detection.py --hours 1 --rate 6    a shorter one

Each variant is a process of its own, which may use so many cores: a worker alone would use more
than one, because its child decodes while it looks, and two would have no more to share. Of each is
said how long it took from the first look to the last, and how much processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from cutting_room import video_of  # tests/support
from detecting import detect, environment
from long_films import film_of_hours

from finecut.io.process.children import ChildLimits
from finecut.io.process.processor_time import processor_seconds
from finecut.io.records import Video, from_json, to_json
from finecut.transforms.split.scenes import CONTENT, Detection
from finecut.transforms.split.spans import Splitting

#: How much longer two workers may take than half of what one takes; how much of all of it the
#: segment that takes longest may be.
WALL, LONGEST = 1.3, 1 / 20
WHOLE, ONE, TWO, FREE = "as a whole", "one worker", "two workers", "one worker, two cores"
THREADS = "two workers in one process"


@dataclass(frozen=True)
class Variant:
    workers: int
    cores: int
    in_segments: bool = True
    in_threads: bool = False


VARIANTS = {
    WHOLE: Variant(1, 1, in_segments=False),
    ONE: Variant(1, 1),
    TWO: Variant(2, 2),
    #: As the command has them.
    THREADS: Variant(2, 2, in_threads=True),
    FREE: Variant(1, 2),
}


@dataclass(frozen=True)
class Row:
    """What a variant took, and what its cuts are; of threads, only their sum is known."""

    wall: float
    cpu: float
    busiest: float | None
    longest: float | None
    looks: int
    clips: int
    chunks: list[str]


def measured(video: Video, variant: Variant, folder: Path) -> Row:
    """In this process, which is for nothing else."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: variant.cores])
    detection = Detection(CONTENT, limits=ChildLimits())
    if not variant.in_segments:
        detection = replace(detection, segment_seconds=video.duration)
    splitting, threads = Splitting(detection, chunk_seconds=3600), variant.in_threads
    used = processor_seconds()
    found = detect(video, splitting, variant.workers, folder, in_threads=threads)
    return Row(
        wall=found.wall,
        cpu=processor_seconds() - used if threads else found.cpu,
        busiest=None if threads else found.busiest,
        longest=None if threads else found.longest,
        looks=len(found.looks),
        clips=sum(len(planned.clips) for planned in found.chunks),
        chunks=[to_json(planned) for planned in found.chunks],
    )


def started(video: Video, name: str, folder: Path) -> Row:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--variant", name, "--into", str(folder)],
        input=to_json(video),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Row(**json.loads(done.stdout))


def table(rows: dict[str, Row]) -> str:
    lines = [
        "| | cores | segments | elapsed s | CPU s | busiest worker, CPU s | longest, CPU s |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, row in rows.items():
        parts = ("" if part is None else f"{part:.2f}" for part in (row.busiest, row.longest))
        numbers = " | ".join([f"{row.wall:.1f}", f"{row.cpu:.1f}", *parts])
        lines.append(f"| {name} | {VARIANTS[name].cores} | {row.looks} | {numbers} |")
    return "\n".join(lines)


def verdicts(rows: dict[str, Row]) -> dict[str, bool]:
    """What is wanted, in words, and whether it is so."""
    one, two = rows[ONE], rows[TWO]
    assert two.busiest is not None
    assert two.longest is not None
    wall, longest = two.wall / (one.wall / 2), two.longest / two.cpu
    share = two.busiest / (two.cpu / 2)
    threads = rows[THREADS].wall / (one.wall / 2)
    return {
        f"two workers take {wall:.2f} times half of what one takes (≤ {WALL})": wall <= WALL,
        f"two in one process take {threads:.2f} times that (≤ {WALL})": threads <= WALL,
        f"the busier does {share:.2f} times half of the work (≤ {WALL})": share <= WALL,
        f"the longest segment is {longest:.4f} of all of it (≤ {LONGEST})": longest <= LONGEST,
        f"all find the same {one.clips:,} clips": len({tuple(r.chunks) for r in rows.values()})
        == 1,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=int, default=10)
    parser.add_argument("--rate", type=int, default=24, help="frames a second")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.variant:
        video = from_json(Video, sys.stdin.read())
        row = measured(video, VARIANTS[given.variant], given.into)
        print(json.dumps(vars(row)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        piece, film = film_of_hours(folder, given.hours, given.rate)
        video = video_of(replace(piece, path=str(film)))
        print(f"load {os.getloadavg()[0]:.1f}, {video.num_frames:,} frames\n", flush=True)
        rows = {
            variant: started(video, variant, folder / str(number))
            for number, variant in enumerate(VARIANTS)
        }
    print(table(rows), "", sep="\n")
    told = verdicts(rows)
    for sentence, is_so in told.items():
        print(f"{'met' if is_so else 'MISSED'}: {sentence}")
    return 0 if all(told.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
