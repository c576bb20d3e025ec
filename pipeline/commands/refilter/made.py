"""How an output was made, and how it would be made with other rules.

    runs/…/summary.json ─▶ the options it was made with ─┬─▶ new options ─▶ new configuration
    what was given ──────────────────────────────────────┘

The new configuration is that of ``finecut curate`` with the new options. So curation skips what was
refiltered, and does again what could not be (see :mod:`finecut.transforms.refilter.judging`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.io.storage.json_documents import BadDocument, read_json, usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import DropsError
from finecut.pipeline.cli.outlets import shown
from finecut.pipeline.commands.base import DatasetOptions
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.custom_steps import custom_steps
from finecut.pipeline.options import OptionError, Options, default_of, option_fields
from finecut.pipeline.planning import FORM, digest_of, dropping_of
from finecut.transforms.beam.weather import STRICT
from finecut.transforms.filter.rules import parse_rule
from finecut.transforms.option import ENABLE, ENABLED, SCORE_ONLY
from finecut.transforms.refilter.judging import Refiltering
from finecut.transforms.refilter.rewriting import Stage, Yields
from finecut.transforms.registry import IN_CUT, ON_FRAMES, SOURCES, STEPS
from finecut.transforms.step import CUT, JUDGED, SCORED
from finecut.transforms.verify.checks.shapes import RUN, misfit
from finecut.transforms.write.documents import CONFIGURATION
from finecut.transforms.write.writing import Writing

Facts = Mapping[str, str | int | None]

#: The options that may be changed: those of this command that curation has too, and their families.
CHOICES: Final = tuple(
    f.name
    for f in fields(RefilterOptions)
    if f.name not in {*(g.name for g in fields(DatasetOptions)), "dry_run", "yes"}
)
FAMILIES: Final = (*IN_CUT, *ON_FRAMES)
#: Documents of runs that are read, the newest first.
MOST_RUNS: Final = 200
#: Whether a run may remove what only models make again.
ALLOWED: Final = "yes"


class Made(NamedTuple):
    """How videos of an output were made."""

    options: Options
    facts: Facts
    configuration: str


class Done(NamedTuple):
    """What came of it."""

    yields: Yields
    new: Made
    #: Whether nothing was done.
    foreseen: bool = False
    #: Clips that are unaccounted for.
    lost: int = 0


class Run(NamedTuple):
    """What a run says of how it made things."""

    #: When it began, to the second.
    began: str
    #: Whether it came to its end.
    ended: bool
    made: Made | None
    #: Whether it might remove what only models make again.
    allowed: bool = False


def runs_of(layout: Layout) -> Iterator[Run]:
    """The newest first."""
    for folder in sorted(shelf.folders_in(layout.runs()), reverse=True)[:MOST_RUNS]:
        name = folder.rsplit("/", 1)[-1]
        summary = _document_at(layout.run_summary(name))
        document = summary or _document_at(layout.run_begun(name))
        if document is not None:
            yield Run(
                name.partition("-")[0],
                ended=summary is not None,
                made=_made(document),
                allowed=document.get(ALLOWED) is True,
            )


def _document_at(path: str) -> dict[str, Any] | None:
    """The document of a run; one that is bad is named and passed over."""
    try:
        document = read_json(path)
        wrong = None if document is None else misfit(path, document, RUN)
    except BadDocument as error:
        document, wrong = None, str(error)
    if wrong is not None:
        sys.stderr.write(shown(f"finecut: {wrong}: it is unknown what that run did") + "\n")
    return None if wrong is not None else document


def _made(document: Mapping[str, Any]) -> Made | None:
    """How a run made things, if its document has all of it and this version understands it."""
    facts, options = document.get("configuration"), _options(document.get("options"))
    if not isinstance(facts, dict) or options is None:
        return None
    digest = facts.pop("digest", None)
    made = Made(options, facts, digest_of(options, facts))
    # Secrets are not written down, and other versions count otherwise.
    return made if made.configuration == digest else None


def _options(given: Any) -> Options | None:
    usual = {f.name: default_of(f) for f in option_fields()}
    if not isinstance(given, dict) or not given.keys() <= usual.keys():
        return None
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(usual[name], tuple) else value
        for name, value in given.items()
    }
    return Options(**values)


def base_of(output: Output, runs: Sequence[Run]) -> Made:
    """How the output was made, as the newest run says that came to its end."""
    finished = [run for run in runs if run.ended]
    there = shelf.exists(output.layout.processed_videos())
    configuration = next(
        filter(None, map(usable_json, output.videos() if there else ())), {CONFIGURATION: ""}
    ).get(CONFIGURATION)
    if not finished:
        raise NoDataset(f"{output.root} {_nobody_knows(configuration)}")
    # Of runs that began in the same second, what there is tells which was the last.
    last = [run.made for run in finished if run.began == finished[0].began]
    made = next((m for m in last if m and m.configuration == configuration), last[0])
    if made is None or made.facts.get("form") != FORM:
        raise NoDataset(
            f"the newest run of {output.root} used another version of finecut, or had secrets "
            "among its options, which are not recorded: run finecut curate with the options that "
            "you want"
        )
    _refuse_unfit(made.options)
    return made


def _nobody_knows(configuration: str | None) -> str:
    if configuration is None:
        return (
            "was written by another program: its documents do not record a configuration, so it "
            "would be impossible to tell later which videos were refiltered. You can read, "
            "deduplicate and shard its clips as they are. To filter them differently, use that "
            "program, or make the dataset with finecut curate"
        )
    return (
        "has no run that finished (runs/…/summary.json), so the options with which it was made "
        "are unknown: run finecut curate once more with the same options; it skips everything "
        "that is finished"
    )


def _refuse_unfit(options: Options) -> None:
    for step in custom_steps(options):
        if not step.scores_only:
            raise OptionError(
                f"the output was made with a custom step ({step.name}) that is not an EachClip, "
                f"or runs after the rules ({step.place}), and only that step knows what it would "
                "have done: run finecut curate with the new rules"
            )
    if options.dry_run:
        raise OptionError(
            "the output was made with --dry-run, so its clips have no documents: first run "
            "finecut curate without --dry-run"
        )


def renewed(base: Made, options: RefilterOptions) -> Made:
    """How it would have been made with what was given, and otherwise as it was."""
    changes: dict[str, Any] = {
        name: tuple(filter(None, value)) if isinstance(value, tuple) else value
        for name in CHOICES
        if (value := getattr(options, name)) not in (None, ())
    }
    if "drop" in changes:
        changes["drop"] = tuple(map(shelf.absolute, changes["drop"]))
    new = replace(base.options, output=options.dataset, **_left_behind(changes), **changes)
    for text in new.keep:
        try:
            parse_rule(text, own=bool(new.step))
        except ValueError as error:
            raise OptionError(f"--keep {error}") from error
    for family in FAMILIES:
        if base.options.measures(family) and not new.measures(family):
            # What was measured stays, although no rule speaks of it any more.
            kept: dict[str, Any] = {f"{family}_filter": SCORE_ONLY}
            new = replace(new, **kept)
        if new.measures(family) and not base.options.measures(family):
            raise OptionError(
                f"{family} was not measured when this dataset was made, so no rule can use its "
                "scores. Remove such rules, or run finecut curate again with "
                f"--{family}-filter {SCORE_ONLY} and the same other options, which "
                "processes every video again"
            )
    new.check()
    facts = _facts(base, new, "drop" in changes)
    return Made(new, facts, digest_of(new, facts))


def _left_behind(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Thresholds of filters that are enabled no more, which would do nothing now."""
    usual = {f.name: default_of(f) for f in option_fields()}
    return {
        f.name: usual[f.name]
        for step in STEPS
        if changes.get(f"{step.name}_filter", ENABLE) != ENABLE
        for f in fields(step.Options)
        if f.metadata["effective"] == ENABLED and f.name in CHOICES and f.name not in changes
    }


def _facts(base: Made, new: Options, given: bool) -> Facts:
    facts = {name: value for name, value in base.facts.items() if name != "drop"}
    try:
        dropping = dropping_of(new)
    except DropsError as error:
        if given:
            raise
        raise _other_list(new, str(error)) from error
    if dropping is None:
        return facts
    if not given and dropping.digest != base.facts.get("drop"):
        raise _other_list(new, "its ids have changed since then")
    return {**facts, "drop": dropping.digest}


def _other_list(options: Options, why: str) -> OptionError:
    lists = " ".join(options.drop)
    return OptionError(
        f"the output was made with --drop {lists}, and {why}: give --drop {lists} to use it as "
        "it is now, another list, or --drop '' for none"
    )


# ── judging again ─────────────────────────────────────────────────────────────────────────────────


def refiltering_of(root: str, run: str, new: Made, runs: Sequence[Run]) -> Refiltering:
    options = new.options
    layout = found(Layout(root, options.shard_prefix))
    return Refiltering(
        Writing(
            layout,
            Shelf(root, layout.staging_of(run), Fence((root,))),
            upload_clips=not options.no_upload_clips,
            threads=options.write_threads,
            configuration=new.configuration,
            facts=new.facts,
            weather=STRICT,
        ),
        tuple(_stages(options)),
        dropping_of(options),
        frozenset(
            run.made.configuration for run in runs if run.made and _differs_in_rules(run.made, new)
        ),
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
    yield Stage("", tuple(rule for family in (SOURCES, *IN_CUT) for rule in rules[family]))
    yield from custom(JUDGED)
    yield from (Stage(name, rules[name]) for name in ON_FRAMES if options.measures(name))
    yield from custom(SCORED)


def _differs_in_rules(made: Made, new: Made) -> bool:
    """Whether nothing else is between the two, so that the same was measured."""
    choices: dict[str, Any] = {name: getattr(new.options, name) for name in CHOICES}
    facts = {name: value for name, value in made.facts.items() if name != "drop"}
    if "drop" in new.facts:
        facts["drop"] = new.facts["drop"]
    return (digest_of(replace(made.options, **choices), facts) == new.configuration) and all(
        made.options.measures(f) == new.options.measures(f) for f in FAMILIES
    )
