"""The steps by the names and options a pipeline in YAML has for them; rows come and go.

Each is the transform of the same name in ``finecut.transforms``, told what to do as ``planning``
tells it; ``Curate`` is the whole way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import apache_beam as beam

from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, PlannedChunk, Skipped, Source, Video, Written
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import Scratch
from finecut.io.summary import Summary
from finecut.pipeline import curation
from finecut.pipeline.beam_yaml.step import Rows, Step, cut_for, planned, run_of
from finecut.pipeline.dealing import InParts, ShareOut, deal_chunks, deal_segments
from finecut.pipeline.engine import runner_of
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import Plan, access_of
from finecut.transforms.beam.guard import FAILURES
from finecut.transforms.cut import clips as cut
from finecut.transforms.filter import clips as keep
from finecut.transforms.find import videos as find
from finecut.transforms.find.inputs import check_inputs
from finecut.transforms.find.own_outputs import check_apart
from finecut.transforms.measure.looking import put_away
from finecut.transforms.resume import begin as again
from finecut.transforms.resume.note import open_video
from finecut.transforms.score import clips as scoring
from finecut.transforms.split import videos as split
from finecut.transforms.step_base import StepOnClips
from finecut.transforms.steps.caption import Caption
from finecut.transforms.steps.embed import Embed
from finecut.transforms.steps.enhance import Enhance
from finecut.transforms.steps.preview import Preview
from finecut.transforms.write import clips as write
from finecut.transforms.write import close, without_clips
from finecut.transforms.write.writing import Writing

#: Marks the configuration of videos that steps made which stand alone.
ALONE = "-steps"


class Curate(Step):
    """The whole way from inputs to a dataset: what ``finecut curate`` does with these options."""

    _yaml_requires_inputs = False
    gives: ClassVar[Mapping[str, type]] = {
        "sources": Source,
        "videos": Video,
        "reels": PlannedChunk,
        "clips": Clip,
        "written": Written,
        FAILURES: Failure,
        "summary": Summary,
    }
    needs = ("input", "output")
    together = True

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        check_inputs(options.input, access_of(options))
        check_apart(options.input, options.output)
        made = curation.curate(records.pipeline, options, steps)
        written = made.written
        receipts = (written.clips, written.artefacts, written.metas, written.embeddings)
        rows = {**made._asdict(), "written": receipts | "Receipts" >> beam.Flatten()}
        # In YAML, chunks have had this name from the first version on.
        return {"reels": rows.pop("chunks"), **rows}


class FindVideos(Step):
    """The videos that ``input`` names."""

    _yaml_requires_inputs = False
    gives: ClassVar[Mapping[str, type]] = {"sources": Source}
    needs = ("input",)

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        check_inputs(options.input, access_of(options))
        finding = steps.finding
        if options.output:
            check_apart(options.input, options.output)
        else:
            # Nothing was written anywhere, so nothing of it is left out or known to have failed.
            finding = replace(finding, without=(), failed=None)
        return {"sources": records | "Find" >> find.FindVideos(finding)}


class BeginVideos(Step):
    """Sources there is something to do about; the others are finished, or were set aside."""

    takes = Source
    gives: ClassVar[Mapping[str, type]] = {
        "sources": Source,
        again.SKIPPED: Skipped,
        FAILURES: Failure,
    }
    needs = ("output",)

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        begun = records | "Begin" >> again.BeginVideos(_writing(steps), steps.again)
        # Decided for good: a bundle that is repeated must not find its own work finished.
        sources = begun.sources | "Decided" >> beam.Reshuffle()
        return {"sources": sources, again.SKIPPED: begun[again.SKIPPED], FAILURES: begun[FAILURES]}


class ProbeVideos(Step):
    """What each source is: its codec, size, rate and length."""

    takes = Source
    gives: ClassVar[Mapping[str, type]] = {"videos": Video, FAILURES: Failure}

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        return records | "Probe" >> find.ProbeVideos(
            steps.cutting.film, steps.cutting.limits, steps.looking.weather
        )


class SplitVideos(Step):
    """Where videos are cut: chunks of planned clips. With an ``output``, what an earlier run wrote
    there of a video is noted, to be replaced, and the video no longer counts as finished."""

    takes = Video
    gives: ClassVar[Mapping[str, type]] = {"reels": PlannedChunk, FAILURES: Failure}

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        records = records | "InSegments" >> split.InSegments(steps.splitting)
        if steps.watches_films:
            records = records | "ShareOut" >> ShareOut(deal_segments, options.dealt_among)
        opening = partial(open_video, writing=_writing(steps), again=steps.again)
        made = split.SplitVideos(steps.splitting, opening if options.output else list)
        split_up = records | "Split" >> made.with_resource_hints(**steps.placing.of_films)
        return {"reels": split_up.reels, FAILURES: split_up.failures}


class CutClips(Step):
    """Clips as files, staged below the ``output``, and measured if anything asks for it."""

    takes = PlannedChunk
    gives: ClassVar[Mapping[str, type]] = {"clips": Clip, FAILURES: Failure}
    needs = ("output",)

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        if options.dealt_among:
            records = records | "InParts" >> InParts(steps.cutting.transcode)
        dealt = records | "ShareOut" >> ShareOut(deal_chunks, options.dealt_among)
        made = cut.CutClips(steps.cutting).with_resource_hints(**steps.placing.of_films)
        clips = dealt | "Cut" >> made
        cut_for(records.pipeline, steps.writing.layout.root).append(clips.clips)
        return clips


class _Looking(Step):
    """Steps from clips to the same clips, of which more is known: by the steps of these names."""

    takes = Clip
    gives: ClassVar[Mapping[str, type]] = {"clips": Clip}
    #: The steps on clips that do it, by their labels.
    by: ClassVar[Mapping[str, type[StepOnClips[Any]]]] = {}

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        for label, made in self.looks(steps).items():
            records = records | label >> made.with_resource_hints(**steps.placing.hints)
        return {"clips": records}

    def looks(self, steps: Plan) -> Mapping[str, beam.PTransform[Any, Any]]:
        """What is done one after the other."""
        return {
            label: steps.works[kind.name].transform(*steps.placing.copies_of(kind.name))
            for label, kind in self.by.items()
            if kind.name in steps.works
        }


class LookAtClips(_Looking):
    """Everything the options ask for between cutting and writing: rules, scores, previews, vectors
    and captions, in the order in which the fewest clips are looked at."""

    needs = ("output",)

    def looks(self, steps: Plan) -> Mapping[str, beam.PTransform[Any, Any]]:
        return {"Judge": curation.JudgeClips(steps), "Look": curation.LookAtClips(steps)}


class ScoreClips(_Looking):
    """What models say of clips: text, unsafe content, beauty, as the filters and rules need."""

    def looks(self, steps: Plan) -> Mapping[str, beam.PTransform[Any, Any]]:
        if not steps.scorings:
            raise OptionError(
                "ScoreClips measures nothing: add text_filter: score-only, or another filter"
            )
        return {
            f"Score {each.name}": scoring.ScoreClips(each, *steps.placing.copies_of(each.name))
            for each, _ in steps.scorings
        }


class KeepClips(_Looking):
    """All rules of the options, spoken about what is known of the clips by now; none is dropped,
    those that are rejected say by which rule."""

    def looks(self, steps: Plan) -> Mapping[str, beam.PTransform[Any, Any]]:
        rules = (*steps.first_rules, *(rule for _, rules in steps.scorings for rule in rules))
        if not rules:
            raise OptionError(
                "KeepClips keeps all clips: add keep: ['sharpness>=0.2'], or another rule"
            )
        return {"Keep": keep.KeepClips(rules)}


class MakePreviews(_Looking):
    """An animated picture of each window of each kept clip."""

    needs = ("output",)
    implied: ClassVar[Mapping[str, Any]] = {"generate_previews": True}
    by: ClassVar[Mapping[str, type[StepOnClips[Any]]]] = {"Preview": Preview}


class EmbedClips(_Looking):
    """A vector of each kept clip."""

    implied: ClassVar[Mapping[str, Any]] = {"no_generate_embeddings": False}
    by: ClassVar[Mapping[str, type[StepOnClips[Any]]]] = {"Embed": Embed}


class CaptionClips(_Looking):
    """A caption of each window of each kept clip, and a richer one if asked for."""

    implied: ClassVar[Mapping[str, Any]] = {"generate_captions": True}
    by: ClassVar[Mapping[str, type[StepOnClips[Any]]]] = {"Caption": Caption, "Enhance": Enhance}


class WriteClips(Step):
    """Clips → a dataset below ``output``, and receipts of all that was written. A video all of
    whose clips were filtered away since they were cut is closed like one that has none."""

    takes = Clip
    gives: ClassVar[Mapping[str, type]] = {
        "clips": Written,
        "artefacts": Written,
        "metas": Written,
        "embeddings": Written,
        "chunks": close.ChunkClosed,
        "videos": close.VideoClosed,
        FAILURES: Failure,
    }
    needs = ("output",)

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        if steps.looking.sheet is not None:
            # Nobody looks at clips that are written.
            put = beam.Map(put_away, steps.looking).with_output_types(Clip)
            records = records | "PutAwaySheets" >> put
        writing = _writing(steps)
        made = (records | "Write" >> write.WriteClips(writing))._asdict()
        cut = cut_for(records.pipeline, steps.writing.layout.root)
        if cut:
            every = cut | "All that was cut" >> beam.Flatten()
            closed = (every, records) | "CloseFiltered" >> without_clips.CloseFilteredVideos(
                writing
            )
            for name, more in {"videos": closed.closed, FAILURES: closed[FAILURES]}.items():
                made[name] = (made[name], more) | f"All {name}" >> beam.Flatten()
        return made


class CloseEmptyVideos(Step):
    """Documents of the videos, among those of all chunks, that are too short for a clip."""

    takes = PlannedChunk
    gives: ClassVar[Mapping[str, type]] = {"videos": close.VideoClosed, FAILURES: Failure}
    needs = ("output",)

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        empty = records | "WithoutClips" >> beam.Filter(lambda planned: not planned.clips)
        closed = empty | "Close" >> without_clips.CloseEmptyVideos(_writing(steps))
        return {"videos": closed.closed, FAILURES: closed[FAILURES]}


class ListFailures(Step):
    """Failures → one list below ``output``, which may be an input again."""

    takes = Failure
    gives: ClassVar[Mapping[str, type]] = {"lists": Written}
    needs = ("input", "output")

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        listed = records | "List" >> steps.listing
        return {"lists": listed | "Receipts" >> beam.FlatMap(_receipts).with_output_types(Written)}


def _receipts(listed: tuple[str, int]) -> Iterator[Written]:
    path, num_bytes = listed
    if num_bytes:
        yield Written(FAILURES, owner="", chunk="", path=path, num_bytes=num_bytes)


class TidyUp(Step):
    """Removes what the pipeline staged below ``output``, when all its inputs are complete: what
    was filtered away would lie there for a week."""

    needs = ("output",)

    def expand(self, rows: Any) -> Rows:
        several = tuple(rows.values()) if isinstance(rows, dict) else (rows,)
        pipeline = several[0].pipeline
        run = run_of(pipeline)
        steps = planned(replace(self.options, runner=runner_of(pipeline)).check(whole=False), run)
        sweep = partial(_sweep, run=run, layout=steps.writing.layout, scratch=steps.looking.scratch)
        ended = [
            beam.pvalue.AsSingleton(each | f"Ended {number}" >> beam.combiners.Count.Globally())
            for number, each in enumerate(several)
        ]
        _ = pipeline | "Once" >> beam.Create([0]) | "Sweep" >> beam.Map(sweep, *ended)
        return {}


def _sweep(_once: int, *_ended: int, run: str, layout: Layout, scratch: Scratch) -> None:
    for folder in shelf.folders_in(layout.staging()):
        if folder.rsplit("/", 1)[-1].startswith(f"{run}-"):
            Shelf(layout.root, folder).sweep()
    scratch.sweep(f"{run}-")


def _writing(steps: Plan) -> Writing:
    """Of steps that stand alone: options do not tell which of them there were, so ``finecut
    curate`` shall not take their videos for its own and skip them."""
    return replace(steps.writing, configuration=f"{steps.writing.configuration}{ALONE}")
