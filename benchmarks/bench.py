"""What it costs to look: cutting alone against cutting and looking, in one run.

    make bench                     paint a film (once), run every case in turn, several times over
    make bench ROUNDS=5 FILM=…     more rounds, a film of one's own

Every case is a whole command, run alone; what is compared is processor time (user and system, of
all threads), because elapsed time on a shared machine says little. Rounds are interleaved, so that
a machine that slows down slows all cases alike, and the median of each case counts. What every
command costs before it sees a film (starting Python and Beam) is measured as a case too, and taken
off before ratios are formed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from finecut.io.film.paint import Scene, paint

SECONDS, WIDTH, HEIGHT, RATE = 60, 1280, 720, 30
START, CUT, LOOK = "start", "cut", "cut + look"
MEASURES = ["--motion-filter", "score-only", "--quality-filter", "score-only"]
BARE = "--no-generate-embeddings"
CASES: dict[str, list[str]] = {
    CUT: [BARE],
    "+ motion": [BARE, *MEASURES[:2]],
    "+ quality": [BARE, *MEASURES[2:]],
    "+ previews": [BARE, "--generate-previews"],
    "+ vectors": [],
    LOOK: [*MEASURES, "--generate-previews"],
}
#: Looking may cost so much of cutting.
MOST = 1.25


@dataclass(frozen=True)
class Cost:
    """One run of one case."""

    cpu: float
    wall: float
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--film", type=Path, help="measure with this film instead of a painted one")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="finecut-bench-") as folder:
        # In a process of its own: what painting holds would count as the peak of every command.
        with get_context("spawn").Pool(1) as painter:
            moment = painter.apply(short, (Path(folder),))
            film = given.film.resolve() if given.film else painter.apply(painted, (Path(folder),))
        costs = measured(film, moment, Path(folder), given.rounds)
    figures = summed_up(costs)
    sys.stdout.write(table(film, given.rounds, figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    ratio = figures[LOOK]["ratio"]
    sys.stdout.write(f"\nlooking costs {ratio - 1:.0%} of cutting; {MOST - 1:.0%} is the limit\n")
    return 0 if ratio <= MOST else 1


def painted(folder: Path) -> Path:
    """A minute of film in which everything moves, as a camera that pans over rough ground."""
    scenes = [Scene(n, (90, 40), (120, -180, 60, -240, 90, 150)[n], texture=24) for n in range(6)]
    say(f"painting {SECONDS} s of {WIDTH}x{HEIGHT}")
    film = paint(
        folder / "film.mp4",
        width=WIDTH,
        height=HEIGHT,
        rate=RATE,
        seconds=SECONDS,
        cuts=[SECONDS * n / 6 for n in range(1, 6)],
        scenes=scenes,
        sound="aac",
        codec_options={"preset": "medium", "crf": "20"},
    )
    return Path(film.path)


def short(folder: Path) -> Path:
    """So little film that a command over it costs what starting costs."""
    return Path(paint(folder / "moment.mp4", width=64, height=64, seconds=2).path)


def measured(film: Path, moment: Path, folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """Every case once in every round."""
    costs: dict[str, list[Cost]] = {START: [], **{name: [] for name in CASES}}
    for number in range(rounds):
        for name, runs in costs.items():
            say(f"round {number + 1} of {rounds}: {name}")
            source, flags = (moment, [BARE]) if name == START else (film, CASES[name])
            output = folder / f"out-{number}-{name}".replace(" ", "")
            runs.append(cost_of(source, output, flags))
    return costs


def cost_of(film: Path, output: Path, flags: Sequence[str]) -> Cost:
    """Run the command, and ask the system what it used."""
    command = [sys.executable, "-m", "finecut.pipeline.cli", "curate"]
    command += ["--input", str(film), "--output", str(output), *flags]
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, cwd=output.parent
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            code, words = os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} ended with {code}: {words}")
    wall = time.monotonic() - began
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1000)


def summed_up(costs: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    """Medians of each case, and its processor time as a ratio of cutting alone."""
    figures = {
        name: {
            key: statistics.median(asdict(cost)[key] for cost in runs)
            for key in ("cpu", "wall", "peak_mb")
        }
        for name, runs in costs.items()
    }
    start = figures[START]["cpu"]
    for figure in figures.values():
        figure["net"] = figure["cpu"] - start
    for figure in figures.values():
        figure["ratio"] = figure["net"] / figures[CUT]["net"]
    return figures


def table(film: Path, rounds: int, figures: dict[str, dict[str, float]]) -> str:
    lines = [
        f"{film.name}, medians of {rounds} rounds; net: without starting; ratio: net to that of "
        f"{CUT!r}",
        "",
        f"{'case':<12}{'cpu s':>9}{'net s':>9}{'ratio':>8}{'wall s':>9}{'peak MB':>9}",
    ]
    for name, figure in figures.items():
        ratio = "" if name == START else f"{figure['ratio']:.2f}"
        lines.append(
            f"{name:<12}{figure['cpu']:>9.2f}{figure['net']:>9.2f}{ratio:>8}"
            f"{figure['wall']:>9.2f}{figure['peak_mb']:>9.0f}"
        )
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
