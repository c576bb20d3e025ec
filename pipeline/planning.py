"""Planning: from options to what each step is told, derived once."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Final, NamedTuple

from finecut.io.layout import Layout
from finecut.io.media.codecs import Encoding
from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.media.limits import Limits
from finecut.io.process.children import ChildLimits, possible
from finecut.io.storage import files as shelf
from finecut.io.storage.addresses import public
from finecut.io.storage.fence import Fence
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import Scratch
from finecut.io.storage.web.urls import Access
from finecut.pipeline.at_work import layout_for
from finecut.pipeline.choices.cutting import FIXED_STRIDE
from finecut.pipeline.custom_steps import CustomStep, custom_steps
from finecut.pipeline.engines import does_again
from finecut.pipeline.engines.support import engine_of
from finecut.pipeline.options import Options, option_fields
from finecut.pipeline.placing import Placing, placing
from finecut.transforms.beam.marks import Marking
from finecut.transforms.beam.weather import Weather, this_process
from finecut.transforms.caption.prompts import bare, fields_in
from finecut.transforms.caption.windows import Windowing
from finecut.transforms.cut.chunk import Cutting
from finecut.transforms.filter.clips import Dropping
from finecut.transforms.filter.rules import Rule
from finecut.transforms.find.inputs import Finding
from finecut.transforms.find.lists import list_of_failures
from finecut.transforms.find.metadata import Asked
from finecut.transforms.find.own_outputs import fixed_part
from finecut.transforms.find.parts import parse_part
from finecut.transforms.measure.looking import Looking
from finecut.transforms.needs import Needs
from finecut.transforms.registry import IN_CUT, ON_CLIPS, SOURCES, STEPS
from finecut.transforms.resume.note import Again
from finecut.transforms.score.clips import Scoring
from finecut.transforms.split.scenes import Detection, Trimming
from finecut.transforms.split.spans import (
    CutList,
    Cutter,
    FixedStride,
    GivenCuts,
    Splitting,
    digest_of_cuts,
)
from finecut.transforms.step import EachClip
from finecut.transforms.step_base import (
    ORIGINAL,
    Seen,
    StepInCut,
    StepOnClips,
    StepOnFrames,
    Surroundings,
)
from finecut.transforms.work import Work
from finecut.transforms.write.failure_lists import WriteFailures
from finecut.transforms.write.writing import Writing

DETECTED_CROP = 0.5
#: The runner of engines that are not named; like those that are, they fuse steps.
PORTABLE: Final = "PortableRunner"
#: Counts up when the same options make something else of the same film than they used to.
FORM = 1


class Plan(NamedTuple):
    """What each step is told."""

    finding: Finding
    splitting: Splitting
    cutting: Cutting
    #: How clips are looked at, by whatever looks at them.
    looking: Looking
    #: Who is left out whatever was measured; ``None``: nobody.
    dropping: Dropping | None
    #: Rules on what was measured, spoken before any model looks.
    first_rules: tuple[Rule, ...]
    #: Models, the cheap ones first, each with the rules on what it sees.
    scorings: tuple[tuple[Scoring, tuple[Rule, ...]], ...]
    #: What is done to clips when all rules have been applied, by the names of the steps.
    works: Mapping[str, Work]
    #: Steps that are not ours, each with its place among these.
    own: tuple[CustomStep, ...]
    placing: Placing
    writing: Writing
    #: Whose errors on clips are counted.
    marking: Marking
    again: Again
    #: Name of this run's list of failures; the same command gives the same name.
    failures_path: str

    @property
    def listing(self) -> WriteFailures:
        """Lists what failed, where many workers do so; what is listed of other parts stays."""
        return WriteFailures(self.writing.shelf, self.failures_path, self.finding.part)

    @property
    def watches_films(self) -> bool:
        """Whether splitting decodes the films, and so is work worth sharing out."""
        return isinstance(self.splitting.cutter, Detection)


def plan(options: Options, run: str | None = None, ask: bool = True, together: bool = True) -> Plan:
    """The settings of every step. ``run`` names the staging folder only this run uses.

    ``ask=False``: nobody elsewhere is asked what a model wants; the usual is assumed.
    ``together=False``: steps may stand between these of which nothing is known.
    """
    layout = layout_for(options, ask)
    output = layout.root
    run = run or uuid.uuid4().hex
    own_made = custom_steps(options)
    keeps = together and keeps_files(options, own_made)
    own = Shelf(output, layout.staging_of(run), fence_of(options), keeps)
    inputs = tuple(shelf.absolute(spec) for spec in options.input)
    weather = Weather(does_again(options.runner), this_process())
    looking = replace(_looking(options, run, ask, own_made), weather=weather)
    rules = options.rules
    given = Surroundings(looking, own, ask)
    works = {step.name: step.work(given) for step in options.making}
    place = placing(options, works, own_made)
    models = {
        kind.name: works[kind.name].model if kind.name in works else None
        for kind in ON_CLIPS
        if kind.has_model and (kind.name in ORIGINAL or kind.name in works)
    }
    facts = facts_of(options, **models)
    return Plan(
        finding=Finding(
            inputs,
            options.named_as,
            options.video_limit,
            without=(layout.clips(), layout.clips(kept=False), layout.packs(), layout.staging()),
            failed=failures_path(options),
            part=parse_part(options.part),
            archives=options.archives,
            access=access_of(options),
            beside=options.source_metadata,
            asked=asked_of_sources(options),
        ),
        splitting=Splitting(
            _cutter(options, own.staging), options.limit_clips, options.chunk_seconds, weather
        ),
        cutting=Cutting(
            shelf=own,
            encoding=encoding_of(options),
            use_input_bit_rate=options.use_input_bit_rate,
            # Small frames lie on the machine that cut, and nobody looks for them there.
            looking=replace(looking, sheet=None) if options.right_fitting else looking,
            film=film_limits(options),
            limits=child_limits(options, own.staging),
            transcode=options.transcode,
            decoder=options.decoder,
        ),
        looking=looking,
        dropping=dropping_of(options),
        first_rules=tuple(rule for family in (SOURCES, *IN_CUT) for rule in rules[family]),
        scorings=tuple((each, rules[each.name]) for each in _scorings(options, looking)),
        works={
            name: work.sharing(place.share_of(name)).under(weather) for name, work in works.items()
        },
        own=own_made,
        placing=place,
        writing=Writing(
            layout,
            own,
            upload_clips=not options.no_upload_clips,
            dry_run=options.dry_run,
            threads=options.write_threads,
            algorithm=models["embed"],
            patience=options.patience if options.streams else None,
            weather=weather,
            hands_over=place.film_hints is not None,
            configuration=digest_of(options, facts),
            facts=facts,
        ),
        marking=Marking(own.staging, frozenset(_marking(options, own_made)), options.max_marked),
        again=Again(
            options.overwrite,
            options.max_attempts,
            rules=rules[SOURCES],
            prompts=tuple(text for step in options.making for _, text in step.prompts()),
        ),
        failures_path=failures_path(options),
    )


def keeps_files(options: Options, own: Sequence[CustomStep]) -> bool:
    """Whether clips wait on the machine that cut them until they are written to a store: where it
    is known that the same process writes them, or hands them over.
    """
    fuses = engine_of(options.runner) is not None or options.runner == PORTABLE
    apart = options.streams or not fuses
    return (
        shelf.appears_whole(shelf.absolute(options.output))
        and not apart
        and all(isinstance(step.transform, EachClip) for step in own)
    )


def access_of(options: Options) -> Access:
    """What the run may do with URLs."""
    return Access(options.allow_private, options.max_download_mb * 1_000_000)


def needs_of(options: Options, steps: Plan) -> Iterator[tuple[str, Needs]]:
    """What each step that is used cannot work without, by its name."""
    yield from ((step.name, step.needs) for step in (*options.measuring, *options.making))
    yield from ((step.name, step.needs) for step in steps.own)


def asked_of_sources(options: Options) -> tuple[Asked, ...]:
    """The fields of sources' metadata that rules and prompts speak of."""
    rejected, empty = "a rule rejects their clips", "nothing stands in its place in their prompts"
    rules = [Asked(rule.score, f"--keep {rule.name}", rejected) for rule in options.rules[SOURCES]]
    prompts = [
        Asked(field, f"{flag} with {{{field if surely else bare(field)}}}", empty, surely=surely)
        for step in options.making
        for flag, text in step.prompts()
        for field, surely in fields_in(text).items()
    ]
    return (*rules, *prompts)


def fence_of(options: Options) -> Fence:
    """The output is not left; what a link in an input means stays as it is."""
    inputs = (fixed_part(shelf.absolute(spec)) for spec in options.input)
    return Fence((shelf.absolute(options.output),), tuple(inputs))


def failures_path(options: Options) -> str:
    """Where this command lists what failed; the same inputs give the same name."""
    inputs = sorted(public(shelf.absolute(spec)) for spec in options.input)
    layout = Layout(shelf.absolute(options.output))
    if len(inputs) == 1 and (path := list_of_failures(inputs[0], layout.failures())):
        # What was listed as failed is tried again: what fails still stays on the same list.
        return path
    return layout.failure_list(hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12])


def configuration(options: Options, **models: str | None) -> str:
    """What tells apart options that make something else of the same film."""
    return digest_of(options, facts_of(options, **models))


def facts_of(options: Options, **models: str | None) -> dict[str, str | int | None]:
    """What configurations are made of besides the options: models, what lists hold, the form."""
    facts: dict[str, str | int | None] = {f"{role} model": model for role, model in models.items()}
    if options.cuts is not None:
        facts["cuts"] = digest_of_cuts(options.cuts)
    if (dropping := dropping_of(options)) is not None:
        facts["drop"] = dropping.digest
    facts |= {f"step {step.name}": step.version for step in custom_steps(options)}
    return facts | {"form": FORM}


def digest_of(options: Options, facts: Mapping[str, str | int | None]) -> str:
    """The configuration of these options and facts."""
    # What other lists, or none, would make of the film depends on their ids and not on their names.
    without = {*_of_later_steps(options), "drop"}
    said = {
        f.name: getattr(options, f.name)
        for f in option_fields()
        if f.metadata["matters"] and f.name not in without
    }
    # "auto" may mean another one each time.
    said |= {"embedding_algorithm": None, **facts}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _of_later_steps(options: Options) -> set[str]:
    """The options of steps that are newer than some outputs, and that nobody uses: what was made
    before there were such steps is what would be made now.
    """
    used = {step.name for step in (*options.measuring, *options.making)}
    idle = [step for step in STEPS if step.name not in ORIGINAL and step.name not in used]
    others = {f.name for step in STEPS if step not in idle for f in fields(step.Options)}
    return {f.name for step in idle for f in fields(step.Options)} - others


def encoding_of(options: Options) -> Encoding:
    """How clips are encoded."""
    return Encoding(
        encoder=options.encoder,
        preset=options.preset,
        crf=options.crf,
        bit_rate=options.bit_rate,
        threads=options.encoder_threads,
        audio=options.audio,
    )


def dropping_of(options: Options) -> Dropping | None:
    lists = [shelf.absolute(path) for path in options.drop if path]
    return Dropping.of(lists) if lists else None


def _cutter(options: Options, run: str) -> Cutter:
    if options.splitting_algorithm == FIXED_STRIDE and options.cuts is None:
        return FixedStride(options.clip_length, options.stride, options.min_clip_length)
    usual = DETECTED_CROP if options.cuts is None else 0.0
    trimming = Trimming(
        least=options.min_clip_length,
        most=options.max_clip_length,
        mode=options.long_scenes,
        crop=usual if options.crop is None else options.crop,
        crop_pieces=options.crop_every_piece,
    )
    if options.cuts is not None:
        return GivenCuts(CutList.at(options.cuts), trimming)
    return Detection(
        algorithm=options.splitting_algorithm,
        threshold=options.transnetv2_threshold,
        entire=not options.skip_uncut,
        trimming=trimming,
        model_dir=options.model_dir,
        film=film_limits(options),
        limits=child_limits(options, run),
    )


def film_limits(options: Options) -> Limits:
    """What a film may ask for."""
    return Limits(options.max_pixels, options.max_seconds, options.max_frames, options.max_streams)


def child_limits(options: Options, run: str = "") -> ChildLimits | None:
    """What the work on a film may take in a child process; ``None``: there is no such process."""
    # Only what this process does itself can be watched.
    if options.no_isolation or options.profile or not possible():
        return None
    limits = ChildLimits(options.max_memory_mb, options.max_cpu_seconds, options.max_stall_seconds)
    return replace(limits, run=run)


def _looking(options: Options, run: str, ask: bool, own: Sequence[CustomStep]) -> Looking:
    used = (*options.measuring, *options.making)
    seen = [step.seen(ask) for step in used if isinstance(step, StepOnFrames | StepOnClips)]
    seen += [step.seen for step in own]
    windows = [each.windows for each in seen if each.windows is not None]
    return Looking(
        measured=tuple(step for step in options.measuring if isinstance(step, StepInCut)),
        sheet=_sheet_form(seen),
        scratch=Scratch(
            options.scratch_mb * 1_000_000,
            shelf.absolute(options.scratch) if options.scratch else "",
        ),
        run=run,
        windowing=Windowing(options.window_size, options.window_remainder),
        even=tuple(each.even for each in seen if each.even),
        captions=max(windows, default=None),
    )


def _marking(options: Options, own: Sequence[CustomStep]) -> Iterator[str]:
    """The names under which clips hold errors of steps that look at them."""
    yield from (step.name for step in options.measuring if isinstance(step, StepOnFrames))
    yield from (step.marks() for step in options.making)
    yield from (step.name for step in own)


def _sheet_form(seen: Sequence[Seen]) -> SheetForm | None:
    """As many frames, and as large, as the enabled steps need."""
    if all(each == Seen() for each in seen):
        return None
    return SheetForm(
        rates=tuple(sorted({rate for each in seen for rate in each.rates})),
        height=max(each.height for each in seen),
        side=max(each.side for each in seen),
    )


def _scorings(options: Options, looking: Looking) -> Iterator[Scoring]:
    return (
        Scoring(
            name=step.name,
            load=step.load,
            require=step.require,
            rate=step.rate,
            looking=looking,
            side=step.side,
        )
        for step in options.measuring
        if isinstance(step, StepOnFrames)
    )
