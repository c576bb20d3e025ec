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

import importlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Question
from finecut.transforms.models.embedders.encoders import Embedder
from finecut.transforms.models.embedders.kinds import BILINEAR, PURPOSE, Preparation
from finecut.transforms.models.known_models import (
    COSMOS,
    EMBEDDING_MODELS,
    INTERNVIDEO,
    EmbeddingModel,
    algorithm_of,
)
from finecut.transforms.models.loading import (
    FILES,
    NET_MEAN,
    NET_STD,
    Tensor,
    config_of,
    device_of,
    dtype_of,
    last_line,
    quiet,
    require_all,
    small_files,
    unfit,
)
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    first_line,
    load_pickled,
    locate,
    named,
    needed,
    not_permitted,
    remote_code,
    weight_files,
)

#: The classes that each of the two brings.
CLASSES = ("AutoConfig", "AutoModel")
PROCESSOR = "AutoProcessor"

#: What helps those who asked for no embedder, or for any.
INSTEAD = (
    " If you do not, give --embedding-algorithm efficientnet-lite0, which needs no such code; "
    "without --embedding-algorithm, finecut uses Cosmos-Embed1 if --model-dir contains it."
)

#: What the weights belong to.
OWN_CODE = "the model's own code"
#: Tensors of the tower for texts, which videos do without.
WORDS = "text_"


def require_remote(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False
) -> ModelUsed:
    """Raise what loading it would for lack of something, without loading it."""
    return _checked(name, model_dir, trust_remote_code)[1]


def _checked(name: str, model_dir: str | None, trusted: bool) -> tuple[Located, ModelUsed]:
    """The folder of a model that can be loaded, and what the documents say of it."""
    needed("torch", PURPOSE)
    found = _located(name, model_dir, trusted)
    config = config_of(found)
    if algorithm_of(name) == INTERNVIDEO:
        _check_frames(config, found)
        _check_imports(found, CLASSES)
    else:
        _check_imports(found, (*CLASSES, PROCESSOR))
    return found, ModelUsed(found.name, found.revision, _width(config))


class OwnCodeEmbedder(Embedder):
    """A model of somebody else's class."""

    #: What it is asked by.
    method: str

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> Self:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device."""
        found, used = _checked(name, model_dir, trust_remote_code)
        with quiet():
            model = _built(found, device)
        if not hasattr(model, cls.method):
            raise WeightsMissing(
                f"the model {found.name!r} in {found.path} cannot make vectors of clips: its "
                f"class {type(model).__name__} has no {cls.method}. Usually another model's "
                f"folder was named; finecut supports "
                f"{', '.join(known.repository for known in EMBEDDING_MODELS.values())}."
            )
        known = _model_of(name)
        loaded = cls(model, used, known.frames, known.side)
        loaded.prepare(found)
        return loaded

    @abstractmethod
    def prepare(self, found: Located) -> None:
        """Get ready what makes frames into what the model takes."""

    def _rows(self, questions: Sequence[Question]) -> Tensor:
        import torch

        pixels = torch.cat([self._pixels(question) for question in questions])
        answer = getattr(self._model, self.method)(pixels.to(self._device, self._dtype))
        return getattr(answer, "visual_proj", answer).reshape(len(questions), -1)

    @abstractmethod
    def _pixels(self, question: Question) -> Tensor:
        """One clip as the model takes it: (1, frames, 3, height, width)."""


class CosmosEmbed1(OwnCodeEmbedder):
    """NVIDIA's Cosmos-Embed1: vectors of clips that stand beside those of texts."""

    method = "get_video_embeddings"

    def prepare(self, found: Located) -> None:
        with quiet():
            self._processor = _own_class(found, PROCESSOR).from_pretrained(
                found.path, local_files_only=True, trust_remote_code=True
            )
        wanted = getattr(self._processor, "num_video_frames", self.frames)
        if wanted != self.frames:
            raise WeightsMissing(
                f"the processor in {found.path} needs {wanted} frames of a clip, but the model "
                f"gets {self.frames}. Usually another model's folder was named; finecut supports "
                f"{', '.join(EMBEDDING_MODELS[name].repository for name in COSMOS)}."
            )

    def _pixels(self, question: Question) -> Tensor:
        frames = np.stack(question.frames).transpose(0, 3, 1, 2)[None]
        return self._processor(videos=np.ascontiguousarray(frames))["videos"]


class InternVideo2(OwnCodeEmbedder):
    """OpenGVLab's InternVideo2 of stage 2: vectors of clips that stand beside those of texts."""

    method = "get_vid_feat"

    def prepare(self, found: Located) -> None:
        side = (self.side, self.side)
        self._preparation = Preparation(size=side, mean=NET_MEAN, std=NET_STD, resample=BILINEAR)

    def _pixels(self, question: Question) -> Tensor:
        return self._preparation.pixels(question.frames)[None]


# ── what a folder says ───────────────────────────────────────────────────────────────────────────


def _model_of(name: str) -> EmbeddingModel:
    return EMBEDDING_MODELS[algorithm_of(name) or name]


def _located(name: str, model_dir: str | None, trusted: bool) -> Located:
    """The folder of a model whose own code may be run."""
    _, at, commit = name.partition("@")
    name = f"{_model_of(name).repository}{at}{commit}"
    if not trusted:  # before gigabytes are fetched in vain
        raise not_permitted(named(name)[0], "its classes are Python files in its folder", INSTEAD)
    located = locate(name, model_dir, code=True, pickled=True, pinned=True)
    if not remote_code(located, trusted):
        raise WeightsMissing(
            f"the model in {located.path} has no code of its own, but {name!r} is published with "
            "its classes as Python files. Usually another model's folder was named, or its "
            f"{CONFIG} was replaced; download the whole folder again."
        )
    return located


def _width(config: Mapping[str, Any]) -> int | None:
    """How long vectors are, where the configuration says it."""
    inner = config.get("model")
    places = (config, inner) if isinstance(inner, dict) else (config,)
    widths = (place.get("embed_dim") for place in places)
    return next((width for width in widths if isinstance(width, int)), None)


def _check_frames(config: Mapping[str, Any], found: Located) -> None:
    known = EMBEDDING_MODELS[INTERNVIDEO]
    for key, wanted in (("num_frames", known.frames), ("image_res", known.side)):
        if (value := config.get(key, wanted)) != wanted:
            raise WeightsMissing(
                f"the model {found.name!r} has {key} {value!r}, but internvideo2 gets "
                f"{known.frames} frames of {known.side} × {known.side} pixels. It is another "
                f"model of the family; finecut supports {known.repository}."
            )


def _check_imports(located: Located, kinds: Sequence[str]) -> None:
    """Name the packages that the model's own code imports and this machine does not have."""
    dynamic = needed("transformers.dynamic_module_utils", PURPOSE)
    for kind in kinds:
        file = located.path / f"{_class_name(located, kind).split('.')[0]}.py"
        for path in (str(file), *dynamic.get_relative_import_files(str(file))):
            try:
                dynamic.check_imports(path)
            except ImportError as error:
                raise WeightsMissing(
                    f"the model {located.name!r} has its own code, which cannot run here: "
                    f"{first_line(error)}."
                ) from error


# ── its own classes ──────────────────────────────────────────────────────────────────────────────


def _class_name(located: Located, kind: str) -> str:
    for content in small_files(located.path).values():
        found = content.get("auto_map", {}).get(kind) if isinstance(content, dict) else None
        if isinstance(found, str):
            return found
    raise WeightsMissing(
        f"the model {located.name!r} in {located.path} does not say which class of its code is "
        f"its {kind}: no auto_map in {', '.join(FILES)} names it. Usually another model's folder "
        "was named, or a download was cut short."
    )


def _own_class(located: Located, kind: str) -> Any:
    """A class of the model's own code."""
    _put_back()
    return needed("transformers.dynamic_module_utils", PURPOSE).get_class_from_dynamic_module(
        _class_name(located, kind), str(located.path), local_files_only=True
    )


def _built(located: Located, device: str) -> Any:
    """The model with its weights, on the device, ready to be asked."""
    device = device_of(device)
    said = _whole_paths(config_of(located), located.path)
    config = _own_class(located, "AutoConfig").from_dict(said)
    model = _own_class(located, "AutoModel")(config).to(dtype_of(device))
    _fill(model, located)
    return model.to(device).eval()


def _whole_paths(config: Any, folder: Path) -> Any:
    """A configuration whose paths of files in the repository are those of the files here."""
    if isinstance(config, dict):
        return {key: _whole_paths(value, folder) for key, value in config.items()}
    if isinstance(config, list):
        return [_whole_paths(value, folder) for value in config]
    is_file = isinstance(config, str) and "/" in config and (folder / config).is_file()
    return str(folder / config) if is_file else config


def _fill(model: Any, located: Located) -> None:
    """Give the model its weights; each tensor has to be there, and of its shape."""
    seen: set[str] = set()
    for path in weight_files(located.path, located.name, pickled=True):
        tensors = _tensors(path)
        try:
            model.load_state_dict(tensors, strict=False)
        except RuntimeError as error:  # of other shapes than the class has
            raise unfit(located.path, last_line(error), OWN_CODE) from error
        seen.update(tensors)
    require_all(located.path, _missing(model, seen), OWN_CODE)


def _missing(model: Any, seen: set[str]) -> Iterator[str]:
    """Tensors that were given no values, not even by another name of theirs."""
    state = model.state_dict()
    filled = {state[name].data_ptr() for name in seen if name in state}
    for name, tensor in state.items():
        if name not in seen and not name.startswith(WORDS) and tensor.data_ptr() not in filled:
            yield name


def _tensors(path: Path) -> Any:
    """Tensors by their names."""
    if path.suffix == ".safetensors":
        return needed("safetensors.torch", PURPOSE).load_file(path)
    found = load_pickled(path)
    # Training states hold the model below one of these names.
    for key in ("model", "module", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        raise WeightsMissing(
            f"{path} contains a {type(found).__name__} instead of named tensors. Usually another "
            "file of the model's repository was given as its weights."
        )
    return found


# ── transformers 4 ───────────────────────────────────────────────────────────────────────────────

#: Where code written for transformers 4 looks for functions → where they are now.
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
        setattr(utils, GONE, None)
