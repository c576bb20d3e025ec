"""The work of ``finecut refilter``: foreseen, shown as a table, and done video by video.

    documents ─▶ what would come of it (a table) ─▶ done, video by video ─▶ runs/…/summary.json

With ``--dry-run`` it ends with the table.
"""

from __future__ import annotations

import itertools
import posixpath
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import apache_beam as beam

from finecut.io.dataset.output import JSON, Output
from finecut.io.layout import Layout
from finecut.io.records import CODING, Source, Summary, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.at_work import occupying, tray
from finecut.pipeline.commands.refilter import Refilter
from finecut.pipeline.commands.refilter.made import (
    ALLOWED,
    Done,
    Made,
    Run,
    base_of,
    renewed,
    runs_of,
)
from finecut.pipeline.commands.refilter.plan import refiltering_of
from finecut.pipeline.commands.refilter.words import table
from finecut.pipeline.commands.report.work import FOLDER, PAGE, report_of_run
from finecut.pipeline.options import OptionError
from finecut.pipeline.run_document import given as given_options
from finecut.pipeline.run_document import run_document, run_name
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
from finecut.transforms.refilter.yields import KEPT, Amount, Yields
from finecut.transforms.write.documents import serialise

#: What only models make again.
COSTLY: Final = ("vectors", "captions")
#: Failures that stand in the summary; all of them are in the run's document.
NAMED: Final = 10


def refilter_dataset(command: Refilter) -> Done:
    """Show what would come of it, and do it."""
    options = command.options
    output = Output.at(options.dataset)
    runs = list(runs_of(output.layout))
    base = base_of(output, runs)
    new = renewed(base, options)
    refiltering = refiltering_of(output.root, uuid.uuid4().hex, new, runs)
    if options.dry_run:
        return Done(_foreseen(command, refiltering, _videos(output)[0]), new, foreseen=True)
    # Not even beside a run that makes the same: it would do again what is being moved.
    with occupying(refiltering.writing.shelf, "DATASET", ends_with_us=command.ends_with_us):
        videos, noted = _videos(output)
        foreseen = _foreseen(command, refiltering, videos)
        allowed = options.yes or _was_allowed(runs, new)
        if not allowed:
            _refuse_to_remove(foreseen)
        done = foreseen
        if foreseen.videos.get(REFILTERED) or noted:
            done = _do(
                lambda: _each(command, refiltering, videos, refilter), new, refiltering, allowed
            )
        elif foreseen.videos.get(UNCHANGED) and new.configuration != base.configuration:
            # A run that was killed on its last step leaves this to be said.
            _write_down(done, new, refiltering, (time.monotonic(), time.time()))
        if done.videos.get(REFILTERED):
            _renew_page(command, refiltering)
    return Done(done, new, lost=abs(foreseen.clips - done.clips))


def _foreseen(command: Refilter, refiltering: Refiltering, videos: Sequence[str]) -> Yields:
    """What would come of it, which is shown before anything is done."""
    foreseen = _each(command, refiltering, videos, foresee)
    rules = [rule for stage in refiltering.stages for rule in stage.rules]
    command.say(table(foreseen, rules))
    return foreseen


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
            f"{' and '.join((f'{number} {what}' for what, number in lost.items()))} would be "
            "removed, because their clips are now rejected. Only finecut curate can make them "
            "again, by running the models again. Nothing was changed: add --yes to remove them, "
            "or --dry-run to see what other rules would keep, or leave such clips out when you "
            "use the dataset (finecut shard --keep)"
        )


def _do(work: Callable[[], Yields], new: Made, refiltering: Refiltering, allowed: bool) -> Yields:
    """Do it between two documents: what is about to be done, and what was."""
    own, layout = refiltering.writing.shelf, refiltering.layout
    since = time.monotonic(), time.time()
    begun = layout.run_begun(run_name(since[1], own.staging))
    own.write(begun, serialise({**_told(new), ALLOWED: allowed}))
    done = work()
    _forget_models(layout, own)
    if done.videos.get(REFILTERED) or done.videos.get(UNCHANGED):
        _write_down(done, new, refiltering, since)
    own.remove(begun)
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


def _each(command: Refilter, refiltering: Refiltering, videos: Sequence[str], work: Work) -> Yields:
    """What comes of all videos when this is done to each."""
    sources = [Source(uri="", name=video, relative=video) for video in videos]
    own = refiltering.writing.shelf
    with tray(own, command.in_process) as reports:
        path = f"{reports.root}/yields.json"

        def build(pipeline: beam.Pipeline) -> None:
            _ = (
                pipeline
                | "Videos" >> beam.Create(sources)
                | "Refilter" >> EachVideo(work, refiltering)
                | "Tell" >> beam.Map(lambda sum: reports.write(path, to_json(sum).encode(*CODING)))
            )

        command.run_pipeline(build, own)
        data = shelf.read(path)
        reports.remove(path)
    return from_json(Yields, data.decode(*CODING))


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
        failures=done.failures[:NAMED],
        num_failures=done.num_failures,
    )
    took = time.monotonic() - began
    document = run_document(new.options, summary, took, stats={}, started=started, writing=writing)
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


def _renew_page(command: Refilter, refiltering: Refiltering) -> None:
    """A page that tells of the old verdicts would mislead."""
    layout = refiltering.layout
    if command.ends_with_us and shelf.exists(f"{layout.root}/{FOLDER}/{PAGE}"):
        command.say(report_of_run(layout, refiltering.writing.shelf))
