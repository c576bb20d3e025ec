"""Cutting: planned clips become clips, each chunk in a process that may crash (``chunk.py``)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.media.codecs import require_decoder, require_encoder
from finecut.io.media.remux.copying import ENCODED
from finecut.io.records import Clip, ClipFile, Failure, Lost, PlannedChunk, PlannedClip
from finecut.io.storage.fence import is_straight
from finecut.io.storage.kept import kept_of
from finecut.transforms.amount import counted, counted_clips
from finecut.transforms.beam.guard import FAILURES, LOST, guarded, of_video
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.cut.chunk import Cutting, cut_telling
from finecut.transforms.cut.isolated import isolated

#: What failures call it.
STEP: Final = "cut"


class Imposture(Exception):
    """A child process answered what cannot be: the film may have taken it over."""


def frames_encoded(file: ClipFile | None) -> int:
    """How many frames of a clip were encoded: usually all."""
    if file is None:
        return 0
    how = file.transcoded
    return file.num_frames if how is None or how.how == ENCODED else how.frames_encoded


def _known(outcome: Clip | Failure, planned: PlannedChunk, cutting: Cutting) -> Clip | Failure:
    """The same, if it is of this chunk: a child that decodes foreign films is not trusted."""
    if isinstance(outcome, Failure):
        return outcome
    kept = cutting.shelf.kept_in
    staging = f"{kept or cutting.shelf.staging}/"
    path = outcome.staged or staging
    outside = not path.startswith(staging) or ".." in path.split("/")
    # What a link in a bucket's staging would be, nobody can make; here it is a file of ours.
    if outside or (kept and outcome.staged and not is_straight(path, kept)):
        raise Imposture(f"a clip claims to be staged at {outcome.staged!r}, outside of staging")
    clip = next((clip for clip in planned.clips if clip.id == outcome.id), None)
    if clip is None:
        raise Imposture(
            f"a clip {outcome.id!r} came back from a chunk that has no clip with this id"
        )
    return outcome.replace(video=planned.video, chunk=planned.chunk, planned=clip)


class Advance:
    """Counts how much of a chunk's work is done: as it is told, and each clip as a whole when it
    has ended, one way or another.
    """

    def __init__(self, planned: PlannedChunk) -> None:
        self._video = planned.video
        #: Of all clips that have not ended, and what was counted of it.
        self._left, self._ahead = counted_clips(planned.video, planned.clips), 0

    def tell(self, made: bytes) -> None:
        """What a child says of itself is not more than there is."""
        seconds = float(made)
        if 0 < seconds < math.inf:
            more = min(counted(self._video, seconds), self._left - self._ahead)
            self._count(more)
            self._ahead += more

    def end(self, clips: Sequence[PlannedClip]) -> None:
        work = counted_clips(self._video, clips)
        told = min(work, self._ahead)
        self._count(work - told)
        self._left, self._ahead = self._left - work, self._ahead - told

    def _count(self, work: int) -> None:
        if work > 0:
            count("work cut", work)


@dataclass(eq=False, repr=False)
class CutClips(beam.PTransform[beam.PCollection[PlannedChunk], Any]):
    """Chunk → Clips; what could not be cut → ``failures``, and in a stream also ``lost``."""

    cutting: Cutting
    tells_lost: bool = False

    def expand(self, chunks: beam.PCollection[PlannedChunk]) -> Any:
        accidents = (FAILURES, LOST) if self.tells_lost else (FAILURES,)
        cut = _Cut(self.cutting, self.tells_lost)
        return chunks | "Cut" >> beam.ParDo(cut).with_outputs(*accidents, main="clips")


@dataclass(eq=False, repr=False)
class _Cut(beam.DoFn):
    cutting: Cutting
    tells_lost: bool

    def setup(self) -> None:
        require_encoder(self.cutting.encoding)
        require_decoder(self.cutting.decoder)
        self._kept = kept_of(self.cutting.shelf)

    def teardown(self) -> None:
        self._kept = None

    def process(
        self, planned: PlannedChunk
    ) -> Iterable[
        Clip | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
    ]:
        left = {clip.id: clip for clip in planned.clips}
        source, missing = planned.video.source, partial(tuple[str, ...], left)
        weather, advance = self.cutting.looking.weather, Advance(planned)
        work = self._cut(planned, missing, advance)
        checked = guarded(STEP, source, lambda: work, missing, weather=weather)
        for outcome in metered(STEP, checked):
            if isinstance(outcome, Failure):
                lost = [left.pop(id) for id in outcome.lost_shots if id in left]
                count("shots failed", len(outcome.lost_shots))
                advance.end(lost)
                failure = of_video(outcome, planned.video, lost)
                told: list[Any] = [TaggedOutput(FAILURES, failure)]
                if self.tells_lost:
                    gone = Lost(planned.video, planned.chunk, (failure,))
                    told.append(TaggedOutput(LOST, gone))
                yield from told
            else:
                clip = left.pop(outcome.id)
                span = outcome.planned.span
                place = f"{outcome.video.name} from {span.start:g} to {span.end:g} s"
                LOG.debug("cut %s: %s", outcome.id, place)
                count("clips cut")
                count("frames encoded", frames_encoded(outcome.file))
                count("cut/bytes", outcome.file.num_bytes if outcome.file else 0)
                count("milliseconds cut", int(1000 * clip.span.length))
                advance.end([clip])
                yield outcome

    def _cut(
        self, planned: PlannedChunk, missing: Callable[[], Iterable[str]], advance: Advance
    ) -> Iterator[Clip | Failure]:
        """What becomes of the clips of a chunk. Where they wait on this machine for being written,
        what nobody waits for is removed at once.
        """
        source, cutting, wanted = planned.video.source, self.cutting, set[str]()
        with ExitStack() as here:
            if self._kept is not None:
                own, wanted = here.enter_context(self._kept.apart(cutting.shelf))
                cutting = replace(cutting, shelf=own)
            cut = partial(cut_telling, cutting=cutting)
            limits, weather = cutting.limits, cutting.looking.weather
            for outcome in isolated(
                STEP, source, cut, planned, limits=limits, lost=missing, weather=weather
            ):
                if isinstance(outcome, bytes):
                    advance.tell(outcome)
                    continue
                known = _known(outcome, planned, cutting)
                if isinstance(known, Clip) and known.staged is not None:
                    wanted.add(known.staged)
                yield known
