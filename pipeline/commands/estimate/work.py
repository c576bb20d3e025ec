"""``finecut estimate``: what a run would take and cost, before anything of it runs.

    inputs ──probe──▶ all videos ──choose──▶ a sample ──curate parts──▶ what it took
                          │                                               │
                          └──────────── scaled up to all of them ◀────────┘──▶ by prices ──▶ money

Films that are painted say what a video, a chunk and a run cost besides their clips. Clips are
counted exactly where no scenes have to be detected. Nothing is written to the output.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from finecut.io.process.processor_time import processor_seconds
from finecut.io.records import Failure, Video
from finecut.io.storage.fence import standing
from finecut.io.storage.files import is_remote
from finecut.io.storage.staging import temporary_folder
from finecut.pipeline.cli.progress import Counts, Progress
from finecut.pipeline.commands.estimate import EstimateCost
from finecut.pipeline.commands.estimate.choosing import (
    ALL_SECONDS,
    EACH_SECONDS,
    foreseen,
    pieces_of,
    some_of,
    strata,
)
from finecut.pipeline.commands.estimate.curating import DOCUMENTS, Workshop
from finecut.pipeline.commands.estimate.looking import FOUND, PROBED, Seen, look
from finecut.pipeline.commands.estimate.places import Looked
from finecut.pipeline.commands.estimate.prices import REQUESTS, prices_for
from finecut.pipeline.commands.estimate.scaling import Group, Scaling
from finecut.pipeline.commands.estimate.words import Estimate
from finecut.pipeline.planning import Plan, access_of, fence_of, plan
from finecut.pipeline.running import prepare
from finecut.transforms.beam.guard import guarded
from finecut.transforms.find.inputs import check_inputs
from finecut.transforms.find.own_outputs import check_apart
from finecut.transforms.split.scenes import Detection
from finecut.transforms.split.spans import Splitting

#: What is counted of the clips of the sample.
CUT = "clips cut"


def estimate(command: EstimateCost) -> Estimate:
    """Look at what is there, curate a little of it, and scale up what that takes."""
    options = command.options
    prices = prices_for(options.region, options.machine, options.prices)
    check_inputs(options.input, access_of(options))
    check_apart(options.input, options.output)
    with standing(fence_of(options)):
        steps = plan(options)
        prepare(options, steps)
        started = processor_seconds()
        with Progress(command.progress, line=_line):
            seen = look(steps, options.local_workers)
            if not seen.videos:
                return Estimate(options, seen, prices)
            return _estimated(Estimate(options, seen, prices), steps, started)


def _estimated(begun: Estimate, steps: Plan, started: float) -> Estimate:
    """What all videos would take; until here, this process used what it takes to start one."""
    options, seen = begun.options, begun.seen
    with temporary_folder() as folder:
        workshop = Workshop(options, folder)
        painted = workshop.painted()
        before = processor_seconds()
        groups, failures = groups_of(seen, steps.splitting, options.sample)
        detecting = processor_seconds() - before
        pieces = {group.video: group.chosen for group in groups}
        sample = workshop.curate(pieces)
    scaling = Scaling(options, steps.splitting, seen, groups=groups, painted=painted, sample=sample)
    detects = isinstance(steps.splitting.cutter, Detection)
    return Estimate(
        options,
        seen,
        begun.prices,
        failures=failures,
        sample=sample,
        total=scaling.total,
        is_exact=not detects and seen.scale == 1,
        cpu_start=started + painted.once.cpu_seconds,
        cpu_seconds=scaling.cpu_seconds(detecting if detects else 0.0),
        clip_bytes=scaling.clip_bytes,
        document_bytes=scaling.amount(DOCUMENTS),
        requests={kind: scaling.amount(kind) for kind in REQUESTS}
        if is_remote(options.output)
        else None,
        source_reads=scaling.source_reads(2 if detects else 1),
        needs_gpu=steps.placing.worker.needs_gpu,
    )


def groups_of(
    seen: Seen, splitting: Splitting, number: int
) -> tuple[list[Group], Sequence[Failure]]:
    """The videos of the sample with those that they speak for, and why some cannot be split."""
    speaking = strata(seen.videos, number)
    seconds = max(EACH_SECONDS, ALL_SECONDS / len(speaking))
    groups: list[Group] = []
    failures: list[Failure] = []
    for video, members in speaking:
        for looked in guarded("split", video.source, partial(_looked_at, video, splitting)):
            if isinstance(looked, Failure):
                failures.append(looked)
                continue
            known = foreseen(video, looked.found, splitting)
            chosen = some_of(looked.there[: splitting.limit or None], seconds)
            groups.append(Group(video, members, known, looked=looked, chosen=chosen))
    return groups, failures


def _looked_at(video: Video, splitting: Splitting) -> Iterator[Looked]:
    yield pieces_of(video, splitting)


def _line(counts: Counts, _seconds: float, ended: bool) -> str:
    """How far it is."""
    found, probed, cut = (counts.get(name, 0) for name in (FOUND, PROBED, CUT))
    if not found:
        return "finding    videos"
    if probed < found:
        return f"probing    {probed} of {found} videos"
    return (
        f"{'done' if ended else 'trying':<10} {found} videos probed, {cut} clips cut for a sample"
    )
