"""What ``finecut refilter`` prints: the table before anything is done, and how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from finecut.io.storage import files as shelf
from finecut.pipeline.beam_options import words_of
from finecut.pipeline.commands.refilter.made import Done
from finecut.pipeline.options import Options
from finecut.pipeline.planning import dropping_of
from finecut.transforms.dedup.keepers import bereft_words
from finecut.transforms.filter.clips import ids_of
from finecut.transforms.filter.rules import Rule
from finecut.transforms.refilter.changing import REFILTERED, UNCHANGED, UNTOUCHED
from finecut.transforms.refilter.yields import KEPT, Amount, Yields, curve

#: Names that are printed; all are in the run's document.
SHOWN: Final = 10


def table(yields: Yields, rules: Sequence[Rule]) -> str:
    """What is kept and what each rule rejects, now and then; and what other limits would do."""
    names = [KEPT, *dict.fromkeys(rule.name for rule in rules)]
    names += sorted({*yields.now, *yields.then} - {*names})
    rows = [f"{'':<28}{'now':>24}{'then':>24}"]
    for name in names:
        now, then = (amounts.get(name, Amount()) for amounts in (yields.now, yields.then))
        rows.append(f"{name or 'kept':<28}{_amount(now):>24}{_amount(then):>24}")
    if others := yields.clips_untouched + yields.clips_failed:
        rows.append(f"{'not touched':<28}{f'{others} clips':>24}{f'{others} clips':>24}")
    curves: dict[str, None] = {}
    for rule in rules:
        if points := curve(yields.sample, rule):
            parts = ", ".join(f"{part:.0%} at {limit:.4g}" for limit, part in points)
            # Several rules may speak of one score.
            curves[f"{rule.score} {rule.comparison} alone would keep {parts}"] = None
    rows += curves
    if yields.losing:
        lost = ", ".join(f"{number} {what}" for what, number in sorted(yields.losing.items()))
        rows.append(
            f"lost with the clips that are now rejected: {lost} (only curate can make them again)"
        )
    return "\n".join(rows)


def _amount(amount: Amount) -> str:
    return f"{amount.clips} clips {amount.seconds:.1f} s"


def final_words(done: Done) -> str:
    """What was done to how many videos, and how to finish the others."""
    yields = done.yields
    videos, listed = yields.videos, yields.untouched
    would = "would be " if done.foreseen else ""
    found = sum(videos.values()) + yields.num_failures
    lines = [
        f"videos   {found} found = {videos.get(REFILTERED, 0)} {would}refiltered"
        f" + {videos.get(UNCHANGED, 0)} unchanged + {videos.get(UNTOUCHED, 0)} not touched"
        f" + {yields.num_failures} failed",
        f"clips    {yields.clips} found = {sum(a.clips for a in yields.then.values())} judged"
        f" + {yields.clips_untouched} not touched + {yields.clips_failed} failed",
    ]
    lines += [f"  {one.video}: {one.why}" for one in listed[:SHOWN]]
    lines += [f"  {one.source.relative}: {one.message}" for one in yields.failures[:SHOWN]]
    more = videos.get(UNTOUCHED, 0) + yields.num_failures
    more -= len(listed[:SHOWN]) + len(yields.failures[:SHOWN])
    lines += _of_lists(yields, done.new.options)
    if more:
        lines.append(f"  … and {more} more")
    if videos.get(UNTOUCHED) or yields.num_failures:
        command = shlex.join(["finecut", "curate", *words_for_curate(done.new.options)])
        lines += [
            "",
            (
                "this command processes exactly these videos again and skips the others:\n  "
                f"{command}"
            ),
        ]
    return "\n".join(lines)


def words_for_curate(options: Options) -> list[str]:
    """What to tell curation, wherever it is started."""
    return words_of(
        replace(
            options,
            input=tuple(map(shelf.absolute, options.input)),
            output=shelf.absolute(options.output),
            quiet=False,
            verbose=False,
        )
    )


def _of_lists(yields: Yields, options: Options) -> list[str]:
    lines = bereft_words(yields.bereft)
    dropping = dropping_of(options)
    if dropping is not None and not yields.on_lists:
        number = len(ids_of(dropping))
        of = "among the clips that were judged" if yields.clips_untouched else "in the dataset"
        lines.append(f"{number} ids on the lists, but none of them is {of}")
    return lines
