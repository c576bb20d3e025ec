"""What finecut costs, beside the least that the same work can cost.

    make bench                     measure everything, in three rounds (20 minutes on two cores)
    make bench QUICK=1             the same with short films, in one (two minutes)
    make bench ROUNDS=5            more rounds
    make bench FILMS=folder        real films of one's own instead of the shared ones
    make bench KEEP=1              make these figures the baseline that later ones are held against
    make bench PEER=path/python    run NeMo Curator's stages too, if that Python has them

Every variant is a whole command, run alone. Rounds go through all of them in turn, so that a
machine that slows down slows all alike, and the median of each counts. Processor time says the most
on a machine that others use too; elapsed time and memory need a quiet one.

What is run: ``variants.py``. How it is measured: ``metering.py``. What should be: ``judging.py``.
Writes ``bench/table.md`` and ``bench/figures.json``. Ends with 1 if something got worse than the
baseline by more than 15 %, or could not be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import films
import judging
import telling
from judging import Change, Measured, Row, Verdict
from metering import CommandFailed, Cost, adopt_orphans, cores, cost_of
from peer import CLIPPING
from variants import FULL, QUICK, SMART, Sizes, Stage, Variant, has_weights, staged, variants

BASELINE = Path(__file__).parent / "baseline.json"
#: A load before the first variant that says that the machine is not quiet.
BUSY = 0.5


@dataclass
class Book:
    """Costs of every variant so far, and what went wrong."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    #: Of the clips that smart made: frames that had to be encoded.
    smart_frames: int = 0
    remarks: list[str] = field(default_factory=list)


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
            measure(list(variants(stage, peer)), sizes.rounds, stage.folder, book)
        measured = _measured(book, stage, machine, quick=given.quick)
    return tell(measured, book, given.out, given.baseline, keep=given.keep)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short films, one round")
    parser.add_argument("--rounds", type=int, help="how often what is quick is run")
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


def measure(running: Sequence[Variant], rounds: int, folder: Path, book: Book) -> None:
    """Every variant once in every round, or in the first round only."""
    plan = [
        (number, variant)
        for number in range(1, rounds + 1)
        for variant in running
        if number == 1 or not variant.once
    ]
    began, failed = time.monotonic(), set[str]()
    for count, (number, variant) in enumerate(plan, 1):
        if variant.name in failed:
            continue
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        head = f"{minutes}:{seconds:02} {count} of {len(plan)}, round {number}: {variant.name}"
        try:
            cost = _run(variant, folder, book)
        except CommandFailed as error:
            failed.add(variant.name)
            book.costs.pop(variant.name, None)
            book.remarks.append(f"{variant.name} could not be measured: {error}")
            _say(f"{head} FAILED: {error}")
            continue
        book.costs.setdefault(variant.name, []).append(cost)
        _say(f"{head}: {cost.cpu:.2f} s CPU, {cost.wall:.2f} s, {cost.peak_mb:.0f} MB")


def _run(variant: Variant, folder: Path, book: Book) -> Cost:
    """One run, whose output goes away with it."""
    with tempfile.TemporaryDirectory(prefix="out-", dir=folder) as place:
        output = Path(place)
        clips = output / "clips" if variant.ours else None
        cost = cost_of(variant.commands(output), variant.at_once, clips)
        if variant.ours:
            book.ours.add(variant.name)
            if cost.first is None:
                raise CommandFailed("it made no clip")
        if variant.name == SMART:
            book.smart_frames = frames_encoded(output)
    return cost


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
        rows={name: Row.of(costs, name in book.ours) for name, costs in book.costs.items()},
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
    timelines = {name: costs[-1].timeline for name, costs in book.costs.items()}
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
    sys.exit(main())
