"""From how an output is to be made to how its clips are judged again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from finecut.io.layout import Layout
from finecut.io.storage.fence import Fence
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.commands.refilter.made import CHOICES, FAMILIES, Made, Run
from finecut.pipeline.custom_steps import custom_steps
from finecut.pipeline.options import Options
from finecut.pipeline.planning import digest_of, dropping_of
from finecut.transforms.refilter.judging import Refiltering
from finecut.transforms.refilter.rewriting import Stage
from finecut.transforms.registry import IN_CUT, ON_FRAMES
from finecut.transforms.step import CUT, JUDGED, SCORED
from finecut.transforms.write.writing import Writing


def refiltering_of(root: str, run: str, new: Made, runs: Sequence[Run]) -> Refiltering:
    options = new.options
    layout = Layout(root, options.shard_prefix)
    known = {
        run.made.configuration for run in runs if run.made and _differs_in_rules(run.made, new)
    }
    return Refiltering(
        Writing(
            layout,
            Shelf(root, layout.staging_of(run), Fence((root,))),
            upload_clips=not options.no_upload_clips,
            threads=options.write_threads,
            configuration=new.configuration,
            facts=new.facts,
        ),
        tuple(_stages(options)),
        dropping_of(options),
        frozenset(known),
        previews=options.generate_previews,
        made=tuple(
            (step.gives, step.of_windows)
            for step in sorted(options.making, key=lambda step: not step.has_model)
            if step.gives
        ),
        unordered=options.cuts is not None,
    )


def _stages(options: Options) -> Iterator[Stage]:
    """Who judges, in the order of curation."""
    rules, own = options.rules, custom_steps(options)

    def custom(place: str) -> Iterator[Stage]:
        return (Stage(s.name, s.rules, s.scores) for s in own if s.place == place)

    yield from custom(CUT)
    yield Stage("", tuple(rule for family in IN_CUT for rule in rules[family]))
    yield from custom(JUDGED)
    yield from (Stage(name, rules[name]) for name in ON_FRAMES if options.measures(name))
    yield from custom(SCORED)


def _differs_in_rules(made: Made, new: Made) -> bool:
    """Whether nothing else is between the two, so that the same was measured."""
    choices: dict[str, Any] = {name: getattr(new.options, name) for name in CHOICES}
    facts = {name: value for name, value in made.facts.items() if name != "drop"}
    if "drop" in new.facts:
        facts["drop"] = new.facts["drop"]
    same = digest_of(replace(made.options, **choices), facts) == new.configuration
    return same and all(made.options.measures(f) == new.options.measures(f) for f in FAMILIES)
