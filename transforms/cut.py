"""Cutting: a reel of shots becomes clips that exist as files, staged but not yet published."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io import shelf
from finecut.io.child import ChildLimits
from finecut.io.film.copying import ENCODE, ENCODED, transcode
from finecut.io.film.cutting import CutShot
from finecut.io.film.encoders import Encoding, require_encoder
from finecut.io.film.limits import USUAL_LIMITS, Limits
from finecut.io.film.memory import prepare_process
from finecut.io.records import Clip, ClipFile, Failure, Reel, Shot, Video
from finecut.io.shelf import Shelf
from finecut.transforms.guard import FAILURES, guarded
from finecut.transforms.isolated import isolated
from finecut.transforms.looking import ClipLook, Looking, keep_sheet
from finecut.transforms.tally import LOG, count, metered
from finecut.transforms.windows import windows_of

DEFAULT_ENCODING = Encoding()
LOOK_AT_NOTHING = Looking()


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How clips are encoded and where they are staged."""

    shelf: Shelf
    encoding: Encoding = DEFAULT_ENCODING
    #: Give each clip the bit rate of its source.
    use_input_bit_rate: bool = False
    looking: Looking = LOOK_AT_NOTHING
    #: What a film may ask for.
    film: Limits = USUAL_LIMITS
    #: Cut in a child process, which may take so much; ``None``: in this one.
    limits: ChildLimits | None = None
    #: Whether clips are encoded, copied, or copied but for their ends.
    transcode: str = ENCODE

    def encoding_for(self, video: Video) -> Encoding:
        if not self.use_input_bit_rate:
            return self.encoding
        return dataclasses.replace(self.encoding, bit_rate=video.bit_rate_k * 1024)


#: Name of the rule that rejects a span in which the film shows nothing new.
NO_FRAMES = "no_frames"


class Imposture(Exception):
    """A child process said what cannot be: the film may have taken it over."""


class LostShot(Exception):
    """A shot that could not become a clip although its reel could be read."""


def cut_reel(reel: Reel, cutting: Cutting) -> Iterator[Clip | Failure]:
    """The clips of a reel, each as soon as its file is complete."""
    if not reel.shots:
        return
    video, looking = reel.video, cutting.looking
    looks: dict[str, ClipLook] = {}

    def look_at(shot: Shot) -> ClipLook:
        looks[shot.id] = ClipLook(looking, looking.expected(video, shot))
        return looks[shot.id]

    def glance_at(shot: Shot, file: ClipFile) -> ClipLook:
        looks[shot.id] = ClipLook(looking, looking.wanted_in(shot, file))
        return looks[shot.id]

    with cutting.shelf.bench() as folder, shelf.open_source(video.source.uri) as source:
        results = transcode(
            cutting.transcode,
            source,
            video,
            reel.shots,
            cutting.encoding_for(video),
            folder,
            onlooker=look_at if looking.wanted else None,
            glancer=glance_at if looking.wanted else None,
            vectors=looking.motion is not None,
            limits=cutting.film,
        )
        for result in results:
            yield _clip_of(reel, result, looks.pop(result.shot.id, None), cutting)


def _clip_of(
    reel: Reel, result: CutShot, look: ClipLook | None, cutting: Cutting
) -> Clip | Failure:
    clip = Clip(video=reel.video, chunk=reel.chunk, shot=result.shot, file=result.file)
    if result.empty is not None:
        return clip.replace(rejected_by=NO_FRAMES, errors={"frames": result.empty})
    if result.path is None:
        return Failure(
            step="cut",
            source=reel.video.source,
            error=LostShot.__name__,
            message=result.error or "no file was made",
            lost_shots=(result.shot.id,),
        )
    assert result.file is not None
    errors = {"decode": result.damage, "look": result.unseen}
    clip = clip.replace(
        staged=cutting.shelf.stage(result.path),
        windows=windows_of(result.file.num_frames, cutting.looking.windowing),
        errors={name: said for name, said in errors.items() if said is not None},
    )
    if look is None or result.unseen is not None:
        return clip
    if look.sheet is not None:
        keep_sheet(clip.id, look.sheet, cutting.looking)
    return clip.replace(scores=look.scores)


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
        prepare_process()

    def process(self, reel: Reel) -> Iterable[Clip | TaggedOutput[Literal["failures"], Failure]]:
        left = {shot.id: shot for shot in reel.shots}
        cutting = self.cutting
        source = reel.video.source
        work = isolated(
            "cut", source, cut_reel, reel, cutting, limits=cutting.limits, lost=lambda: tuple(left)
        )
        for outcome in metered("cut", _believed(work, reel, cutting, left)):
            if isinstance(outcome, Failure):
                for lost in outcome.lost_shots:
                    left.pop(lost, None)
                count("shots failed", len(outcome.lost_shots))
                yield TaggedOutput(FAILURES, outcome)
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
