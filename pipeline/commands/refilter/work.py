"""The work of ``finecut refilter``: foreseen, shown as a table, and done video by video.

    documents ─▶ what would come of it (a table) ─▶ done, video by video ─▶ runs/…/summary.json

With ``--dry-run`` it ends with the table.
"""

import itertools
import posixpath
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

import apache_beam as beam

from finecut.io.dataset.output import JSON, Output
from finecut.io.layout import Layout
from finecut.io.records import from_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.io.tables.drops import bereft_words, unused_drops
from finecut.io.tables.parquet import PARQUET
from finecut.io.wording import count_of, in_bytes
from finecut.pipeline.at_work import occupying, refuse_half_forgotten, tray
from finecut.pipeline.beam_options import BEAMS
from finecut.pipeline.cli.flags import words_of
from finecut.pipeline.cli.outlets import lines_of
from finecut.pipeline.commands.refilter import Refilter
from finecut.pipeline.commands.refilter.made import (
    ALLOWED,
    Done,
    Made,
    Run,
    base_of,
    refiltering_of,
    renewed,
    runs_of,
)
from finecut.pipeline.commands.report.work import FOLDER, PAGE, report_of_run
from finecut.pipeline.keeping import given as given_options
from finecut.pipeline.keeping import run_document, run_name
from finecut.pipeline.lists import drops_within_reach
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import dropping_of
from finecut.transforms.beam.lines import WriteLines, lines_in
from finecut.transforms.catalogue.buckets import LINES
from finecut.transforms.catalogue.on_workers import CompactCatalogue
from finecut.transforms.filter.clips import ids_of
from finecut.transforms.filter.rules import Rule
from finecut.transforms.filter.shares import read_share
from finecut.transforms.option import did_you_mean
from finecut.transforms.refilter.changing import REFILTERED, UNCHANGED, UNTOUCHED
from finecut.transforms.refilter.deciding import Decided, DoToVideos, LookAtVideos
from finecut.transforms.refilter.judging import Refiltering
from finecut.transforms.refilter.looking import Looking
from finecut.transforms.refilter.rewriting import KEPT, Amount, Yields, curve
from finecut.transforms.refilter.shares import rule_in
from finecut.transforms.write.documents import serialise

#: What only models make again.
COSTLY: Final = ("vectors", "captions")
#: Failures that stand in the summary; all of them are in the run's document.
NAMED: Final = 10


def refilter_dataset(command: Refilter) -> Done:
    """Show what would come of it, and do it."""
    options = command.options
    output = Output.at(options.dataset, packs=True)
    runs = list(runs_of(output.layout))
    base = base_of(output, runs)
    options = replace(options, keep=tuple(_limits(command, output)))
    new = renewed(base, options)
    refiltering = refiltering_of(output.root, uuid.uuid4().hex, new, runs)
    own = refiltering.writing.shelf
    if options.dry_run:
        try:
            there = _within_reach(command, refiltering)
            with tray(own, command.in_process) as reports:
                looking = Looking(there, reports, base.configuration)
                return Done(_foreseen(command, looking)[0], new, foreseen=True)
        finally:
            if not command.in_process:
                own.sweep()  # of what workers read and told
    # Not even beside a run that makes the same: it would do again what is being moved.
    with occupying(own, "DATASET", ends_with_us=command.ends_with_us):
        refuse_half_forgotten(output.root)
        refiltering = _within_reach(command, refiltering)
        with tray(own, command.in_process) as reports:
            looking = Looking(refiltering, reports)
            foreseen, decided = _foreseen(command, looking)
            allowed = options.yes or _was_allowed(runs, new)
            if not allowed:
                _refuse_to_remove(foreseen)
            done = foreseen
            if foreseen.videos.get(REFILTERED) or _are_open(refiltering.layout):
                done = _do(lambda: _done(command, looking, decided), new, refiltering, allowed)
            elif foreseen.videos.get(UNCHANGED) and new.configuration != base.configuration:
                # A run that was killed on its last step leaves this to be said.
                _write_down(done, new, refiltering, (time.monotonic(), time.time()))
        _compact(command, refiltering)
        if done.videos.get(REFILTERED):
            _renew_page(command, refiltering)
    return Done(done, new, lost=abs(foreseen.clips - done.clips))


def _limits(command: Refilter, output: Output) -> Iterator[str]:
    """The rules, with limits in place of shares, each of which is told."""
    for text in command.options.keep:
        share = read_share(text)
        if share is None:
            yield text
            continue
        try:
            rule = rule_in(share, output.layout)
        except ValueError as error:
            raise OptionError(f"--keep {text}: {error}") from error
        command.say(f"rule     {text}: {rule}")
        yield rule


def _compact(command: Refilter, refiltering: Refiltering) -> None:
    """Compact what this run, or one that was killed, has changed in the catalogue."""
    layout, own = refiltering.layout, refiltering.writing.shelf

    def build(pipeline: beam.Pipeline) -> None:
        once = pipeline | "Once" >> beam.Create([0])
        _ = once | "CompactCatalogue" >> CompactCatalogue(layout, own)

    kinds = ((layout.catalogue_rows(), LINES), (layout.catalogue_chunks(), ".parquet"))
    if any(shelf.some_file_in(folder, suffix) for folder, suffix in kinds):
        command.run_pipeline(build, own)


def _within_reach(command: Refilter, refiltering: Refiltering) -> Refiltering:
    """As it is told to workers, wherever they are."""
    if command.in_process or (dropping := refiltering.dropping) is None:
        return refiltering
    return replace(refiltering, dropping=drops_within_reach(dropping, refiltering.writing.shelf))


def _foreseen(command: Refilter, looking: Looking) -> tuple[Yields, str]:
    """What would come of it, which is shown before anything is done; and where that is decided,
    video by video."""
    own, tray = looking.refiltering.writing.shelf, looking.tray
    path, decided = f"{tray.root}/foreseen.jsonl", f"{tray.root}/decided.jsonl"

    def build(pipeline: beam.Pipeline) -> None:
        once = pipeline | "Once" >> beam.Create([0])
        found = once | "Look at videos" >> LookAtVideos(looking)
        _ = found["yields"] | "Tell" >> WriteLines(tray, path)
        _ = found["decided"] | "Tell decided" >> WriteLines(tray, decided)

    command.run_pipeline(build, own)
    foreseen = _yields_in(path)
    rules = [rule for stage in looking.refiltering.stages for rule in stage.rules]
    command.say(table(foreseen, rules))
    return foreseen, decided


def _done(command: Refilter, looking: Looking, decided: str) -> Yields:
    """What came of all videos."""
    own, tray = looking.refiltering.writing.shelf, looking.tray
    path, refiltering = f"{tray.root}/done.jsonl", looking.refiltering

    def build(pipeline: beam.Pipeline) -> None:
        ranges = (
            pipeline
            | "Decided" >> beam.Create([decided])
            | "Ranges" >> beam.FlatMap(_decided_in).with_output_types(Decided)
        )
        done = ranges | "Refilter" >> DoToVideos(refiltering)
        _ = done | "Tell" >> WriteLines(tray, path)

    command.run_pipeline(build, own)
    return _yields_in(path)


def _decided_in(path: str) -> Iterator[Decided]:
    return (from_json(Decided, line) for line in lines_in(path))


def _yields_in(path: str) -> Yields:
    [line] = lines_in(path)
    return from_json(Yields, line)


def _are_open(layout: Layout) -> bool:
    """Whether a run has left a video open."""
    folder = layout.open_videos()
    return shelf.exists(folder) and next(iter(shelf.files_below(folder)), None) is not None


def _was_allowed(runs: Sequence[Run], new: Made) -> bool:
    """Whether a run that was killed before it came to its end had the permission to do the same."""
    return any(
        run.allowed and run.made is not None and run.made.configuration == new.configuration
        for run in itertools.takewhile(lambda run: not run.ended, runs)
    )


def _refuse_to_remove(foreseen: Yields) -> None:
    """Ask for permission before anything goes that only models make again."""
    lost = {what: foreseen.losing[what] for what in COSTLY if foreseen.losing.get(what)}
    if lost:
        raise OptionError(
            f"{' and '.join((f'{number} {what}' for what, number in lost.items()))} would be "
            "removed, because the new rules reject their clips. Only finecut curate can make them "
            "again, by running the models again. Nothing was changed: add --yes to remove them, "
            "or --dry-run to see what other rules would keep, or leave such clips out when you "
            "use the dataset (finecut shard --keep)"
        )


def _do(work: Callable[[], Yields], new: Made, refiltering: Refiltering, allowed: bool) -> Yields:
    """Do it between two documents: what is about to be done, and what was."""
    own, layout = refiltering.writing.shelf, refiltering.layout
    since = time.monotonic(), time.time()
    begun = layout.run_begun(run_name(since[1], own.staging))
    told = {
        "command": "refilter",
        "options": given_options(new.options),
        "configuration": {"digest": new.configuration, **new.facts},
        ALLOWED: allowed,
    }
    own.write(begun, serialise(told))
    done = work()
    forget_models(layout, own)
    if done.videos.get(REFILTERED) or done.videos.get(UNCHANGED):
        _write_down(done, new, refiltering, since)
    own.remove(begun)
    return done


def forget_models(layout: Layout, own: Shelf) -> None:
    """Take back whose vectors lie here where none are left: then any model's may."""
    if layout.packed and shelf.some_file_in(layout.packs(), PARQUET) is not None:
        return  # vectors are columns there, and of which models tables say themselves
    for note in shelf.files_in(posixpath.dirname(layout.embedding_facts(""))):
        folder = f"{layout.root}/{posixpath.basename(note).removesuffix(JSON)}"
        if note.endswith(f"_embd{JSON}") and all(
            shelf.some_file_in(place, ending) is None
            for place, ending in ((folder, ".pickle"), (f"{folder}_parquet", ".parquet"))
        ):
            own.remove(note)


def _write_down(
    done: Yields, new: Made, refiltering: Refiltering, since: tuple[float, float]
) -> None:
    """Keep what was done, as curation does. From now on this is how the output was made."""
    began, started = since
    writing, videos = refiltering.writing, done.videos
    rejected = {name: amount for name, amount in sorted(done.then.items()) if name != KEPT}
    kept = done.then.get(KEPT, Amount())
    summary = Summary(
        videos_found=sum(videos.values()) + done.num_failures,
        videos_done=videos.get(REFILTERED, 0),
        videos_skipped=videos.get(UNCHANGED, 0) + videos.get(UNTOUCHED, 0),
        videos_failed=done.num_failures,
        shots_planned=done.clips,
        shots_kept=kept.clips,
        shots_rejected=sum(amount.clips for amount in rejected.values()),
        shots_failed=done.clips_untouched + done.clips_failed,
        seconds_kept=kept.seconds,
        seconds_cut=sum(amount.seconds for amount in done.then.values()),
        rejected_by={name: amount.clips for name, amount in rejected.items()},
        seconds_rejected={name: amount.seconds for name, amount in rejected.items()},
        failures=done.failures[:NAMED],
        num_failures=done.num_failures,
    )
    document = run_document(
        new.options, summary, time.monotonic() - began, stats={}, started=started, writing=writing
    )
    document |= {
        "command": "refilter",
        "before": {name or "kept": asdict(amount) for name, amount in sorted(done.now.items())},
        "lost": dict(done.losing),
        "untouched": [asdict(untouched) for untouched in done.untouched],
        "failures": [asdict(failure) for failure in done.failures],
    }
    writing.shelf.write(
        writing.layout.run_summary(run_name(started, writing.shelf.staging)), serialise(document)
    )


def _renew_page(command: Refilter, refiltering: Refiltering) -> None:
    """A page that tells of the old verdicts would mislead."""
    layout = refiltering.layout
    if command.ends_with_us and shelf.exists(f"{layout.root}/{FOLDER}/{PAGE}"):
        command.say(report_of_run(layout, refiltering.writing.shelf))


#: Names that are printed; all are in the run's document.
SHOWN: Final = 10


def table(yields: Yields, rules: Sequence[Rule]) -> str:
    """What is kept and what each rule rejects, now and then; and what other limits would do."""
    names = [KEPT, *dict.fromkeys(rule.name for rule in rules)]
    names += sorted({*yields.now, *yields.then} - {*names})
    rows = [f"{'':<28}{'before':>32}{'after':>32}"]
    for name in names:
        now, then = (amounts.get(name, Amount()) for amounts in (yields.now, yields.then))
        rows.append(f"{name or 'kept':<28}{_amount(now):>32}{_amount(then):>32}")
    others = yields.clips_untouched + yields.clips_failed
    lost = ", ".join(f"{number} {what}" for what, number in sorted(yields.losing.items()))
    rows += lines_of(
        [
            (
                others,
                f"{'not judged':<28}{count_of(others, 'clip'):>32}{count_of(others, 'clip'):>32}",
            ),
            *(_lacking(yields, name, number) for name, number in sorted(yields.lacking.items())),
            # Several rules may speak of one score.
            *dict.fromkeys(filter(None, (_curve(yields, rule) for rule in rules))),
            (
                lost,
                f"lost with newly rejected clips: {lost} (only curate can make them again)",
            ),
        ]
    )
    return "\n".join(rows)


def _lacking(yields: Yields, field: str, number: int) -> str:
    """How many clips have no such field, and what was meant if none has it."""
    judged = sum(amount.clips for amount in yields.now.values())
    if number < judged:
        return f"{number} of {judged} clips have no {field}, so a rule rejects them"
    why = did_you_mean(field, [*yields.fields]) if yields.fields else "their sources have none"
    return f"no clip has {field}: {why}"


def _curve(yields: Yields, rule: Rule) -> str:
    points = curve(yields.sample, rule)
    parts = ", ".join(f"{part:.0%} of clips with X={limit:.4g}" for limit, part in points)
    alone = f"a rule {rule.score}{rule.comparison}X alone would keep"
    return f"{alone} {parts}" if points else ""


def _amount(amount: Amount) -> str:
    size = in_bytes(amount.num_bytes)
    return f"{count_of(amount.clips, 'clip')} {amount.seconds:.1f} s {size}"


def final_words(done: Done) -> str:
    """What was done to how many videos, and how to finish the others."""
    yields = done.yields
    videos, listed, failed = yields.videos, yields.untouched[:SHOWN], yields.failures[:SHOWN]
    would = "would be " if done.foreseen else ""
    found = sum(videos.values()) + yields.num_failures
    others = videos.get(UNTOUCHED, 0) + yields.num_failures
    more = others - len(listed) - len(failed)
    command = shlex.join(["finecut", "curate", *words_for_curate(done.new.options)])
    lines = lines_of(
        [
            f"videos   {found} found = {videos.get(REFILTERED, 0)} {would}refiltered"
            f" + {videos.get(UNCHANGED, 0)} unchanged + {videos.get(UNTOUCHED, 0)} left for curate"
            f" + {yields.num_failures} failed",
            f"clips    {yields.clips} found = {sum(a.clips for a in yields.then.values())} judged"
            f" + {yields.clips_untouched} not judged + {yields.clips_failed} failed",
            *(f"  {one.video}: {one.why}" for one in listed),
            *(f"  {one.source.relative}: {one.message}" for one in failed),
            *_of_lists(yields, done.new.options),
            (more, f"  … and {more} more"),
            (others, "\nthis command processes exactly these videos again and skips the others:"),
            (others, f"  {command}"),
        ]
    )
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
        ),
        BEAMS,
    )


def _of_lists(yields: Yields, options: Options) -> list[str]:
    lines, dropping = bereft_words(yields.bereft), dropping_of(options)
    if dropping is not None and not yields.on_lists:
        of = "among the clips that were judged" if yields.clips_untouched else "in the dataset"
        lines.append(unused_drops(len(ids_of(dropping)), of))
    return lines
