"""Vectors of clips, by any picture or video encoder that ``transformers`` knows by itself.

::

    a video model      the frames it was made for ─▶ one vector
    a picture model    8 frames ─▶ a vector each ─▶ each to length 1 ─▶ their mean

Which one it is, how many frames it wants and how long its vectors are is read from ``config.json``;
how frames have to look, from ``preprocessor_config.json``. Nothing of it is guessed: a model of
another kind is refused, and so is a folder that does not say how frames have to look.

The vectors of a picture model's frames are brought to length 1 before they are averaged, so that
every frame counts the same: the length of such a vector has no meaning to models that are compared
by angle, and differs between frames. Their mean stays as it is. Its length then says how alike the
frames are, 1 if they are the same, and comparing by angle divides by it anyway. Video models that
answer with a vector for each patch get the mean over all of them, and those with a vector for the
whole are taken at their word.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, Self

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Question, Vector
from finecut.transforms.models.embedders.kinds import (
    PURPOSE,
    Kind,
    Preparation,
    kind_of,
    preparation_of,
)
from finecut.transforms.models.loading import FILES, Tensor, load_model, quiet, small_files, unfit
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    described,
    first_line,
    locate,
    needed,
)

#: Clips, and frames, that go through a model together on a GPU.
CLIPS, FRAMES = 64, 512
#: Frames of a clip that a picture model is shown.
PICTURES = 8


class Embedder(ABC):
    """Turns the frames of a clip into one vector."""

    def __init__(
        self, model: Any, used: ModelUsed, frames: int, side: int, exactly: bool = True
    ) -> None:
        self._model, self._exactly = model, exactly
        self.used = used
        #: How many frames of a clip it wants, and how long their shorter side is.
        self.frames, self.side = frames, side
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        pixels = max(1, min(CLIPS, FRAMES // frames)) * frames * side**2 * 16 // 9
        self.at_once = pixels if first.device.type == "cuda" else 0

    def answer(self, questions: Sequence[Question]) -> list[Vector]:
        """A vector for each question."""
        import torch

        for count in (len(question.frames) for question in questions):
            if count != self.frames if self._exactly else not count:
                raise ValueError(
                    f"{self.used.name} got {count} frames but needs {self.frames}. Give it frames "
                    "spread evenly over the clip, and repeat some if there are fewer."
                )
        with torch.inference_mode():
            rows = self._rows(questions).float().cpu().numpy()
        return [Vector(q.id, row) for q, row in zip(questions, rows, strict=True)]

    @abstractmethod
    def _rows(self, questions: Sequence[Question]) -> Tensor:
        """One row of numbers for each clip."""


class Encoder(NamedTuple):
    """What is known of a model before it is loaded."""

    found: Located
    used: ModelUsed
    kind: Kind
    frames: int
    preparation: Preparation


def frames_and_side(name: str, model_dir: str | None = None) -> tuple[int, int]:
    """How many frames a model wants and how long their shorter side is; no weights are fetched."""
    files = described(name, model_dir, FILES)
    kind = kind_of(files[CONFIG], name)
    return _frames(files[CONFIG], kind), preparation_of(files, kind, name).side


def require_encoder_model(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False
) -> ModelUsed:
    """Raise what :meth:`FrameEncoder.load` would for lack of something, without loading it."""
    return _known(name, model_dir, trust_remote_code).used


def _known(name: str, model_dir: str | None, trust_remote_code: bool) -> Encoder:
    needed("torch", PURPOSE)
    transformers = needed("transformers", PURPOSE)
    found = locate(name, model_dir)
    files = small_files(found.path)
    kind = kind_of(files[CONFIG], found.name, trust_remote_code)
    preparation = preparation_of(files, kind, found.name)
    if not hasattr(transformers, kind.model):
        raise WeightsMissing(
            f"the model {found.name!r} is of the kind {kind.name!r}, which transformers "
            f"{transformers.__version__} does not support: run `pip install -U transformers`."
        )
    width = _at(_whole_config(files[CONFIG], found, kind), kind.width)
    return Encoder(
        found,
        used=ModelUsed(found.name, found.revision, width),
        kind=kind,
        frames=_frames(files[CONFIG], kind),
        preparation=preparation,
    )


class FrameEncoder(Embedder):
    """An encoder of transformers."""

    def __init__(self, model: Any, encoder: Encoder) -> None:
        self._kind, self._preparation = encoder.kind, encoder.preparation
        side, exactly = self._preparation.side, bool(self._kind.frames)
        super().__init__(model, encoder.used, encoder.frames, side, exactly=exactly)

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> Self:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device."""
        encoder = _known(name, model_dir, trust_remote_code)
        kind = getattr(needed("transformers", PURPOSE), encoder.kind.model)
        return cls(load_model(kind, encoder.found, device, without="text_model"), encoder)

    def _rows(self, questions: Sequence[Question]) -> Tensor:
        """Of a picture model all frames of all clips at once, and the mean over those of each."""
        import torch

        if self._kind.frames:
            pixels = torch.stack([self._preparation.pixels(q.frames) for q in questions])
            return self._vectors({self._kind.pixels: pixels})
        frames = [frame for question in questions for frame in question.frames]
        given = self._preparation.given(frames, self._kind.pixels)
        rows = torch.nn.functional.normalize(self._vectors(given).float(), dim=-1)
        counts = [len(question.frames) for question in questions]
        return torch.stack([part.mean(0) for part in rows.split(counts)])

    def _vectors(self, given: Mapping[str, Tensor]) -> Tensor:
        """One row of numbers for each picture or video."""
        # What is whole numbers (masks, shapes) stays so.
        given = {
            key: value.to(self._device, self._dtype if value.is_floating_point() else None)
            for key, value in given.items()
        }
        answer = getattr(self._model, self._kind.method or "forward")(**given)
        places = ("image_embeds", "pooler_output", "last_hidden_state")
        found = (getattr(answer, place, None) for place in places)
        rows = next((rows for rows in found if rows is not None), answer)
        # A row for each patch, where nothing speaks for the whole.
        return rows.mean(1) if rows.ndim == 3 else rows


def _whole_config(config: Mapping[str, Any], found: Located, kind: Kind) -> Any:
    """The configuration with all that goes without saying in the file."""
    automatic = needed("transformers", PURPOSE).AutoConfig
    errors = needed("huggingface_hub.errors", PURPOSE)
    given = {name: value for name, value in config.items() if name != "model_type"}
    try:
        with quiet():
            return automatic.for_model(kind.name, **given)
    except (ValueError, TypeError, errors.StrictDataclassError) as error:
        raise unfit(found.path, f"its {CONFIG} is invalid ({first_line(error)})") from error


def _at(config: Any, path: Sequence[str]) -> int:
    return int(reduce(getattr, path, config))


def _frames(config: Mapping[str, Any], kind: Kind) -> int:
    """How many frames of a clip a model wants."""
    if not kind.frames:
        return PICTURES
    value: Any = config
    for name in kind.frames:
        value = value.get(name) if isinstance(value, dict) else None
    if value is not None:
        return int(value)
    # Written nowhere, because it is as usual.
    return _at(needed("transformers", PURPOSE).AutoConfig.for_model(kind.name), kind.frames)
