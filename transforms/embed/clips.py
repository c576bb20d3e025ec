"""Embedding: each kept clip gets a vector, of frames spread evenly over the whole of it.

    clip    ▕▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▏
    frames    ▪   ▪   ▪   ▪   ▪   ▪   ▪   ▪     the middles of eight equal parts

A clip that cannot be embedded (no frames, a model that breaks down or answers no numbers) keeps its
place and says so among its errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from finecut.io.layout import Layout, embedding_folder
from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.records import Clip, Failure, ModelUsed
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, timed
from finecut.transforms.caption.asking import Asked, Question, Trouble, Vector, in_trouble
from finecut.transforms.embed.one_model import refuse_other_vectors, vector_key
from finecut.transforms.measure.looking import Looking, even_moments, seconds_of, sheet_of
from finecut.transforms.work import ModelWork

STEP = "embedding"


@dataclass(frozen=True, kw_only=True)
class Embedding(ModelWork):
    """One embedder: what its vectors are called, how it is loaded, and what it is shown."""

    #: What its vectors are called.
    model: str
    looking: Looking
    #: Frames of a clip, and their shorter side.
    frames: int
    side: int

    name = STEP

    @property
    def described(self) -> str:
        return f"embeds {self.frames} frames of each clip, into {embedding_folder(self.model)}/"

    def check_output(self, layout: Layout) -> None:
        """Vectors of two models do not go into one folder."""
        refuse_other_vectors(layout, self.model, self.require())

    def run(self, clips: Sequence[Clip], asked: Asked) -> list[Clip]:
        """The clips in their order, with vectors; rejected ones are not looked at."""
        outcomes: dict[str, Clip] = {clip.id: clip for clip in clips}
        questions: list[Question] = []
        with timed(STEP, sum(_is_asked(clip) for clip in clips)):
            for clip in filter(_is_asked, clips):
                asks = partial(_question, clip, self)
                for outcome in guarded(STEP, clip.video.source, asks, weather=self.weather):
                    if isinstance(outcome, Failure):
                        outcomes[clip.id] = in_trouble(clip, STEP, outcome)
                    else:
                        questions.append(outcome)
            used = asked.which()
            for answer in asked.answers(questions):
                clip = outcomes[answer.id]
                if isinstance(answer, Vector):
                    outcomes[clip.id] = _with_vector(clip, answer, self.model, used)
                elif isinstance(answer, Trouble):
                    outcomes[clip.id] = in_trouble(clip, STEP, answer)
        return [outcomes[clip.id] for clip in clips]

    def num_bytes(self, clips: Sequence[Clip]) -> int:
        """Of the frames it is shown."""
        form = SheetForm((), side=self.side)
        sizes = [form.size(clip.video.width, clip.video.height) for clip in clips]
        return sum(3 * width * height * self.frames for width, height in sizes)


def _is_asked(clip: Clip) -> bool:
    return clip.kept and clip.file is not None


def _question(clip: Clip, embedding: Embedding) -> Iterator[Question]:
    sheet = sheet_of(clip, embedding.looking)
    seconds = seconds_of(clip.planned, clip.file)
    places = sheet.near(even_moments(embedding.frames, seconds))
    frames = tuple(sheet.pictures(places, embedding.side))
    yield Question(clip.id, frames, embedding.frames / max(seconds, 1e-3))


def _with_vector(clip: Clip, answer: Vector, algorithm: str, used: ModelUsed) -> Clip:
    numbers = answer.numbers.astype("float32")
    model = ModelUsed(used.name, used.revision, numbers.size)
    count("clips embedded")
    return clip.replace(
        vectors={**clip.vectors, algorithm: tuple(numbers.tolist())},
        models={**clip.models, vector_key(algorithm): model},
    )
