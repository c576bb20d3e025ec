"""Cutting: reels of shots become clips, each reel in a process that may crash (see ``reel.py``)."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.media.codecs.decoders import require_decoder
from finecut.io.media.codecs.encoders import require_encoder
from finecut.io.media.remux.copying import ENCODED
from finecut.io.records import Clip, ClipFile, Failure, Reel
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.evidence import of_video
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.cut.isolated import isolated
from finecut.transforms.cut.reel import Cutting, cut_reel


class Imposture(Exception):
    """A child process said what cannot be: the film may have taken it over."""


def frames_encoded(file: ClipFile | None) -> int:
    """How many frames of a clip were encoded: usually all."""
    if file is None:
        return 0
    told = file.transcoded
    return file.num_frames if told is None or told.how == ENCODED else told.frames_encoded


def _known(outcome: Clip | Failure, reel: Reel, cutting: Cutting) -> Clip | Failure:
    """The same, if it is of this reel: who cuts films that others made is not believed all."""
    if isinstance(outcome, Failure):
        return outcome
    if outcome.staged is not None and not _is_staged(outcome.staged, cutting.shelf):
        raise Imposture(f"a clip was said to be staged at {outcome.staged!r}, outside of staging")
    shot = next((shot for shot in reel.shots if shot.id == outcome.id), None)
    if shot is None:
        raise Imposture(f"a clip {outcome.id!r} came of a reel that has none of this id")
    return outcome.replace(video=reel.video, chunk=reel.chunk, shot=shot)


def _believed(
    work: Iterable[Clip | Failure], reel: Reel, cutting: Cutting, left: Iterable[str]
) -> Iterator[Clip | Failure]:
    checked = (_known(outcome, reel, cutting) for outcome in work)
    yield from guarded("cut", reel.video.source, lambda: checked, lambda: tuple(left))


def _is_staged(path: str, own: Shelf) -> bool:
    return path.startswith(f"{own.staging}/") and ".." not in path.split("/")


class CutClips(beam.PTransform[beam.PCollection[Reel], Any]):
    """Reel → Clips; what could not be cut → ``failures``."""

    def __init__(self, cutting: Cutting) -> None:
        super().__init__()
        self.cutting = cutting

    def expand(self, reels: beam.PCollection[Reel]) -> Any:
        return reels | "Cut" >> beam.ParDo(_Cut(self.cutting)).with_outputs(FAILURES, main="clips")


class _Cut(beam.DoFn):
    def __init__(self, cutting: Cutting) -> None:
        super().__init__()
        self.cutting = cutting

    def setup(self) -> None:
        require_encoder(self.cutting.encoding)
        require_decoder(self.cutting.decoder)

    def process(self, reel: Reel) -> Iterable[Clip | TaggedOutput[Literal["failures"], Failure]]:
        left = {shot.id: shot for shot in reel.shots}
        cutting = self.cutting
        source = reel.video.source
        work = isolated(
            "cut", source, cut_reel, reel, cutting, limits=cutting.limits, lost=lambda: tuple(left)
        )
        for outcome in metered("cut", _believed(work, reel, cutting, left)):
            if isinstance(outcome, Failure):
                lost = [left.pop(id) for id in outcome.lost_shots if id in left]
                count("shots failed", len(outcome.lost_shots))
                yield TaggedOutput(FAILURES, of_video(outcome, reel.video, lost))
            else:
                shot = left.pop(outcome.id)
                span = outcome.shot.span
                LOG.info(
                    "cut %s: %s from %g to %g s",
                    outcome.id,
                    outcome.video.name,
                    span.start,
                    span.end,
                )
                count("clips cut")
                count("frames encoded", frames_encoded(outcome.file))
                count("cut/bytes", outcome.file.num_bytes if outcome.file else 0)
                count("milliseconds cut", int(1000 * shot.span.length))
                yield outcome
