"""How finecut's commands scale with the number of clips.

    python benchmarks/scale.py paint DIR --rows 100000     an output of so many clips
    make bench-scale                                       what each command takes, by their number
    make bench-scale ROWS="10000 100000"                   of outputs of these sizes

What is painted is what ``curate`` leaves behind: the compacted catalogue, vectors of 256 numbers in
a table for each chunk of 20 clips, and the documents of chunks and videos. Of the clips that are
kept, each tenth is in a group of two to five near-duplicates (a cosine of some 0.98; of all others
no two are alike), and which ones, ``DIR-groups.parquet`` says. Rules rejected 15 % of the clips.

What has one file for each clip is painted only if it is asked for, since 10⁷ files take an hour,
and 40 GB: the clips themselves (``--clips``: hard links to one small film), and documents and
vectors in pickles (``--documents``). The catalogue names clips and documents even so. There are no
previews.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from metering import CommandFailed, cores
from scaling.measuring import STEPS, Taken, measured
from scaling.painting import Painting, paint_output
from scaling.plan import CLIPS_OF_CHUNK, Plan
from scaling.telling import lines

#: So much of the planted duplicates is to be found.
RECALL = 0.99
#: Where a page has figures.
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return int(given.do(given))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    paint = verbs.add_parser("paint", help="paint an output of so many clips")
    paint.add_argument("folder", metavar="DIR", help="a folder that is not there yet")
    paint.add_argument("--rows", type=int, default=100_000, help="how many clips")
    paint.add_argument("--seed", type=int, default=0)
    paint.add_argument("--clips-of-chunk", type=int, default=CLIPS_OF_CHUNK)
    paint.add_argument("--clips", action="store_true", help="also the files of clips")
    paint.add_argument(
        "--documents", action="store_true", help="also documents and pickles of clips"
    )
    paint.add_argument("--half", action="store_true", help="vectors of 16 bits a number")
    paint.add_argument("--processes", type=int, default=cores())
    paint.set_defaults(do=_paint)
    measure = verbs.add_parser("measure", help="measure commands on painted outputs")
    measure.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    measure.add_argument("--only", nargs="+", default=[], help="these commands, as in dedup search")
    measure.add_argument("--clips", action="store_true", help="paint files of clips, too")
    measure.add_argument("--documents", action="store_true", help="and documents of clips")
    measure.add_argument("--workers", type=int, default=0, help="otherwise one for each core")
    measure.add_argument("--at", help="paint in this folder, and not where temporary files lie")
    measure.add_argument("--into", metavar="PAGE", help="put the figures into this page, too")
    measure.set_defaults(do=_measure)
    return parser


def _measure(given: argparse.Namespace) -> int:
    """Of outputs of several sizes, one after the other."""
    chosen = [step for step in STEPS if not given.only or step.name.split(",")[0] in given.only]
    taken: list[Taken] = []
    failed = False
    for rows in sorted(given.rows):
        with tempfile.TemporaryDirectory(prefix="finecut-scale-", dir=given.at) as place:
            painting = Painting(f"{place}/output", Plan(rows), given.clips, given.documents)
            _say(f"painting {rows:,} clips")
            paint_output(painting, cores())
            for step in chosen:
                try:
                    for one in measured(painting, [step], given.workers):
                        _say(f"{one.step}: {one.cpu:.1f} s CPU, {one.megabytes:.0f} MB")
                        taken.append(one)
                except CommandFailed as error:
                    failed = True
                    _say(str(error))
    text = "\n".join(lines(taken)) + "\n"
    if given.into:
        page = Path(given.into)
        page.write_text(filled(page.read_text("utf-8"), text), "utf-8")
    sys.stdout.write(text)
    short = [one for one in taken if one.found and one.found.recall < RECALL]
    return int(failed or bool(short))


def filled(page: str, text: str) -> str:
    """A page with these figures where it has figures."""
    before, found, rest = page.partition(f"{BEGIN}\n")
    _, ended, after = rest.partition(f"{END}\n")
    if not found or not ended:
        raise ValueError(f"the page has no place for figures: write {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}\n{after}"


def _say(text: str) -> None:
    sys.stderr.write(f"scale: {text}\n")


def _paint(given: argparse.Namespace) -> int:
    folder = Path(given.folder).absolute()
    if folder.exists():
        _say(f"{folder} is there already: name a folder that is not")
        return 2
    plan = Plan(given.rows, given.seed, given.clips_of_chunk)
    painting = Painting(str(folder), plan, given.clips, given.documents, half=given.half)
    began = time.monotonic()
    paint_output(painting, given.processes)
    seconds = time.monotonic() - began
    _say(f"{given.rows:,} clips in {folder}, in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
