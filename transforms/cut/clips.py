"""Cutting: reels of shots become clips, each reel in a process that may crash (see ``reel.py``)."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.media.codecs.decoders import require_decoder
from finecut.io.media.codecs.encoders import require_encoder
from finecut.io.media.remux.copying import ENCODED
from finecut.io.records import Clip, ClipFile, Failure, Reel
from finecut.transforms.beam.evidence import of_video
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.cut.isolated import isolated
from finecut.transforms.cut.reel import Cutting, cut_reel


class Imposture(Exception):
    """A child process answered what cannot be: the film may have taken it over."""


def frames_encoded(file: ClipFile | None) -> int:
    """How many frames of a clip were encoded: usually all."""
    if file is None:
        return 0
    how = file.transcoded
    return file.num_frames if how is None or how.how == ENCODED else how.frames_encoded


def _known(outcome: Clip | Failure, reel: Reel, cutting: Cutting) -> Clip | Failure:
    """The same, if it is of this reel: a child that decodes foreign films is not trusted."""
    if isinstance(outcome, Failure):
        return outcome
    path = outcome.staged or f"{cutting.shelf.staging}/"
    if not path.startswith(f"{cutting.shelf.staging}/") or ".." in path.split("/"):
        raise Imposture(f"a clip claims to be staged at {outcome.staged!r}, outside of staging")
    shot = next((shot for shot in reel.shots if shot.id == outcome.id), None)
    if shot is None:
        raise Imposture(
            f"a clip {outcome.id!r} came back from a chunk that has no clip with this id"
        )
    return outcome.replace(video=reel.video, chunk=reel.chunk, shot=shot)


def _believed(
    work: Iterable[Clip | Failure], reel: Reel, cutting: Cutting, left: Iterable[str]
) -> Iterator[Clip | Failure]:
    checked = (_known(outcome, reel, cutting) for outcome in work)
    yield from guarded("cut", reel.video.source, lambda: checked, lambda: tuple(left))


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
        cut = partial(cut_reel, cutting=cutting)
        work = isolated("cut", source, cut, reel, limits=cutting.limits, lost=lambda: tuple(left))
        for outcome in metered("cut", _believed(work, reel, cutting, left)):
            if isinstance(outcome, Failure):
                lost = [left.pop(id) for id in outcome.lost_shots if id in left]
                count("shots failed", len(outcome.lost_shots))
                yield TaggedOutput(FAILURES, of_video(outcome, reel.video, lost))
            else:
                shot = left.pop(outcome.id)
                span = outcome.shot.span
                place = f"{outcome.video.name} from {span.start:g} to {span.end:g} s"
                LOG.info("cut %s: %s", outcome.id, place)
                count("clips cut")
                count("frames encoded", frames_encoded(outcome.file))
                count("cut/bytes", outcome.file.num_bytes if outcome.file else 0)
                count("milliseconds cut", int(1000 * shot.span.length))
                yield outcome
