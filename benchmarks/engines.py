"""Curate the same films on the local runner and on another engine, and compare.

    engines.py prism -- --runner prism
    engines.py prism --films 2000 -- --runner prism

Painted films (the demo's three, or so many small ones) or a folder of films; what is compared is
every file of the datasets, and what both runs cost: elapsed time, processor time, peak memory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from faults import differences, tree  # tests/support
from metering import Cost, adopt_orphans, cost_of

from finecut.io.media.testfilm.paint import demo_films

OPTIONS = (
    *("--splitting-algorithm", "content", "--min-clip-length", "1", "--crop", "0.1"),
    *("--motion-filter", "enable", "--quality-filter", "enable"),
    *("--generate-previews", "--preview-target-fps", "4", "--no-report", "--quiet"),
)
#: Small films: what an engine costs for each, and not what decoding costs.
SMALL = ("--clip-length", "2", "--no-generate-embeddings", "--no-report", "--quiet")
SECONDS = 4


def films(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    if not number:
        list(demo_films(folder))
        return
    from films import small

    small(folder / "0000.mp4", SECONDS, 12)
    for at in range(1, number):
        shutil.copyfile(folder / "0000.mp4", folder / f"{at:04}.mp4")


def curated(given: Path, output: Path, options: Sequence[str], runner: Sequence[str]) -> Cost:
    program = str(Path(sys.executable).with_name("finecut"))
    where = ["--input", str(given), "--output", str(output)]
    return cost_of([[program, "curate", *where, *options, *runner]])


def row(name: str, cost: Cost, number: int, output: Path) -> str:
    clips = sum(
        1 for folder in ("clips", "filtered_clips") for _ in (output / folder).glob("*.mp4")
    )
    each = f"{1000 * cost.cpu / number:.0f} ms"
    return (
        f"{name:<10} {number:>6} {clips:>6} {cost.wall:>8.1f} s {cost.cpu:>8.1f} s "
        f"{each:>9} {cost.peak_mb:>8.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the engine, for the folder and the table")
    parser.add_argument("--films", type=int, default=0, help="so many small films, not the demo's")
    parser.add_argument("--input", type=Path, help="a folder of films")
    parser.add_argument("--into", type=Path, default=Path("demo"), help="where all of it is made")
    parser.add_argument("runner", nargs="+", help="--runner and the engine's options, after --")
    given = parser.parse_args()
    adopt_orphans()
    folder = (given.into / given.name).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    if given.input is None:
        films(folder / "films", given.films)
    source = folder / "films" if given.input is None else given.input.resolve()
    options = SMALL if given.films else OPTIONS
    number = sum(1 for path in source.rglob("*") if path.is_file())
    print("runner      films  clips       wall        CPU  CPU/film        peak")
    for name, runner in (("local", ()), (given.name, given.runner)):
        output = folder / f"on-{name}"
        print(row(name, curated(source, output, options, runner), number, output), flush=True)
    local, other = (tree(folder / f"on-{name}") for name in ("local", given.name))
    wrong = differences(local, other) if local else ["nothing was written"]
    if wrong:
        sys.exit(f"{given.name}: not what the local runner wrote: {wrong[:10]}")
    print(f"{given.name}: {len(other)} files, all as the local runner wrote them")


if __name__ == "__main__":
    main()
