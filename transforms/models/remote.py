"""Video encoders whose classes come with their weights, as Python files: run only if permitted.

::

    cosmos-embed1-224p              nvidia/Cosmos-Embed1-224p          8 frames   256 numbers
    cosmos-embed1-336p and -448p    nvidia/Cosmos-Embed1-336p, …       8 frames   768 numbers
    internvideo2                    OpenGVLab/InternVideo2-Stage2_6B   4 frames   512 numbers

They are used as they were published: Cosmos-Embed1 prepares its frames by its own processor;
InternVideo2 has none, and its frames are squeezed into 224 × 224 and normalised as in its
demonstration. Both answer with vectors that stand beside those of texts. Other members of
InternVideo2's family are published as weights without classes, or for other numbers of frames, and
are refused.

The classes are made by their own code, on the CPU, and then given their weights here, every tensor
of them or none. ``from_pretrained`` of transformers 5 makes classes whose tensors have no values
yet: code that was written before breaks on that, or silently loses what it computed beside its
weights. Safetensors are preferred to pickled weights, which are read as tensors and nothing else.
Of the functions that such code imports and transformers 5 has moved, each is put back where it is
looked for.

The code is transformers' to find and to import (from its cache of modules, with a folder for each
state of the files). What it raises comes through as it is. InternVideo2's reads a file by its path
within the repository, which is made whole here, and wants two things that are not in there: the
package ``flash_attn``, and ``bert-large-uncased`` in the cache of the hub.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Question, Vector
from finecut.transforms.models.devices import device_of, dtype_of
from finecut.transforms.models.encoders import BILINEAR, NET_MEAN, NET_STD, Look
from finecut.transforms.models.quiet import quiet
from finecut.transforms.models.weights.folders import (
    CONFIG,
    CodeRefused,
    Located,
    WeightsMissing,
    first_line,
    load_pickled,
    locate,
    named,
    needed,
    not_permitted,
    read_json,
    remote_code,
    weight_files,
)

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "pip install 'finecut[models]'"
PURPOSE = "turn clips into vectors"

#: The algorithms → the repositories they are published in.
REPOSITORIES: Mapping[str, str] = {
    "cosmos-embed1-224p": "nvidia/Cosmos-Embed1-224p",
    "cosmos-embed1-336p": "nvidia/Cosmos-Embed1-336p",
    "cosmos-embed1-448p": "nvidia/Cosmos-Embed1-448p",
    "internvideo2": "OpenGVLab/InternVideo2-Stage2_6B",
}
#: The algorithms → frames, and their shorter side.
SHOWN: Mapping[str, tuple[int, int]] = {
    "cosmos-embed1-224p": (8, 224),
    "cosmos-embed1-336p": (8, 336),
    "cosmos-embed1-448p": (8, 448),
    "internvideo2": (4, 224),
}
COSMOS, INTERNVIDEO = "cosmos-embed1-224p", "internvideo2"
#: The classes that each of the two brings.
CLASSES = ("AutoConfig", "AutoModel")
PROCESSOR = "AutoProcessor"

#: Clips that go through a model together on a GPU.
CLIPS = 64

#: What helps those who asked for no embedder, or for any.
INSTEAD = (
    "If you do not, give --embedding-algorithm efficientnet-lite0, which needs no such code; when "
    "no embedder is named, Cosmos-Embed1 is chosen wherever --model-dir holds it."
)

#: Where a folder may say which of its classes is which.
NAMING = (CONFIG, "processor_config.json", "preprocessor_config.json")
#: Tensors of the tower for texts, which videos do without.
WORDS = "text_"


def frames_and_side(algorithm: str) -> tuple[int, int]:
    """How many frames an algorithm wants, and how long their shorter side is."""
    return SHOWN[_parts(algorithm)[0]]


def require_remote(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False
) -> ModelUsed:
    """Raise what loading it would for lack of something, without loading it."""
    needed("torch", INSTALL, PURPOSE)
    located = _located(name, model_dir, trust_remote_code)
    config = _mapping(located)
    if _parts(name)[0] == INTERNVIDEO:
        needed("PIL.Image", "pip install pillow", PURPOSE)
        _check_frames(config, located)
        _check_imports(located, CLASSES)
    else:
        _check_imports(located, (*CLASSES, PROCESSOR))
    return ModelUsed(located.name, located.revision, _width(config))


class _Remote(ABC):
    """What both have in common: a model of somebody else's class, and what it is asked."""

    def __init__(self, model: Any, used: ModelUsed, frames: int, side: int) -> None:
        self._model = model
        self.used = used
        #: How many frames of a clip it wants, and how long their shorter side is.
        self.frames, self.side = frames, side
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        on_gpu = self._device.type == "cuda"
        self.at_once = CLIPS * frames * side**2 * 16 // 9 if on_gpu else 0

    def answer(self, questions: Sequence[Question]) -> list[Vector]:
        """A vector for each question."""
        torch = needed("torch", INSTALL, PURPOSE)
        for question in questions:
            if len(question.frames) != self.frames:
                raise ValueError(
                    f"{self.used.name} was asked about {len(question.frames)} frames and wants "
                    f"{self.frames}. Give it frames spread evenly over the clip, some of them "
                    "twice if there are fewer."
                )
        with torch.inference_mode():
            pixels = torch.cat([self._pixels(question) for question in questions])
            rows = self._rows(pixels.to(self._device, self._dtype))
            rows = rows.reshape(len(questions), -1).float().cpu().numpy()
        return [Vector(q.id, row) for q, row in zip(questions, rows, strict=True)]

    @abstractmethod
    def _pixels(self, question: Question) -> Tensor:
        """One clip as the model takes it: (1, frames, 3, height, width)."""

    @abstractmethod
    def _rows(self, pixels: Tensor) -> Tensor:
        """One row of numbers for each clip."""


class CosmosEmbed1(_Remote):
    """NVIDIA's Cosmos-Embed1: vectors of clips that stand beside those of texts."""

    def __init__(
        self, model: Any, processor: Any, used: ModelUsed, frames: int = 8, side: int = 224
    ) -> None:
        super().__init__(model, used, frames, side)
        self._processor = processor

    @classmethod
    def load(
        cls,
        name: str = COSMOS,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> CosmosEmbed1:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device."""
        used = require_remote(name, model_dir, trust_remote_code)
        located = _located(name, model_dir, trust_remote_code)
        frames, side = frames_and_side(name)
        with quiet():
            processor = _own_class(located, PROCESSOR).from_pretrained(
                located.path, local_files_only=True, trust_remote_code=True
            )
            model = _built(located, device)
        _check_asked(model, located, "get_video_embeddings")
        wanted = getattr(processor, "num_video_frames", frames)
        if wanted != frames:
            raise WeightsMissing(
                f"the processor in {located.path} wants {wanted} frames of a clip, and {name} is "
                f"shown {frames}. Usually another model's folder was named; the one that is known "
                f"here is {REPOSITORIES[_parts(name)[0]]}."
            )
        return cls(model, processor, used, frames, side)

    def _pixels(self, question: Question) -> Tensor:
        frames = np.stack(question.frames).transpose(0, 3, 1, 2)[None]
        videos: Tensor = self._processor(videos=np.ascontiguousarray(frames))["videos"]
        return videos

    def _rows(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self._model.get_video_embeddings(videos=pixels).visual_proj
        return rows


class InternVideo2(_Remote):
    """OpenGVLab's InternVideo2 of stage 2: vectors of clips that stand beside those of texts."""

    def __init__(self, model: Any, used: ModelUsed, frames: int = 4, side: int = 224) -> None:
        super().__init__(model, used, frames, side)
        self._look = Look((side, side), None, 1 / 255, NET_MEAN, NET_STD, BILINEAR)

    @classmethod
    def load(
        cls,
        name: str = INTERNVIDEO,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> InternVideo2:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device."""
        used = require_remote(name, model_dir, trust_remote_code)
        located = _located(name, model_dir, trust_remote_code)
        with quiet():
            model = _built(located, device)
        _check_asked(model, located, "get_vid_feat")
        return cls(model, used, *SHOWN[INTERNVIDEO])

    def _pixels(self, question: Question) -> Tensor:
        return self._look.pixels(question.frames)[None]

    def _rows(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self._model.get_vid_feat(pixels)
        return rows


# ── what a folder says ───────────────────────────────────────────────────────────────────────────


def _parts(name: str) -> tuple[str, str]:
    """The algorithm, and what its model is called, with the commit that was asked for."""
    plain, at, commit = name.partition("@")
    for algorithm, repository in REPOSITORIES.items():
        if plain in (algorithm, repository):
            return algorithm, f"{repository}{at}{commit}"
    raise ValueError(
        f"the algorithm {name!r} is unknown. Models with code of their own are "
        f"{', '.join(REPOSITORIES)}; --model-dir says where they are."
    )


def _located(name: str, model_dir: str | None, trusted: bool) -> Located:
    """The folder of a model whose own code may be run."""
    _, name = _parts(name)
    if not trusted:  # before gigabytes are fetched in vain
        why = not_permitted(named(name)[0], "its classes are Python files beside it")
        raise CodeRefused(f"{why} {INSTEAD}")
    located = locate(name, model_dir, code=True, pickled=True, pinned=True)
    if not remote_code(located, trusted):
        raise WeightsMissing(
            f"the model in {located.path} has no code of its own, and {name!r} is published with "
            "its classes as Python files. Usually another model's folder was named, or its "
            f"{CONFIG} was replaced; fetch the folder again as a whole."
        )
    return located


def _mapping(located: Located) -> dict[str, Any]:
    said = read_json(located.path / CONFIG)
    if not isinstance(said, dict):
        raise WeightsMissing(
            f"{located.path / CONFIG} does not describe a model. Usually a download or copy was "
            "cut short; fetch the folder again as a whole."
        )
    return said


def _width(config: Mapping[str, Any]) -> int | None:
    """How long vectors are, where the configuration says it."""
    inner = config.get("model")
    for place in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(width := place.get("embed_dim"), int):
            return width
    return None


def _check_frames(config: Mapping[str, Any], located: Located) -> None:
    frames, side = SHOWN[INTERNVIDEO]
    for key, wanted in (("num_frames", frames), ("image_res", side)):
        said = config.get(key, wanted)
        if said != wanted:
            raise WeightsMissing(
                f"the model {located.name!r} says {key} {said!r}, and internvideo2 is shown "
                f"{frames} frames of {side} × {side} pixels. It is another one of the family; the "
                f"one that is known here is {REPOSITORIES[INTERNVIDEO]}."
            )


def _check_asked(model: Any, located: Located, method: str) -> None:
    if not hasattr(model, method):
        raise WeightsMissing(
            f"the model {located.name!r} in {located.path} cannot be asked for vectors of clips: "
            f"its class {type(model).__name__} has no {method}. Usually another model's folder was "
            f"named; the models that are known here are {', '.join(REPOSITORIES.values())}."
        )


def _check_imports(located: Located, kinds: Sequence[str]) -> None:
    """Name the packages that the model's own code imports and this machine does not have."""
    dynamic = needed("transformers.dynamic_module_utils", INSTALL, PURPOSE)
    for kind in kinds:
        file = located.path / f"{_class_name(located, kind).split('.')[0]}.py"
        for path in (str(file), *dynamic.get_relative_import_files(str(file))):
            try:
                dynamic.check_imports(path)
            except ImportError as error:
                raise WeightsMissing(
                    f"the model {located.name!r} brings code of its own that cannot run here: "
                    f"{first_line(error)}."
                ) from error


# ── its own classes ──────────────────────────────────────────────────────────────────────────────


def _class_name(located: Located, kind: str) -> str:
    for file in NAMING:
        path = located.path / file
        said = read_json(path) if path.is_file() else {}
        found = said.get("auto_map", {}).get(kind) if isinstance(said, dict) else None
        if isinstance(found, str):
            return found
    raise WeightsMissing(
        f"the model {located.name!r} in {located.path} does not say which class of its own code is "
        f"its {kind}: no auto_map in {', '.join(NAMING)} names it. Usually another model's folder "
        "was named, or a download was cut short."
    )


def _own_class(located: Located, kind: str) -> Any:
    """A class of the model's own code."""
    dynamic = needed("transformers.dynamic_module_utils", INSTALL, PURPOSE)
    _put_back()
    return dynamic.get_class_from_dynamic_module(
        _class_name(located, kind), str(located.path), local_files_only=True
    )


def _built(located: Located, device: str) -> Any:
    """The model with its weights, on the device, ready to be asked."""
    device = device_of(device)
    config_class = _own_class(located, "AutoConfig")
    said = _whole_paths(_mapping(located), located.path)
    model = _own_class(located, "AutoModel")(config_class.from_dict(said))
    model = model.to(dtype_of(device))
    _fill(model, located)
    return model.to(device).eval()


def _whole_paths(said: Any, folder: Path) -> Any:
    """A configuration whose paths of files in the repository are those of the files here."""
    if isinstance(said, dict):
        return {key: _whole_paths(value, folder) for key, value in said.items()}
    if isinstance(said, list):
        return [_whole_paths(value, folder) for value in said]
    is_file = isinstance(said, str) and "/" in said and (folder / said).is_file()
    return str(folder / said) if is_file else said


def _fill(model: Any, located: Located) -> None:
    """Give the model its weights; each tensor has to be there, and of its shape."""
    seen: set[str] = set()
    for path in weight_files(located.path, located.name, pickled=True):
        tensors = _tensors(path)
        try:
            model.load_state_dict(tensors, strict=False)
        except RuntimeError as error:  # of other shapes than the class has
            raise _unfit(located, str(error).strip().splitlines()[-1].strip()) from error
        seen.update(tensors)
    missing = sorted(_missing(model, seen))
    if missing:
        raise _unfit(located, f"{len(missing)} tensors are missing, {missing[0]} for one")


def _missing(model: Any, seen: set[str]) -> Iterator[str]:
    """Tensors that were given no values, not even by another name of theirs."""
    state = model.state_dict()
    filled = {state[name].data_ptr() for name in seen if name in state}
    for name, tensor in state.items():
        if name not in seen and not name.startswith(WORDS) and tensor.data_ptr() not in filled:
            yield name


def _tensors(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        held: dict[str, Any] = needed("safetensors.torch", INSTALL, PURPOSE).load_file(path)
        return held
    found = load_pickled(path)
    # Training states hold the model below one of these names.
    for key in ("model", "module", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        raise WeightsMissing(
            f"{path} holds a {type(found).__name__} and no tensors by their names. Usually "
            "another file of the model's repository was named as its weights."
        )
    return found


def _unfit(located: Located, what: str) -> WeightsMissing:
    return WeightsMissing(
        f"the weights in {located.path} are not those that its own code describes: {what}. Usually "
        "files of two models were mixed; fetch the folder again as a whole."
    )


# ── transformers 4 ───────────────────────────────────────────────────────────────────────────────

#: Where code written for transformers 4 looks for a function → where it is now.
MOVED = (
    ("modeling_utils", "pytorch_utils", ("apply_chunking_to_forward", "prune_linear_layer")),
    (
        "tokenization_utils",
        "tokenization_python",
        ("_is_control", "_is_punctuation", "_is_whitespace"),
    ),
)


#: What transformers 5 has no more; it is imported to make networks smaller, which nobody does here.
GONE = "find_pruneable_heads_and_indices"


def _put_back() -> None:
    """Let code that was written for transformers 4 find what it imports."""
    for before, now, functions in MOVED:
        old = importlib.import_module(f"transformers.{before}")
        new = importlib.import_module(f"transformers.{now}")
        for function in functions:
            if not hasattr(old, function):
                setattr(old, function, getattr(new, function))
    utils = importlib.import_module("transformers.modeling_utils")
    if not hasattr(utils, GONE):
        setattr(utils, GONE, prunable)


def prunable(
    heads: Sequence[int], count: int, size: int, pruned: set[int]
) -> tuple[set[int], Tensor]:
    """The heads of an attention that are still there to go, and which rows stay without them.

    transformers 5 has no such function any more. ``pruned`` have gone before, so that the rows of
    those after them have moved up.
    """
    torch = needed("torch", INSTALL, PURPOSE)
    going = set(heads) - pruned
    stays = torch.ones(count, size, dtype=torch.bool)
    for head in going:
        stays[head - sum(before < head for before in pruned)] = False
    return going, stays.flatten().nonzero().flatten()
