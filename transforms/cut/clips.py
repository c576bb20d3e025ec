"""Cutting: planned clips become clips, each chunk in a process that may crash (``chunk.py``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.media.codecs import require_decoder, require_encoder
from finecut.io.media.remux.copying import ENCODED
from finecut.io.records import Clip, ClipFile, Failure, Lost, PlannedChunk
from finecut.transforms.amount import counted, counted_clips
from finecut.transforms.beam.guard import FAILURES, LOST, guarded, of_video
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.cut.chunk import Cutting, cut_chunk
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
    staging = f"{cutting.shelf.staging}/"
    path = outcome.staged or staging
    if not path.startswith(staging) or ".." in path.split("/"):
        raise Imposture(f"a clip claims to be staged at {outcome.staged!r}, outside of staging")
    clip = next((clip for clip in planned.clips if clip.id == outcome.id), None)
    if clip is None:
        raise Imposture(
            f"a clip {outcome.id!r} came back from a chunk that has no clip with this id"
        )
    return outcome.replace(video=planned.video, chunk=planned.chunk, planned=clip)


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

    def process(
        self, planned: PlannedChunk
    ) -> Iterable[
        Clip | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
    ]:
        left = {clip.id: clip for clip in planned.clips}
        source, missing = planned.video.source, partial(tuple[str, ...], left)
        cut = partial(cut_chunk, cutting=self.cutting)
        weather = self.cutting.looking.weather
        work = isolated(
            STEP, source, cut, planned, limits=self.cutting.limits, lost=missing, weather=weather
        )
        known = (_known(outcome, planned, self.cutting) for outcome in work)
        checked = guarded(STEP, source, lambda: known, missing, weather=weather)
        for outcome in metered(STEP, checked):
            if isinstance(outcome, Failure):
                lost = [left.pop(id) for id in outcome.lost_shots if id in left]
                count("shots failed", len(outcome.lost_shots))
                count("work cut", counted_clips(planned.video, lost))
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
                LOG.info("cut %s: %s", outcome.id, place)
                count("clips cut")
                count("frames encoded", frames_encoded(outcome.file))
                count("cut/bytes", outcome.file.num_bytes if outcome.file else 0)
                count("milliseconds cut", int(1000 * clip.span.length))
                count("work cut", counted(planned.video, clip.span.length))
                yield outcome
