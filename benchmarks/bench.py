"""What finecut costs, beside the least that the same work can cost.

    make bench                     measure everything (half an hour on two cores)
    make bench QUICK=1             the same with short films (three minutes)
    make bench ROUNDS=5            what lies close together, (a) to (d), five times and not thrice
    make bench FILMS=folder        real films of one's own instead of the shared ones
    make bench KEEP=1              make these figures the baseline that later ones are held against
    make bench PEER=path/python    run NeMo Curator's stages too, if that Python has them

Every variant is a whole command. Each is run alone, which says how much memory it needs, and when
its first clip is there. Then what is held against each other is run side by side, in turns of
a second or less, so that a machine that slows down slows all alike; that says what they cost.

What is run: ``variants.py``. How it is measured: ``metering.py`` and ``turns.py``. What should be:
``judging.py``.
Writes ``bench/table.md`` and ``bench/figures.json``. Ends with 1 if something got worse than the
baseline by more than 15 %, or could not be measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import films
import judging
import telling
from judging import Change, Measured, Row, Verdict
from metering import CommandFailed, Cost, adopt_orphans, cores, cost_of, free_memory
from peer import CLIPPING
from turns import Entry, Spent, in_turns, turn_of
from variants import (
    FULL,
    QUICK,
    SMART,
    YARDSTICK,
    Heat,
    Sizes,
    Stage,
    Variant,
    has_weights,
    heats,
    staged,
    yardstick,
)

BASELINE = Path(__file__).parent / "baseline.json"
#: A load before the first variant that says that the machine is not quiet.
BUSY = 0.5


@dataclass
class Book:
    """Costs of every variant so far, and what went wrong."""

    alone: dict[str, Cost] = field(default_factory=dict)
    beside: dict[str, list[Spent]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    #: Of the clips that smart made: frames that had to be encoded.
    smart_frames: int = 0
    remarks: list[str] = field(default_factory=list)

    def failed(self, name: str, error: CommandFailed) -> None:
        """What could not be measured once is told nowhere but here."""
        self.alone.pop(name, None)
        self.beside.pop(name, None)
        self.remarks.append(f"{name} could not be measured: {error}")
        _say(f"{name} FAILED: {error}")


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parsed(arguments)
    sizes = _sizes(given)
    book = Book()
    adopt_orphans()
    # Not resolved: the Python of an environment is a link.
    peer = _usable(given.peer.absolute(), book) if given.peer else None
    if not has_weights():
        book.remarks.append(
            "(d) is without vectors: their model is not installed; make setup "
            "EXTRAS=gcp,dev,models,screen installs it."
        )
    machine = telling.machine()
    if machine["load"] > BUSY:
        _say(f"something else is running here (load {machine['load']}): trust CPU seconds only")
    with tempfile.TemporaryDirectory(prefix="finecut-bench-") as place:
        stage = staged(Path(place), sizes, _real(given, sizes), _say)
        with _unless_stopped(book):
            measure(list(heats(stage, peer)), yardstick(stage), sizes.rounds, stage.folder, book)
        measured = _measured(book, stage, machine, quick=given.quick)
    return tell(measured, book, given.out, given.baseline, keep=given.keep)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short films, one round")
    parser.add_argument("--rounds", type=int, help="how often (a) to (d) are run side by side")
    parser.add_argument("--films", type=Path, help="a folder of real films")
    parser.add_argument("--short-films", type=int, help="how many films of one second")
    parser.add_argument("--lengths", type=int, nargs="+", help="minutes of the films for memory")
    parser.add_argument("--keep", action="store_true", help="make the figures the baseline")
    parser.add_argument("--peer", type=Path, help="a Python that has NeMo Curator")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where to write")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    return parser.parse_args(arguments)


def _sizes(given: argparse.Namespace) -> Sizes:
    sizes = QUICK if given.quick else FULL
    asked: dict[str, Any] = {
        "rounds": given.rounds,
        "films": given.short_films,
        "lengths": tuple(sorted(given.lengths)) if given.lengths else None,
    }
    return replace(sizes, **{name: value for name, value in asked.items() if value})


def _real(given: argparse.Namespace, sizes: Sizes) -> list[films.Film]:
    if given.films:
        return films.films_in(given.films.resolve())
    return films.shared() if sizes.shared else []


def _usable(python: Path, book: Book) -> Path | None:
    """The peer's Python, or a remark on why it is none."""
    try:
        tried = subprocess.run(
            # -I: not what happens to lie in this folder.
            [python, "-I", "-c", f"import {CLIPPING}"],
            capture_output=True,
            text=True,
            check=False,
        )
        said = (tried.stderr.strip() or " ").splitlines()[-1] if tried.returncode else None
    except OSError as error:
        said = str(error)
    if said is None:
        return python
    book.remarks.append(f"NeMo Curator was not measured: {python} cannot import it ({said}).")
    return None


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def measure(heats: Sequence[Heat], yard: Variant, rounds: int, folder: Path, book: Book) -> None:
    """Every variant alone, then those of each heat side by side; close ones in every round."""
    began = time.monotonic()
    everyone = [yard, *(variant for heat in heats for variant in heat.variants)]
    for count, variant in enumerate(everyone, 1):
        _alone(f"{_since(began)} {count} of {len(everyone)} alone", variant, folder, book)
    rounds_of = [
        (number, heat)
        for heat in heats
        if len(heat.variants) > 1
        for number in range(1, (rounds if heat.close else 1) + 1)
    ]
    for count, (number, heat) in enumerate(rounds_of, 1):
        head = f"{count} of {len(rounds_of)} side by side: {heat.what}, round {number}"
        _say(f"{_since(began)} {head}")
        _side_by_side(heat, yard, folder, book)


def _since(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes}:{seconds:02}"


def _alone(head: str, variant: Variant, folder: Path, book: Book) -> None:
    """One run, whose output goes away with it."""
    with tempfile.TemporaryDirectory(prefix="out-", dir=folder) as place:
        output = Path(place)
        clips = output / "clips" if variant.ours else None
        try:
            cost = cost_of(variant.commands(output), variant.at_once, clips)
            if variant.ours and cost.first is None:
                raise CommandFailed("it made no clip")
        except CommandFailed as error:
            book.failed(variant.name, error)
            return
        if variant.name == SMART:
            book.smart_frames = frames_encoded(output)
    book.alone[variant.name] = cost
    if variant.ours:
        book.ours.add(variant.name)
    took = f"{cost.cpu:.2f} s CPU, {cost.wall:.2f} s, {cost.peak_mb:.0f} MB"
    _say(f"{head}: {variant.name}: {took}")


def _side_by_side(heat: Heat, yard: Variant, folder: Path, book: Book) -> None:
    """One round of what could be run alone; it counts when all are through."""
    running = [one for one in (*heat.variants, yard) if one.name in book.alone]
    alone = {one.name: book.alone[one.name] for one in running}
    if lacking := _lacking_memory(alone.values()):
        book.remarks.append(f"{heat.what} could not be run side by side: {lacking}")
        return
    found: dict[str, Spent] = {}
    with ExitStack() as stack:
        entries = dict[str, Entry]()
        for variant in running:
            place = tempfile.TemporaryDirectory(prefix="out-", dir=folder)
            commands = variant.commands(Path(stack.enter_context(place)))
            turn = turn_of(alone[variant.name].wall, max(cost.wall for cost in alone.values()))
            entries[variant.name] = Entry(commands, variant.at_once, turn)
        # Nothing runs any more when its output goes.
        for name, took in stack.enter_context(closing(in_turns(entries))):
            if isinstance(took, CommandFailed):
                book.failed(name, took)
                continue
            found[name] = took
            _say(f"  {name}: {took.cpu:.2f} s CPU, {took.wall:.2f} s")
    if pace := found.pop(yard.name, None):
        for name, took in found.items():
            told = replace(took, pace_cpu=pace.cpu, pace_wall=pace.wall)
            book.beside.setdefault(name, []).append(told)


def _lacking_memory(costs: Iterable[Cost]) -> str | None:
    """Why these cannot be there at once, by what each needed alone."""
    needed = sum(cost.peak_mb for cost in costs)
    free = free_memory() / 1e6
    return f"they need {needed:.0f} MB and {free:.0f} are free" if needed > free else None


def frames_encoded(output: Path) -> int:
    """How many frames a run had to encode, by the documents of its clips."""
    metas = (json.loads(path.read_text()) for path in (output / "metas").rglob("*.json"))
    return sum(meta.get("frames_encoded", 0) for meta in metas)


@contextmanager
def _unless_stopped(book: Book) -> Iterator[None]:
    """Ctrl-C ends measuring; what was measured is told."""
    try:
        yield
    except KeyboardInterrupt:
        book.remarks.append("It was stopped before everything was measured.")


def _measured(book: Book, stage: Stage, machine: dict[str, Any], quick: bool) -> Measured:
    return Measured(
        rows={
            name: Row.of(cost, book.beside.get(name, ()), name in book.ours)
            for name, cost in book.alone.items()
            if name != YARDSTICK
        },
        cores=cores(),
        seconds=stage.seconds,
        copied_seconds=stage.copied.seconds,
        few=stage.few,
        many=stage.many,
        short_clips=round(stage.short.seconds),
        lengths=tuple(stage.lengths),
        quick=quick,
        painted_frames=stage.painted_frames,
        smart_frames=book.smart_frames,
        films=tuple(film.path.name for film in stage.corpus),
        machine=machine,
    )


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


def tell(measured: Measured, book: Book, out: Path, baseline: Path, keep: bool) -> int:
    """Write and print all, and say whether all is as it was."""
    if measured.limit not in measured.rows:
        _say("nothing to compare with was measured; " + " ".join(book.remarks))
        return 1
    verdicts = judging.verdicts(measured)
    size = "quick" if measured.quick else "full"
    known = json.loads(baseline.read_text()) if baseline.exists() else {}
    remarks = list(book.remarks)
    compared = _compared(measured, known.get(size), remarks)
    page = telling.markdown(measured, verdicts, compared, remarks)
    found = _document(measured, book, verdicts)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(page)
    (out / "figures.json").write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(page)
    if keep and not book.remarks:
        known[size] = {key: value for key, value in found.items() if key != "timelines"}
        baseline.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    _say(f"written: {out}/table.md, {out}/figures.json{f', {baseline}' if keep else ''}")
    return int(bool(book.remarks) or any(judging.worse(compared)))


def _document(measured: Measured, book: Book, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    timelines = {name: cost.timeline for name, cost in book.alone.items()}
    return {**telling.document(measured, verdicts), "timelines": timelines}


def _compared(
    measured: Measured, baseline: Mapping[str, Any] | None, remarks: list[str]
) -> list[Change]:
    """What changed since the baseline; why nothing is compared is a remark."""
    reason = judging.why_not_compared(measured, baseline)
    if baseline is None or reason is not None:
        remarks.append(f"Not compared with the baseline: {reason}.")
        return []
    now, before = judging.ratios(measured, baseline["limit"]), baseline["ratios"]
    if baseline["cores"] != measured.cores:
        remarks.append(
            f"The baseline was measured on {baseline['cores']} cores, and here are "
            f"{measured.cores}: only processor time was compared."
        )
        now = judging.on_other_cores(now)
    return judging.changes(now, before)


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # All as Ctrl-C, in the background as well: processes that are stopped must not stay.
        signal.signal(ending, signal.default_int_handler)
    sys.exit(main())
