"""Refiltering: other rules and thresholds for a finished output, without decoding or models.

    runs/…/summary.json ─▶ the options it was made with ─┬─▶ new options ─▶ new configuration
    what was given ──────────────────────────────────────┘
    documents ─▶ what would come of it (a table) ─▶ done, video by video ─▶ runs/…/summary.json

The new configuration is that of ``finecut curate`` with the new options. So curation skips what was
refiltered, and does again what could not be (see :mod:`finecut.transforms.refilter.changing`).
"""

from __future__ import annotations

import itertools
import posixpath
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, Final, NamedTuple

import apache_beam as beam

from finecut.io.dataset.output import JSON, NoDataset, Output
from finecut.io.layout import Layout
from finecut.io.records import CODING, Source, Summary, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence, standing
from finecut.io.storage.halting import halt
from finecut.io.storage.json_documents import BadDocument, read_json, usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.temporary import temporary_folder
from finecut.io.tables.drops import DropsError
from finecut.pipeline.beam_options import words_of
from finecut.pipeline.cli.final_words import NOTHING_MADE, UNBALANCED, shown
from finecut.pipeline.cli.stopping import given_up_by
from finecut.pipeline.commands.options import AfterOptions, RefilterOptions
from finecut.pipeline.commands.report import FOLDER, PAGE, report_of_run
from finecut.pipeline.custom_steps.steps import custom_steps
from finecut.pipeline.disk import disk_trouble
from finecut.pipeline.engine import RunError, run_pipeline
from finecut.pipeline.occupying import occupy
from finecut.pipeline.options import (
    OptionError,
    Options,
    default_of,
    option_fields,
)
from finecut.pipeline.planning import FORM, digest_of, dropping_of
from finecut.pipeline.run_document import given as given_options
from finecut.pipeline.run_document import run_document, run_name
from finecut.transforms.dedup.keepers import bereft_words
from finecut.transforms.filter.rules import Rule, parse_rule
from finecut.transforms.option import ENABLE, ENABLED, SCORE_ONLY
from finecut.transforms.refilter.changing import (
    REFILTERED,
    UNCHANGED,
    UNTOUCHED,
    EachVideo,
    Work,
    foresee,
    refilter,
)
from finecut.transforms.refilter.judging import Refiltering
from finecut.transforms.refilter.rewriting import Stage
from finecut.transforms.refilter.yields import KEPT, Amount, Yields, curve
from finecut.transforms.registry import IN_CUT, ON_FRAMES, STEPS
from finecut.transforms.step import CUT, JUDGED, SCORED
from finecut.transforms.verify.checks.shapes import RUN, misfit
from finecut.transforms.write.documents import CONFIGURATION, serialise
from finecut.transforms.write.writing import Writing

Facts = Mapping[str, str | int | None]

#: The options that may be changed: those of this command that curation has too, and their families.
CHOICES: Final = tuple(
    f.name
    for f in fields(RefilterOptions)
    if f.name not in {*(g.name for g in fields(AfterOptions)), "dry_run", "yes"}
)
FAMILIES: Final = (*IN_CUT, *ON_FRAMES)
#: What only models make again, and whether a run said that it may go.
COSTLY: Final = ("vectors", "captions")
ALLOWED: Final = "yes"
#: Of so many runs documents are read, the newest first.
MOST_RUNS: Final = 200
#: Names that are printed; all are in the run's document.
SHOWN: Final = 10


class Made(NamedTuple):
    """How videos of an output were made."""

    options: Options
    facts: Facts
    configuration: str


def main(options: RefilterOptions, runner_arguments: Sequence[str]) -> int:
    """Say what would come of it, do it, and say how to finish what could not be done."""
    with standing(Fence((shelf.absolute(options.dataset),))):
        return _main(options, runner_arguments)


def _main(options: RefilterOptions, runner_arguments: Sequence[str]) -> int:
    output = Output.at(options.dataset)
    runs = list(_runs(output.layout))
    base = _base(output, runs)
    new = _new(base, options)
    run = uuid.uuid4().hex
    refiltering = _refiltering(output.root, run, new, runs)
    work = partial(_work, refiltering, options=options, runner_arguments=runner_arguments)
    if options.dry_run:
        videos, _ = _videos(output)
        foreseen = work(videos, work=foresee)
        _say(table(foreseen, _rules(refiltering)))
        return _ended(foreseen, new, "would be ")
    own = refiltering.writing.shelf
    with ExitStack() as at_work:
        at_work.enter_context(given_up_by(partial(_give_up, own), options.is_local))
        # Not even beside a run that makes the same: it would do again what is being moved.
        occupy(own, f"refilter {run}", at_work, elsewhere=not options.is_local, named="DATASET")
        at_work.callback(own.sweep)
        videos, noted = _videos(output)
        foreseen = work(videos, work=foresee)
        _say(table(foreseen, _rules(refiltering)))
        allowed = options.yes or _was_allowed(runs, new)
        if not allowed:
            _refuse_to_remove(foreseen)
        done = foreseen
        if foreseen.videos.get(REFILTERED) or noted:
            done = _do(partial(work, videos, work=refilter), new, refiltering, allowed)
        elif foreseen.videos.get(UNCHANGED) and new.configuration != base.configuration:
            # A run that was killed on its last step leaves this to be said.
            _write_down(done, new, refiltering, (time.monotonic(), time.time()))
        if done.videos.get(REFILTERED):
            _renew_page(options, refiltering)
    return _ended(done, new, "", abs(foreseen.clips - done.clips))


def _was_allowed(runs: Sequence[Run], new: Made) -> bool:
    """Whether a run that was killed before it came to its end had the permission to do the same."""
    killed = itertools.takewhile(lambda run: not run.ended, runs)
    return any(
        run.allowed and run.made is not None and run.made.configuration == new.configuration
        for run in killed
    )


def _refuse_to_remove(foreseen: Yields) -> None:
    """Ask for permission before anything goes that only models make again."""
    lost = {what: foreseen.losing[what] for what in COSTLY if foreseen.losing.get(what)}
    if lost:
        raise OptionError(
            f"{' and '.join(f'{number} {what}' for what, number in lost.items())} would be removed "
            "with clips that are rejected now, and only finecut curate makes them again, by asking "
            "the models anew. Nothing was changed: write --yes to remove them, --dry-run to look "
            "at what other rules would keep, or leave such clips out when the dataset is used "
            "(finecut shard --keep)"
        )


def _do(work: Callable[[], Yields], new: Made, refiltering: Refiltering, allowed: bool) -> Yields:
    """Do it between two documents: what is about to be done, and what was."""
    own, layout = refiltering.writing.shelf, refiltering.layout
    since = time.monotonic(), time.time()
    begun = layout.run_begun(run_name(since[1], own.staging))
    try:
        own.write(begun, serialise({**_told(new), ALLOWED: allowed}))
        done = work()
        _forget_models(layout, own)
        if done.videos.get(REFILTERED) or done.videos.get(UNCHANGED):
            _write_down(done, new, refiltering, since)
        own.remove(begun)
    except OSError as error:
        raise RunError(
            f"{layout.runs()} could not be written ({error.strerror or error}). See what is in its "
            "way, and run the same command again; what is finished stays finished."
        ) from error
    return done


def _forget_models(layout: Layout, own: Shelf) -> None:
    """Take back whose vectors lie here where none are left: then any model's may."""
    for note in shelf.files_in(posixpath.dirname(layout.embedding_facts(""))):
        folder = f"{layout.root}/{posixpath.basename(note).removesuffix(JSON)}"
        held = ((folder, ".pickle"), (f"{folder}_parquet", ".parquet"))
        if note.endswith(f"_embd{JSON}") and all(
            shelf.some_file_in(place, ending) is None for place, ending in held
        ):
            own.remove(note)


def _rules(refiltering: Refiltering) -> list[Rule]:
    return [rule for stage in refiltering.stages for rule in stage.rules]


def _give_up(own: Shelf) -> None:
    """Write nothing any more."""
    halt(own.staging)
    own.sweep()


# ── how it was made ──────────────────────────────────────────────────────────────────────────────


class Run(NamedTuple):
    """What a run says of how it made things."""

    #: When it began, to the second.
    began: str
    #: Whether it came to its end.
    ended: bool
    made: Made | None
    #: Whether it might remove what only models make again.
    allowed: bool = False


def _runs(layout: Layout) -> Iterator[Run]:
    """The newest first."""
    folders = sorted(shelf.folders_in(layout.runs()), reverse=True)[:MOST_RUNS]
    for folder in folders:
        name = folder.rsplit("/", 1)[-1]
        summary = _said(layout.run_summary(name))
        document = summary or _said(layout.run_begun(name))
        if document is not None:
            allowed = document.get(ALLOWED) is True
            yield Run(name.partition("-")[0], summary is not None, _made(document), allowed)


def _said(path: str) -> dict[str, Any] | None:
    """What a run said of itself; a document that is bad is named, and others are asked."""
    try:
        said = read_json(path)
        wrong = None if said is None else misfit(path, said, RUN)
    except BadDocument as error:
        said, wrong = None, str(error)
    if wrong is not None:
        sys.stderr.write(shown(f"finecut: {wrong}: what that run did is not known") + "\n")
    return None if wrong is not None else said


def _made(document: Mapping[str, Any]) -> Made | None:
    """What the document of a run says, if all of it is said and understood here."""
    said, options = document.get("configuration"), _options(document.get("options"))
    if not isinstance(said, dict) or options is None:
        return None
    facts = {name: value for name, value in said.items() if name != "digest"}
    made = Made(options, facts, digest_of(options, facts))
    # Secrets are not written down, and other versions count otherwise.
    return made if made.configuration == said.get("digest") else None


def _options(given: Any) -> Options | None:
    usual = {f.name: default_of(f) for f in option_fields()}
    if not isinstance(given, dict) or not given.keys() <= usual.keys():
        return None
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(usual[name], tuple) else value
        for name, value in given.items()
    }
    return Options(**told)


def _base(output: Output, runs: Sequence[Run]) -> Made:
    """How the output was made, as the newest run says that came to its end."""
    finished = [run for run in runs if run.ended]
    there = shelf.exists(output.layout.processed_videos())
    documents = filter(None, map(usable_json, output.videos() if there else ()))
    first = next(documents, None)
    configuration = "" if first is None else first.get(CONFIGURATION)
    if not finished:
        raise NoDataset(f"{output.root} {_nobody_knows(configuration)}")
    # Of runs that began in the same second, what there is tells which was the last.
    last = [run.made for run in finished if run.began == finished[0].began]
    made = next((m for m in last if m and m.configuration == configuration), last[0])
    if made is None or made.facts.get("form") != FORM:
        raise NoDataset(
            f"the newest run of {output.root} was of another version of finecut, or had secrets "
            "among its options, which are not written down: run finecut curate with the options "
            "that are wanted"
        )
    _refuse_unfit(made.options)
    return made


def _nobody_knows(configuration: str | None) -> str:
    if configuration is None:
        return (
            "was written by another program: its documents do not say by which configuration, so "
            "nobody could tell later what was refiltered and what was not. Its clips can be read, "
            "deduplicated and sharded as they are; to filter them otherwise use that program, or "
            "make the dataset with finecut curate"
        )
    return (
        "has no run that came to its end (runs/…/summary.json), so nobody knows with which options "
        "it was made: run finecut curate once more with the same options, which skips what is "
        "finished"
    )


def _refuse_unfit(options: Options) -> None:
    for step in custom_steps(options):
        if not step.scores_only:
            raise OptionError(
                f"the output was made with a step of your own ({step.name}) that is no EachClip, "
                f"or stands behind the rules ({step.place}), and nobody but it knows what it would "
                "have done: run finecut curate with the new rules"
            )
    if options.dry_run:
        raise OptionError(
            "the output was made with --dry-run, so clips have no documents: run finecut curate "
            "without it first"
        )


def _new(base: Made, options: RefilterOptions) -> Made:
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
                f"nobody measured {family} when this output was made, and its rules cannot be "
                "spoken without: leave them out, or run finecut curate with them (and with the "
                "other options as they were), which does every video again"
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
        raise _other_list(new, "it holds other ids than it did then")
    return {**facts, "drop": dropping.digest}


def _other_list(options: Options, why: str) -> OptionError:
    lists = " ".join(options.drop)
    return OptionError(
        f"the output was made with --drop {lists}, and {why}: write --drop {lists} to take it as "
        "it is, another list, or --drop '' for none"
    )


def _refiltering(root: str, run: str, new: Made, runs: Sequence[Run]) -> Refiltering:
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


# ── the work ─────────────────────────────────────────────────────────────────────────────────────


def _videos(output: Output) -> tuple[list[str], list[str]]:
    """All videos, by their paths below the input; and those that somebody was working on."""
    layout = output.layout
    finished: list[str] = []
    if shelf.exists(layout.processed_videos()):
        finished = _below(layout.processed_videos(), output.videos())
    noted: list[str] = []
    if shelf.exists(layout.open_videos()):
        noted = _below(layout.open_videos(), shelf.files_below(layout.open_videos()))
    return sorted({*finished, *noted}), noted


def _below(folder: str, paths: Iterable[str]) -> list[str]:
    return [path[len(folder) + 1 :].removesuffix(JSON) for path in paths]


def _work(
    refiltering: Refiltering,
    videos: Sequence[str],
    options: RefilterOptions,
    runner_arguments: Sequence[str],
    work: Work,
) -> Yields:
    """What comes of all videos when this is done to each."""
    sources = [Source(uri="", name=video, relative=video) for video in videos]
    with ExitStack() as open_now:
        tray = refiltering.writing.shelf
        if options.is_local:
            folder = open_now.enter_context(temporary_folder())
            tray = Shelf(folder, folder)
        path = f"{tray.staging}/yields.json"

        def build(pipeline: beam.Pipeline) -> None:
            _ = (
                pipeline
                | "Videos" >> beam.Create(sources)
                | "Refilter" >> EachVideo(work, refiltering)
                | "Tell" >> beam.Map(lambda told: tray.write(path, to_json(told).encode(*CODING)))
            )

        run_pipeline(
            build,
            options.runner,
            options.local_workers,
            runner_arguments,
            own=refiltering.writing.shelf,
        )
        told = shelf.read(path)
        tray.remove(path)
    return from_json(Yields, told.decode(*CODING))


def _told(new: Made) -> dict[str, Any]:
    """What other runs have to know of this one, should it be killed."""
    return {
        "command": "refilter",
        "options": given_options(new.options),
        "configuration": {"digest": new.configuration, **new.facts},
    }


def _write_down(
    done: Yields, new: Made, refiltering: Refiltering, since: tuple[float, float]
) -> None:
    """Keep what was done, as curation does. From now on this is how the output was made."""
    began, started = since
    writing = refiltering.writing
    counts, seconds = _parts(done.then)
    videos = done.videos
    summary = Summary(
        videos_found=sum(videos.values()) + done.num_failures,
        videos_done=videos.get(REFILTERED, 0),
        videos_skipped=videos.get(UNCHANGED, 0) + videos.get(UNTOUCHED, 0),
        videos_failed=done.num_failures,
        shots_planned=done.clips,
        shots_kept=done.then.get(KEPT, Amount()).clips,
        shots_rejected=sum(counts.values()),
        shots_failed=done.clips_untouched + done.clips_failed,
        seconds_kept=done.then.get(KEPT, Amount()).seconds,
        seconds_cut=sum(amount.seconds for amount in done.then.values()),
        rejected_by=counts,
        seconds_rejected=seconds,
        failures=done.failures[:SHOWN],
        num_failures=done.num_failures,
    )
    took = time.monotonic() - began
    document = run_document(new.options, summary, took, {}, started, writing)
    before = {name or "kept": asdict(amount) for name, amount in sorted(done.now.items())}
    document |= {
        "command": "refilter",
        "before": before,
        "lost": dict(done.losing),
        "untouched": [asdict(untouched) for untouched in done.untouched],
        "failures": [asdict(failure) for failure in done.failures],
    }
    path = writing.layout.run_summary(run_name(started, writing.shelf.staging))
    writing.shelf.write(path, serialise(document))


def _parts(amounts: Mapping[str, Amount]) -> tuple[dict[str, int], dict[str, float]]:
    rejected = {name: amount for name, amount in sorted(amounts.items()) if name != KEPT}
    clips = {name: amount.clips for name, amount in rejected.items()}
    return clips, {name: amount.seconds for name, amount in rejected.items()}


def _renew_page(options: RefilterOptions, refiltering: Refiltering) -> None:
    """A page that tells of the old verdicts would mislead."""
    layout = refiltering.layout
    if options.is_local and shelf.exists(f"{layout.root}/{FOLDER}/{PAGE}"):
        _say(report_of_run(layout, refiltering.writing.shelf))


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(yields: Yields, rules: Sequence[Rule]) -> str:
    """What is kept and what each rule rejects, now and then; and what other limits would do."""
    names = [KEPT, *dict.fromkeys(rule.name for rule in rules)]
    names += sorted({*yields.now, *yields.then} - {*names})
    rows = [f"{'':<28}{'now':>24}{'then':>24}"]
    for name in names:
        now, then = (told.get(name, Amount()) for told in (yields.now, yields.then))
        rows.append(f"{name or 'kept':<28}{_amount(now):>24}{_amount(then):>24}")
    if others := yields.clips_untouched + yields.clips_failed:
        rows.append(f"{'not touched':<28}{f'{others} clips':>24}{f'{others} clips':>24}")
    curves: dict[str, None] = {}
    for rule in rules:
        if points := curve(yields.sample, rule):
            said = ", ".join(f"{part:.0%} at {limit:.4g}" for limit, part in points)
            # Several rules may speak of one score.
            curves[f"{rule.score} {rule.comparison} alone would keep {said}"] = None
    rows += curves
    if yields.losing:
        lost = ", ".join(f"{number} {what}" for what, number in sorted(yields.losing.items()))
        rows.append(f"of clips that are rejected now go: {lost} (only curation makes them again)")
    return "\n".join(rows)


def _amount(amount: Amount) -> str:
    return f"{amount.clips} clips {amount.seconds:.1f} s"


def final_words(yields: Yields, new: Made, would: str) -> str:
    """What was done to how many videos, and how to finish the others."""
    said, listed = yields.videos, yields.untouched
    found = sum(said.values()) + yields.num_failures
    lines = [
        f"videos   {found} found = {said.get(REFILTERED, 0)} {would}refiltered"
        f" + {said.get(UNCHANGED, 0)} as they are + {said.get(UNTOUCHED, 0)} not touched"
        f" + {yields.num_failures} failed",
        f"clips    {yields.clips} found = {sum(a.clips for a in yields.then.values())} judged"
        f" + {yields.clips_untouched} not touched + {yields.clips_failed} failed",
    ]
    lines += [f"  {one.video}: {one.why}" for one in listed[:SHOWN]]
    lines += [f"  {one.source.relative}: {one.message}" for one in yields.failures[:SHOWN]]
    more = said.get(UNTOUCHED, 0) + yields.num_failures
    more -= len(listed[:SHOWN]) + len(yields.failures[:SHOWN])
    lines += _of_lists(yields, new.options)
    if more:
        lines.append(f"  … and {more} more")
    if said.get(UNTOUCHED) or yields.num_failures:
        command = shlex.join(["finecut", "curate", *_words(new.options)])
        lines += ["", f"curation does exactly these again, and skips the others:\n  {command}"]
    return "\n".join(lines)


def _words(options: Options) -> list[str]:
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
        number = len(dropping.ids())
        of = "among the clips that were judged" if yields.clips_untouched else "in the dataset"
        lines.append(f"{number} ids on the lists, 0 of them {of}")
    return lines


def _ended(yields: Yields, new: Made, would: str, lost: int = 0) -> int:
    """Say how it ended; the exit code. Done is also what leaves some videos to curation."""
    _say(final_words(yields, new, would))
    refused = disk_trouble(yields.failures, new.options.output)
    if refused is not None:
        sys.stderr.write(f"finecut: {refused}\n")
        return NOTHING_MADE
    if lost:
        sys.stderr.write(f"finecut: the books do not balance: {lost} clips are unaccounted for\n")
        return UNBALANCED
    if yields.videos.get(REFILTERED) or yields.videos.get(UNCHANGED):
        return 0
    sys.stderr.write("finecut: not one video could be refiltered\n")
    return NOTHING_MADE
