"""What was measured, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from metering import cores

from scaling.measuring import Taken, by_step, foreseen, memory_foreseen, power

#: What the last table is about.
MANY: Final = 10**8
#: Whose price it has.
REGION, MACHINE = "us-central1", "n2-standard-4"


class Price(NamedTuple):
    """What a core costs for an hour, and since when that is said."""

    of_core: float
    currency: str
    dated: str


def price() -> Price:
    """By the table of ``finecut estimate``."""
    text = (files("finecut.pipeline.commands.estimate") / "prices.json").read_text("utf-8")
    table = json.loads(text)
    machine = table["regions"][REGION]["machines"][MACHINE]
    return Price(machine["per_hour"] / machine["cpus"], table["currency"], table["dated"])


def lines(taken: Sequence[Taken]) -> Iterator[str]:
    """All of it."""
    yield "| command | clips | CPU s | elapsed s | largest process MB | CPU grows | memory grows |"
    yield "| --- | --: | --: | --: | --: | --: | --: |"
    for name, sizes in by_step(taken).items():
        for less, one in zip((None, *sizes), sizes, strict=False):
            yield (
                f"| {name} | {one.rows:,} | {one.cpu:.1f} | {one.wall:.1f} | {one.megabytes:.0f} "
                f"| {_grown(less, one)} |"
            )
    yield ""
    yield f"Measured with {cores()} cores. n^p: with that power of the number of clips."
    yield from _recall(taken)
    yield ""
    yield from _of_many(taken)


def _grown(less: Taken | None, more: Taken) -> str:
    if less is None:
        return " | "
    cpu = power(less, more, lambda each: each.cpu)
    memory = power(less, more, lambda each: each.megabytes)
    return f"n^{cpu:.2f} | n^{memory:.2f}"


def _recall(taken: Sequence[Taken]) -> Iterator[str]:
    for one in taken:
        if one.found is not None:
            planted, _, wrong = one.found
            yield (
                f"Of {one.rows:,} clips, {planted:,} were planted duplicates; dedup found "
                f"{one.found.recall:.2%} of them, and {wrong:,} that are none."
            )


def _of_many(taken: Sequence[Taken]) -> Iterator[str]:
    cost = price()
    yield f"| {MANY:,} clips, foreseen | CPU hours | {cost.currency} | GB at most |"
    yield "| --- | --: | --: | --: |"
    for name, sizes in by_step(taken).items():
        hours = foreseen(sizes, MANY) / 3600
        memory = memory_foreseen(sizes, MANY)
        told = "" if memory is None else f"{memory / 1024:,.1f}"
        yield f"| {name} | {hours:,.1f} | {hours * cost.of_core:,.2f} | {told} |"
    yield ""
    yield (
        "Foreseen from the two largest outputs: processor time in proportion, or as it grew if "
        "that was faster; memory as if each further clip took what the last ones did, which "
        "caches, and libraries that were loaded later, make too large. "
        f"A core of {MACHINE} in {REGION} costs {cost.of_core:.4f} {cost.currency} an hour by the "
        f"list of {cost.dated} that finecut estimate has, which nobody has checked; requests, "
        "storage and network come on top."
    )
