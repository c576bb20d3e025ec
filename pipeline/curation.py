"""The whole film on one screen: from inputs to a dataset on the shelf.

In a pipeline of your own::

    with beam.Pipeline() as pipeline:
        curated = curate(pipeline, Options(input=("films",), output="dataset"))
        curated.clips | ...           # the Clip records, also of rejected ones
        curated.written.metas | ...   # receipts of what was written

From beginning to end, with progress: ``run(Options(...))`` gives the run's ``Summary``.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.io.records import Clip, Failure, PlannedChunk, Source, Video
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import sweep_dead
from finecut.io.summary import Summary
from finecut.pipeline.custom_steps import apply
from finecut.pipeline.dealing import InParts, ShareOut, deal_chunks, deal_segments
from finecut.pipeline.engine import runner_of
from finecut.pipeline.lists import within_reach
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan, plan
from finecut.transforms.beam.guard import LOST
from finecut.transforms.beam.marks import WatchMarks
from finecut.transforms.catalogue.on_workers import CompactCatalogue
from finecut.transforms.cut.clips import STEP, CutClips
from finecut.transforms.filter.clips import DropClips, KeepClips
from finecut.transforms.find.videos import FindVideos, ProbeVideos
from finecut.transforms.measure.looking import put_away
from finecut.transforms.registry import ON_CLIPS
from finecut.transforms.resume.begin import SKIPPED, BeginVideos
from finecut.transforms.resume.note import open_video
from finecut.transforms.resume.one_at_a_time import BeginOneAtATime
from finecut.transforms.score.clips import ScoreClips
from finecut.transforms.split.videos import InSegments, SplitVideos
from finecut.transforms.step import CUT, JUDGED, SCORED
from finecut.transforms.step_base import StepOnClips, StepOnTexts
from finecut.transforms.write.clips import WriteClips, WrittenClips
from finecut.transforms.write.failure_lists import ListFailures
from finecut.transforms.write.hand_over import HandOver, clips_of
from finecut.transforms.write.recall import RECALLED, Recall
from finecut.transforms.write.summary import Summarise
from finecut.transforms.write.without_clips import CloseEmptyVideos

#: Failures → something that appears when they are listed.
Listing = beam.PTransform[beam.PCollection[Any], beam.PCollection[Any]]


class Curated(NamedTuple):
    """Everything a run makes, by name."""

    sources: beam.PCollection[Source]
    videos: beam.PCollection[Video]
    chunks: beam.PCollection[PlannedChunk]
    clips: beam.PCollection[Clip]
    written: WrittenClips
    failures: beam.PCollection[Failure]
    summary: beam.PCollection[Summary]


class Done(NamedTuple):
    """What the work itself makes, without what is said of it when it has ended."""

    videos: beam.PCollection[Video]
    chunks: beam.PCollection[PlannedChunk]
    clips: beam.PCollection[Clip]
    written: WrittenClips
    failures: beam.PCollection[Failure]
    #: Everything that a summary counts.
    events: tuple[beam.PCollection[Any], ...]


def curate(pipeline: beam.Pipeline, options: Options, steps: Plan | None = None) -> Curated:
    """Add the whole way to a pipeline: find → probe → split → cut → look → write → tidy up.

    The pipeline's runner decides how work is handed out and what workers are asked for, whatever
    the options say. ``steps`` is what they were planned to, if they were already.
    """
    options = replace(options, runner=runner_of(pipeline))
    steps = within_reach(plan(options.check()) if steps is None else steps, options)
    find = FindVideos(steps.finding).with_resource_hints(**steps.placing.of_films)
    sources = pipeline | "FindVideos" >> find
    curated, listed = build(sources, steps, options.dealt_among, steps.listing)
    tidy_up = TidyUp(steps.writing.shelf).with_resource_hints(**steps.placing.of_films)
    compacted = with_catalogue(curated.summary, listed, steps)
    _ = (curated.summary, compacted) | "TidyUp" >> tidy_up
    return curated


def with_catalogue(
    summary: beam.PCollection[Summary], listed: beam.PCollection[Any], steps: Plan
) -> beam.PCollection[Any]:
    """What appears when the catalogue is compacted, after all else has been written and listed."""
    writing = steps.writing
    if writing.dry_run:
        return listed
    hints = steps.placing.of_films
    when = beam.Map(_when, AsList(listed)).with_output_types(int)
    ended = summary | "Ended" >> when.with_resource_hints(**hints)
    compact = CompactCatalogue(writing.layout, writing.shelf)
    return ended | "CompactCatalogue" >> compact.with_resource_hints(**hints)


def _when(_summary: Summary, _listed: list[Any]) -> int:
    return 0


def curate_stream(sources: beam.PCollection[Source], steps: Plan) -> Done:
    """The same for sources that never end: nothing is summed up, and each video has a list of its
    own failures. (The plan has a ``patience`` for what does not come.)
    """
    done = work(sources, steps, workers=0)
    # Of others, the rest of their clips is at work: WriteClips lists them when it has come.
    whole = done.failures | "WholeVideos" >> beam.Filter(_is_all_there_is)
    _ = whole | "ListFailures" >> ListFailures(steps.writing)
    return done


def _is_all_there_is(failure: Failure) -> bool:
    """Whether nothing of the video is at work after this failure."""
    return not failure.lost_shots and failure.step != STEP


def build(
    sources: beam.PCollection[Source], steps: Plan, workers: int, listing: Listing
) -> tuple[Curated, beam.PCollection[Any]]:
    """What is done with sources; the second value appears when the list of failures is written."""
    done = work(sources, steps, workers)
    made = done._asdict()
    film = steps.placing.of_films
    summary = made.pop("events") | "Summarise" >> Summarise().with_resource_hints(**film)
    listed = done.failures | "WriteFailures" >> listing.with_resource_hints(**film)
    return Curated(sources=sources, summary=summary, **made), listed


def work(sources: beam.PCollection[Source], steps: Plan, workers: int) -> Done:
    """From sources to a dataset on the shelf, with all that happens on the way.

    So many ``workers`` are dealt the work; 0 for those of a cluster.
    """
    streams = steps.writing.streams
    # Machines are asked for by each step: Beam writes down what flows between steps that ask for
    # others, starts others for those that ask for none, and frames that were sampled in the cut
    # would lie on another one. So all ask for the same, unless two kinds are wanted.
    film = steps.placing.of_films
    begin = (BeginOneAtATime if streams else BeginVideos)(steps.writing, steps.again)
    begun = sources | "BeginVideos" >> begin.with_resource_hints(**film)
    # Decided for good: a bundle that is repeated must not find its own work finished.
    decided = begun.sources | "Decided" >> beam.Reshuffle().with_resource_hints(**film)
    probe = ProbeVideos(steps.cutting.film, steps.cutting.limits, steps.looking.weather)
    probed = decided | "ProbeVideos" >> probe.with_resource_hints(**film)
    divide = InSegments(steps.splitting).with_resource_hints(**film)
    segments = probed.videos | "InSegments" >> divide
    if steps.watches_films:
        share_out = ShareOut(deal_segments, workers).with_resource_hints(**film)
        segments = segments | "ShareOutVideos" >> share_out
    opening = partial(open_video, writing=steps.writing, again=steps.again)
    split = segments | "SplitVideos" >> SplitVideos(
        steps.splitting, opening, steps.writing.patience
    ).with_resource_hints(**film)
    chunks = split.reels
    empty = chunks | "WithoutClips" >> beam.Filter(
        lambda planned: not planned.clips
    ).with_resource_hints(**film)
    parts = chunks
    if workers:
        # A cluster has chunks enough, and one that is cut in one place is finished there.
        parts = chunks | "InParts" >> InParts(steps.cutting.transcode)
    dealt = parts | "ShareOutChunks" >> ShareOut(deal_chunks, workers).with_resource_hints(**film)
    to_cut = dealt
    if steps.writing.hands_over:
        # Where it is cut: a bundle that is done again finds what its first attempt has cut.
        called = dealt | "Recall" >> Recall(steps.writing).with_resource_hints(**film)
        to_cut = called.to_cut
    cut = to_cut | "CutClips" >> CutClips(steps.cutting, streams).with_resource_hints(**film)
    # Whoever is out by what was measured in the cut needs no model, and no machine that has one.
    clips = cut.clips | "JudgeClips" >> JudgeClips(steps).with_resource_hints(**film)
    if steps.writing.hands_over:
        hand_over = HandOver(steps.writing).with_resource_hints(**film)
        handed = (clips, called[RECALLED]) | "HandOver" >> hand_over
        take = beam.FlatMap(clips_of).with_output_types(Clip)
        clips = handed | "TakeOver" >> take.with_resource_hints(**steps.placing.hints)
    clips = clips | "LookAtClips" >> LookAtClips(steps).with_resource_hints(**steps.placing.hints)
    clips_or_lost = (clips, cut[LOST]) if streams else clips
    write = WriteClips(steps.writing).with_resource_hints(**steps.placing.hints)
    written = clips_or_lost | "WriteClips" >> write
    close = CloseEmptyVideos(steps.writing).with_resource_hints(**film)
    emptied = empty | "CloseEmptyVideos" >> close

    failures = (
        begun.failures,
        probed.failures,
        split.failures,
        cut.failures,
        written.failures,
        emptied.failures,
    ) | "AllFailures" >> beam.Flatten().with_resource_hints(**film)
    events = (
        sources,
        begun[SKIPPED],
        chunks,
        written.chunks,
        written.videos,
        emptied.closed,
        failures,
    )
    return Done(
        videos=probed.videos,
        chunks=chunks,
        clips=clips,
        written=written,
        failures=failures,
        events=events,
    )


@dataclass(eq=False, repr=False)
class JudgeClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same: judged by lists, and by what was measured in the cut."""

    steps: Plan

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        steps = self.steps
        if steps.dropping is not None:
            clips = clips | "DropClips" >> DropClips(steps.dropping)
        clips = apply(clips, steps.own, CUT, steps.looking)
        if steps.first_rules:
            clips = clips | "KeepByMeasures" >> KeepClips(steps.first_rules)
        return clips


@dataclass(eq=False, repr=False)
class LookAtClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same: scored by models and judged by that; then those that are kept are
    previewed, embedded and captioned.

    Models and previews do not look at clips that are rejected already.
    """

    steps: Plan

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        # Who is kept, the cheapest questions first.
        steps = self.steps
        clips = self._own(clips, JUDGED)
        for scoring, rules in steps.scorings:
            score = ScoreClips(scoring, *steps.placing.copies_of(scoring.name))
            clips = clips | f"Score {scoring.name}" >> score
            if rules:
                clips = clips | f"KeepBy {scoring.name}" >> KeepClips(rules)
        clips = self._own(clips, SCORED)
        # What is shown and said of those that are kept.
        in_sight = [kind for kind in ON_CLIPS if not issubclass(kind, StepOnTexts)]
        for kind in in_sight:
            clips = self._made(clips, kind)
        if steps.looking.sheet is not None:
            put = beam.Map(put_away, steps.looking).with_output_types(Clip)
            clips = clips | "PutAwaySheets" >> put
        for kind in ON_CLIPS[len(in_sight) :]:
            clips = self._made(clips, kind)
        if steps.marking.most and steps.marking.steps:
            clips = clips | "WatchMarks" >> WatchMarks(steps.marking)
        return clips

    def _made(
        self, clips: beam.PCollection[Clip], kind: type[StepOnClips[Any]]
    ) -> beam.PCollection[Clip]:
        """What this step makes, and the custom steps behind it."""
        if (work := self.steps.works.get(kind.name)) is not None:
            clips = clips | kind.label >> work.transform(*self.steps.placing.copies_of(kind.name))
        return self._own(clips, kind.place) if kind.place else clips

    def _own(self, clips: beam.PCollection[Clip], place: str) -> beam.PCollection[Clip]:
        return apply(clips, self.steps.own, place, self.steps.looking)


_Ended = tuple[beam.PCollection[Summary], beam.PCollection[Any]]


@dataclass(eq=False, repr=False)
class TidyUp(beam.PTransform[_Ended, beam.PCollection[None]]):
    """Removes the run's staging folder when the summary is known and the failures are listed; and
    what earlier runs that were killed have left, for jobs that nobody waits for.
    """

    own: Shelf

    def expand(self, ended: "_Ended") -> beam.PCollection[None]:
        summary, listed = ended
        own = self.own

        def sweep(_summary: Summary, _listed: list[Any]) -> None:
            own.sweep()
            sweep_dead(own)

        return summary | "Sweep" >> beam.Map(sweep, AsList(listed)).with_output_types(None)
