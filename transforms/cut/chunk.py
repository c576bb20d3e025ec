"""One chunk: its planned clips become clips that exist as files, staged but not yet published.

Done in a child process, which imports no Beam.
"""

import dataclasses
from collections.abc import Iterator

from finecut.io.media.codecs import SOFTWARE, Encoding
from finecut.io.media.cutting import CutClip, Recipe
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.remux.copying import ENCODE, transcode
from finecut.io.process.children import ChildLimits
from finecut.io.records import Clip, ClipFile, Failure, PlannedChunk, PlannedClip, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.caption.windows import windows_of
from finecut.transforms.measure.looking import ClipLook, Looking, keep_sheet

DEFAULT_ENCODING = Encoding()
LOOK_AT_NOTHING = Looking()


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How films are decoded, how clips are encoded, and where they are staged."""

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
    decoder: str = SOFTWARE

    def encoding_for(self, video: Video) -> Encoding:
        if not self.use_input_bit_rate:
            return self.encoding
        return dataclasses.replace(self.encoding, bit_rate=video.bit_rate_k * 1024)


#: Seconds of clips after which it is told how far a chunk is: a clip of a large picture is minutes
#: of work, and many chunks may be cut at once.
TELLS = 0.5

#: Name of the rule that rejects a span in which the film shows nothing new.
NO_FRAMES = "no_frames"


class LostShot(Exception):
    """A planned clip that could not become a clip although its chunk could be read."""


def cut_chunk(planned: PlannedChunk, cutting: Cutting) -> Iterator[Clip | Failure]:
    """The clips of a chunk, each as soon as its file is complete."""
    for outcome in cut_telling(planned, cutting, 0.0):
        if not isinstance(outcome, bytes):
            yield outcome


def cut_telling(
    planned: PlannedChunk, cutting: Cutting, tells: float = TELLS
) -> Iterator[Clip | Failure | bytes]:
    """The same, and in between how many more seconds of clips are made, as text in bytes."""
    if not planned.clips:
        return
    video, looking = planned.video, cutting.looking
    looks: dict[str, ClipLook] = {}

    def look(clip: PlannedClip, file: ClipFile | None = None) -> ClipLook:
        wanted = looking.expected(video, clip) if file is None else looking.wanted_in(clip, file)
        looks[clip.id] = ClipLook(looking, wanted)
        return looks[clip.id]

    with cutting.shelf.bench() as folder, shelf.open_source(video.source.uri) as source:
        recipe = Recipe(
            folder,
            cutting.encoding_for(video),
            mode=cutting.transcode,
            observer=look if looking.wanted else None,
            sampler=look if looking.wanted else None,
            vectors=looking.vectors,
            limits=cutting.film,
            decoder=cutting.decoder,
            tells=tells,
        )
        for result in transcode(source, video, planned.clips, recipe):
            if result.made:
                yield str(result.made).encode()
            else:
                yield _clip_of(planned, result, looks.pop(result.planned.id, None), cutting)


def _clip_of(
    planned: PlannedChunk, result: CutClip, look: ClipLook | None, cutting: Cutting
) -> Clip | Failure:
    clip = Clip(video=planned.video, chunk=planned.chunk, planned=result.planned, file=result.file)
    if result.empty is not None:
        return clip.replace(rejected_by=NO_FRAMES, errors={"frames": result.empty})
    if result.path is None:
        return Failure(
            step="cut",
            source=planned.video.source,
            error=LostShot.__name__,
            message=result.error or "no file was made",
            lost_shots=(result.planned.id,),
        )
    assert result.file is not None
    errors = {"decode": result.damage, "look": result.unseen}
    clip = clip.replace(
        staged=cutting.shelf.stage(result.path),
        windows=windows_of(result.file.num_frames, cutting.looking.windowing),
        errors={name: error for name, error in errors.items() if error is not None},
    )
    if look is None or result.unseen is not None:
        return clip
    if look.sheet is not None:
        keep_sheet(clip.id, look.sheet, cutting.looking)
    return clip.replace(scores=look.scores)
