"""Vectors of clips, by any picture or video encoder that ``transformers`` knows by itself.

::

    a video model      the frames it was made for ─▶ one vector
    a picture model    8 frames ─▶ a vector each ─▶ each to length 1 ─▶ their mean

Which one it is, how many frames it wants and how long its vectors are is read from ``config.json``;
how frames have to look, from ``preprocessor_config.json``. Nothing of it is guessed: a model of
another kind is refused, and so is a folder that does not say how frames have to look.

The vectors of a picture model's frames are brought to length 1 before they are averaged, so that
every frame has the same say: the length of such a vector has no meaning to models that are compared
by angle, and differs between frames. Their mean stays as it is. Its length then says how alike the
frames are, 1 if they are the same, and whoever compares by angle divides by it anyway. Video models
that answer with a vector for each patch get the mean over all of them, and those with a vector for
the whole are taken at their word.

Frames are prepared by Pillow, as the models' own processors do where torchvision is not installed;
finecut does without it. Processors that only exist for torchvision differ from that by the rounding
of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Frame, Question, Vector
from finecut.transforms.models.devices import device_of, dtype_of
from finecut.transforms.models.quiet import quiet
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    described,
    first_line,
    locate,
    needed,
    read_json,
)

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "pip install 'finecut[models]'"
PURPOSE = "turn clips into vectors"

#: Frames of a clip that a picture model is shown.
PICTURES = 8
#: Clips, and frames, that go through a model together on a GPU.
CLIPS, FRAMES = 64, 512

#: Where a folder says how frames have to look; the first one that is there counts.
SETTINGS = ("video_preprocessor_config.json", "preprocessor_config.json")
#: Newer folders have one file for all, with a part for each.
TOGETHER, PARTS = "processor_config.json", ("video_processor", "image_processor")

#: Pillow's numbers for its filters, which are also those of the settings.
BILINEAR, BICUBIC = 2, 3
RESAMPLES = range(6)

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NET_MEAN, NET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


# ── what models there are ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Kind:
    """What models of one ``model_type`` have in common."""

    #: The class in ``transformers``.
    model: str
    #: Where the configuration says how long vectors are.
    width: tuple[str, ...]
    #: The method that is asked; the model itself is called without one.
    method: str = ""
    #: Where the configuration says how many frames are wanted; nowhere for picture models.
    frames: tuple[str, ...] = ()
    pixels: str = "pixel_values"
    #: What the kind's own processor does where its settings say nothing.
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: int = BICUBIC
    crops: bool = True
    #: One number as size is the shorter side, and not both.
    shorter: bool = True
    #: Cuts frames into patches, keeping their shape, instead of bringing them to one size.
    patches: bool = False


_CLIP = Kind("CLIPModel", ("projection_dim",), "get_image_features")
_SIGLIP = Kind(
    "SiglipModel",
    ("vision_config", "hidden_size"),
    "get_image_features",
    mean=HALF,
    std=HALF,
    crops=False,
    shorter=False,
)
_DINO = Kind("Dinov2Model", ("hidden_size",), mean=NET_MEAN, std=NET_STD)


def _like(kind: Kind, **changes: Any) -> Kind:
    return Kind(**{**vars(kind), **changes})


#: ``model_type`` of a configuration → how such models are asked.
KINDS: Mapping[str, Kind] = {
    "clip": _CLIP,
    "clip_vision_model": _like(_CLIP, model="CLIPVisionModelWithProjection", method=""),
    "metaclip_2": _like(_CLIP, model="MetaClip2Model"),
    "siglip": _SIGLIP,
    "siglip_vision_model": _like(
        _SIGLIP, model="SiglipVisionModel", method="", width=("hidden_size",)
    ),
    "siglip2": _like(_SIGLIP, model="Siglip2Model", resample=BILINEAR, patches=True),
    "dinov2": _DINO,
    "dinov2_with_registers": _like(_DINO, model="Dinov2WithRegistersModel"),
    "dinov3_vit": _like(
        _DINO, model="DINOv3ViTModel", resample=BILINEAR, crops=False, shorter=False
    ),
    "xclip": Kind(
        "XCLIPModel", ("projection_dim",), "get_video_features", ("vision_config", "num_frames")
    ),
    "videomae": Kind(
        "VideoMAEModel",
        ("hidden_size",),
        frames=("num_frames",),
        mean=NET_MEAN,
        std=NET_STD,
        resample=BILINEAR,
    ),
    "vjepa2": Kind(
        "VJEPA2Model",
        ("hidden_size",),
        "get_vision_features",
        ("frames_per_clip",),
        "pixel_values_videos",
        mean=NET_MEAN,
        std=NET_STD,
        resample=BILINEAR,
    ),
}
#: V-JEPA 2's frames are this much larger than what is cut out of them, whatever their settings say.
_VJEPA_MARGIN = 256 / 224


def frames_and_side(name: str, model_dir: str | None = None) -> tuple[int, int]:
    """How many frames a model wants and how long their shorter side is; no weights are fetched."""
    said = described(name, model_dir, (CONFIG, *SETTINGS, TOGETHER))
    kind_name, kind = _kind_of(said[CONFIG], name, trust_remote_code=False)
    return _frames(said[CONFIG], kind_name, kind), _look(said, kind_name, kind, name).side


def require_encoder_model(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False
) -> ModelUsed:
    """Raise what :meth:`FrameEncoder.load` would for lack of something, without loading it."""
    needed("torch", INSTALL, PURPOSE)
    needed("PIL.Image", "pip install pillow", PURPOSE)
    transformers = needed("transformers", INSTALL, PURPOSE)
    located = locate(name, model_dir)
    said = _said(located)
    kind_name, kind = _kind_of(said[CONFIG], located.name, trust_remote_code)
    _look(said, kind_name, kind, located.name)
    if not hasattr(transformers, kind.model):
        raise WeightsMissing(
            f"the model {located.name!r} is of the kind {kind_name!r}, which transformers "
            f"{transformers.__version__} does not have: run `pip install -U transformers`."
        )
    config = _whole_config(located, kind_name)
    return ModelUsed(located.name, located.revision, _at(config, kind.width))


class FrameEncoder:
    """Turns the frames of a clip into one vector."""

    def __init__(self, model: Any, kind: Kind, look: Look, frames: int, used: ModelUsed) -> None:
        self._model = model
        self._kind = kind
        self._look = look
        #: How many frames of a clip it wants, and how long their shorter side is.
        self.frames, self.side = frames, look.side
        self.used = used
        clips = max(1, min(CLIPS, FRAMES // frames))
        on_gpu = model.device.type == "cuda"
        self.at_once = clips * frames * self.side**2 * 16 // 9 if on_gpu else 0

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> FrameEncoder:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device."""
        used = require_encoder_model(name, model_dir, trust_remote_code)
        located = locate(name, model_dir)
        said = _said(located)
        kind_name, kind = _kind_of(said[CONFIG], located.name, trust_remote_code)
        device = device_of(device)
        model = _loaded(located, kind, dtype_of(device)).to(device).eval()
        look = _look(said, kind_name, kind, located.name)
        return cls(model, kind, look, _frames(said[CONFIG], kind_name, kind), used)

    def answer(self, questions: Sequence[Question]) -> list[Vector]:
        """A vector for each question."""
        torch = needed("torch", INSTALL, PURPOSE)
        for question in questions:
            self._check(question)
        with torch.inference_mode():
            rows = self._videos(questions) if self._kind.frames else self._pictures(questions)
            rows = rows.float().cpu().numpy()
        return [Vector(q.id, row) for q, row in zip(questions, rows, strict=True)]

    def _check(self, question: Question) -> None:
        count = len(question.frames)
        if count == 0 or (self._kind.frames and count != self.frames):
            raise ValueError(
                f"{self.used.name} was asked about {count} frames and wants {self.frames}. Give "
                "it frames spread evenly over the clip, some of them twice if there are fewer."
            )

    def _videos(self, questions: Sequence[Question]) -> Any:
        torch = needed("torch", INSTALL, PURPOSE)
        pixels = torch.stack([self._look.pixels(q.frames) for q in questions])
        return self._asked({self._kind.pixels: pixels})

    def _pictures(self, questions: Sequence[Question]) -> Any:
        """All frames of all clips at once, and the mean over those of each."""
        torch = needed("torch", INSTALL, PURPOSE)
        frames = [frame for question in questions for frame in question.frames]
        given = self._look.given(frames, self._kind.pixels)
        rows = torch.nn.functional.normalize(self._asked(given).float(), dim=-1)
        counts = [len(question.frames) for question in questions]
        return torch.stack([part.mean(0) for part in rows.split(counts)])

    def _asked(self, given: Mapping[str, Tensor]) -> Any:
        """One row of numbers for each picture or video."""
        model = self._model
        # What is whole numbers (masks, shapes) stays so.
        given = {
            key: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for key, value in given.items()
        }
        answer = getattr(model, self._kind.method or "forward")(**given)
        for name in ("image_embeds", "pooler_output", "last_hidden_state"):
            found = getattr(answer, name, None)
            if found is not None:
                answer = found
                break
        # A row for each patch, where nothing speaks for the whole.
        return answer.mean(1) if answer.ndim == 3 else answer


# ── what a folder says ───────────────────────────────────────────────────────────────────────────


def _said(located: Located) -> dict[str, Any]:
    files = (CONFIG, *SETTINGS, TOGETHER)
    return {
        file: read_json(located.path / file) for file in files if (located.path / file).is_file()
    }


def _kind_of(config: Any, name: str, trust_remote_code: bool) -> tuple[str, Kind]:
    kind_name = config.get("model_type") if isinstance(config, dict) else None
    if isinstance(kind_name, str) and kind_name in KINDS:
        return kind_name, KINDS[kind_name]
    own = ""
    if isinstance(config, dict) and "auto_map" in config:
        own = " It brings Python code of its own, and a way to ask such models is only known for "
        own += "cosmos-embed1-224p (336p, 448p) and internvideo2"
        own += ", also with --trust-remote-code." if trust_remote_code else "."
    raise WeightsMissing(
        f"the model {name!r} calls itself {kind_name!r}, and no way is known to have vectors of "
        f"clips from that.{own} Give --embedding-algorithm a model of one of these kinds: "
        f"{', '.join(KINDS)}."
    )


def _whole_config(located: Located, kind_name: str) -> Any:
    """The configuration with all that goes without saying in the file."""
    transformers = needed("transformers", INSTALL, PURPOSE)
    errors = needed("huggingface_hub.errors", INSTALL, PURPOSE)
    said = read_json(located.path / CONFIG)
    try:
        with quiet():
            return transformers.AutoConfig.for_model(kind_name, **_without(said, "model_type"))
    except (ValueError, TypeError, errors.StrictDataclassError) as error:
        raise _unfit(located.path, f"its {CONFIG} is none ({first_line(error)})") from error


def _without(said: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name != key}


def _at(config: Any, path: Sequence[str]) -> int:
    for name in path:
        config = getattr(config, name)
    return int(config)


def _frames(said: Mapping[str, Any], kind_name: str, kind: Kind) -> int:
    """How many frames of a clip a model wants."""
    if not kind.frames:
        return PICTURES
    value: Any = said
    for name in kind.frames:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:  # written nowhere, because it is as usual
        transformers = needed("transformers", INSTALL, PURPOSE)
        value = _at(transformers.AutoConfig.for_model(kind_name), kind.frames)
    return int(value)


# ── how frames have to look ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Look:
    """How one model wants to see frames."""

    #: The shorter side, or height and width.
    size: int | tuple[int, int]
    #: Height and width of what is cut out of the middle.
    crop: tuple[int, int] | None
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int
    #: The processor that cuts frames into patches, for models that want them so.
    patcher: Any = None

    @property
    def side(self) -> int:
        """How long the shorter side of frames has to be, so that none has to be made larger."""
        return self.size if isinstance(self.size, int) else min(self.size)

    def given(self, frames: Sequence[Frame], name: str) -> dict[str, Tensor]:
        """Pictures as the model takes them."""
        if self.patcher is None:
            return {name: self.pixels(frames)}
        return dict(self.patcher(images=list(frames), return_tensors="pt"))

    def pixels(self, frames: Sequence[Frame]) -> Tensor:
        """Frames of one size: (frames, 3, height, width)."""
        torch = needed("torch", INSTALL, PURPOSE)
        return torch.from_numpy(np.stack([self.prepared(frame) for frame in frames]))

    def prepared(self, frame: Frame) -> NDArray[np.float32]:
        """One frame: made smaller, cut, from 0 to 1, normalised."""
        image = needed("PIL.Image", "pip install pillow", PURPOSE)
        height, width = frame.shape[:2]
        rows, columns = self._resized(height, width)
        picture = image.fromarray(np.ascontiguousarray(frame))
        pixels = np.asarray(picture.resize((columns, rows), self.resample), np.float32)
        if self.crop is not None:
            top, left = (rows - self.crop[0]) // 2, (columns - self.crop[1]) // 2
            pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        pixels = pixels * np.float32(self.factor)
        pixels -= np.array(self.mean, np.float32)
        pixels /= np.array(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)


def _look(said: Mapping[str, Any], kind_name: str, kind: Kind, name: str) -> Look:
    """How a model wants to see frames, by the files of its folder."""
    settings = _settings(said, name)
    try:
        if kind.patches:
            return _patches(settings, kind)
        crop = _both(settings.get("crop_size", 224)) if _crops(settings, kind) else None
        size = _size(settings.get("size", 224), kind)
        if kind_name == "vjepa2":
            crop = _both(settings.get("crop_size", 256))
            size = int(crop[0] * _VJEPA_MARGIN)
        look = Look(
            size,
            crop,
            float(settings.get("rescale_factor", 1 / 255)) if _does(settings, "rescale") else 1.0,
            *_normal(settings, kind),
            int(settings.get("resample", kind.resample)),
        )
        _check(look)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsMissing(
            f"the model {name!r} says how frames have to look in a way that is not understood "
            f"({first_line(error)}). Its preprocessor_config.json needs a size of the form "
            '{"shortest_edge": 224} or {"height": 224, "width": 224}.'
        ) from error
    smallest = (look.side, look.side) if isinstance(look.size, int) else look.size
    if look.crop is not None and (look.crop[0] > smallest[0] or look.crop[1] > smallest[1]):
        raise WeightsMissing(
            f"the model {name!r} wants {look.crop[1]} × {look.crop[0]} cut out of frames that are "
            f"{smallest[1]} × {smallest[0]}. Usually its preprocessor_config.json is another "
            "model's; fetch the folder again as a whole."
        )
    return look


def _settings(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = next((said[file] for file in SETTINGS if file in said), None)
    together = said.get(TOGETHER)
    if found is None and isinstance(together, dict):
        found = next((together[part] for part in PARTS if part in together), None)
    if not isinstance(found, dict):
        raise WeightsMissing(
            f"the model {name!r} does not say how frames have to look: {SETTINGS[1]} is not in its "
            "folder, or says nothing. Usually only the weights were downloaded or copied; fetch "
            "the folder again as a whole."
        )
    return found


def _does(settings: Mapping[str, Any], what: str, usual: bool = True) -> bool:
    value = settings.get(f"do_{what}")
    return usual if value is None else bool(value)


def _crops(settings: Mapping[str, Any], kind: Kind) -> bool:
    return _does(settings, "center_crop", kind.crops)


def _normal(settings: Mapping[str, Any], kind: Kind) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not _does(settings, "normalize"):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean = settings.get("image_mean") or kind.mean
    std = settings.get("image_std") or kind.std
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def _check(look: Look) -> None:
    """Refuse what no frame can be made to look like."""
    lengths = (*((look.size,) if isinstance(look.size, int) else look.size), *(look.crop or ()))
    if min(lengths) < 1:
        raise ValueError(f"frames would be {min(lengths)} pixels long")
    if len(look.mean) != 3 or len(look.std) != 3 or not all(look.std):
        raise ValueError("image_mean and image_std are three numbers each, the latter not 0")
    if look.resample not in RESAMPLES:
        raise ValueError(f"resample={look.resample} is no way of scaling")


def _size(size: Any, kind: Kind) -> int | tuple[int, int]:
    if isinstance(size, int):
        return size if kind.shorter else (size, size)
    return int(size["shortest_edge"]) if "shortest_edge" in size else _both(size)


def _both(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])


def _patches(settings: Mapping[str, Any], kind: Kind) -> Look:
    """The look of a model that takes frames in their own shape, as a number of patches at most."""
    module = "transformers.models.siglip2.image_processing_pil_siglip2"
    known = ("patch_size", "max_num_patches", "image_mean", "image_std", "rescale_factor")
    said = {key: settings[key] for key in known if settings.get(key) is not None}
    patcher = needed(module, INSTALL, PURPOSE).Siglip2ImageProcessorPil(**said)
    side = int(patcher.patch_size * patcher.max_num_patches**0.5)
    return Look(side, None, 1 / 255, kind.mean, kind.std, kind.resample, patcher)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────


def _loaded(located: Located, kind: Kind, dtype: Any) -> Any:
    """The model in the given type; a tower for text is let go."""
    transformers = needed("transformers", INSTALL, PURPOSE)
    with quiet():
        try:
            model, said = getattr(transformers, kind.model).from_pretrained(
                located.path,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except RuntimeError as error:  # of other shapes than the config says
            raise _unfit(located.path, str(error).strip().splitlines()[-1]) from error
    if said["missing_keys"]:
        missing = sorted(said["missing_keys"])
        raise _unfit(located.path, f"{len(missing)} tensors are missing, {missing[0]} for one")
    if hasattr(model, "text_model"):
        del model.text_model
    return model


def _unfit(folder: Path, what: str) -> WeightsMissing:
    return WeightsMissing(
        f"the weights in {folder} are not those that its config.json describes: {what}. Usually "
        "files of two models were mixed; fetch the folder again as a whole."
    )
