"""How finecut's commands scale with the number of clips.

    python benchmarks/scale.py paint DIR --rows 100000     an output of so many clips

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
import time
from collections.abc import Sequence
from pathlib import Path

from metering import cores
from scaling.painting import Painting, paint_output
from scaling.plan import CLIPS_OF_CHUNK, Plan


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
    return parser


def _paint(given: argparse.Namespace) -> int:
    folder = Path(given.folder).absolute()
    if folder.exists():
        sys.stderr.write(f"scale: {folder} is there already: name a folder that is not\n")
        return 2
    plan = Plan(given.rows, given.seed, given.clips_of_chunk)
    painting = Painting(str(folder), plan, given.clips, given.documents, half=given.half)
    began = time.monotonic()
    paint_output(painting, given.processes)
    seconds = time.monotonic() - began
    sys.stderr.write(f"scale: {given.rows:,} clips in {folder}, in {seconds:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
