"""The models of the Hugging Face hub that have a short name: a new one is one entry here.

An embedder that brings code of its own is an entry and a class in :mod:`~.embedders.remote`; all
others are known by their folders (:mod:`~.embedders.kinds`). So are captioners without a short
name, a folder, a bucket or an id of the hub: which of the loaders in :mod:`~.captioners` a model
needs is read from its folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from finecut.transforms.models.resources import Resources

#: What NeMo Curator's stages ask for.
GPU: Final = Resources(gpu_memory_gb=20)


@dataclass(frozen=True)
class HubModel:
    """A model of the hub, and what it takes in bfloat16 with room for questions."""

    repository: str
    #: The commit that is loaded, where one was tried; seven digits of it are enough.
    revision: str | None
    resources: Resources


@dataclass(frozen=True)
class EmbeddingModel(HubModel):
    """A model that embeds clips, and what it is shown of one."""

    resources: Resources = GPU
    #: Frames of a clip, and their shorter side.
    frames: int = 8
    side: int = 224


#: Algorithm → its model.
EMBEDDING_MODELS: Final[Mapping[str, EmbeddingModel]] = MappingProxyType(
    {
        "cosmos-embed1-224p": EmbeddingModel(
            "nvidia/Cosmos-Embed1-224p", "787e0b996f5260a71ad474a283c90539a2e12986"
        ),
        "cosmos-embed1-336p": EmbeddingModel(
            "nvidia/Cosmos-Embed1-336p", "0e8a28f7bf370f2dcb3b9b61d23e167d0d6b0e6f", side=336
        ),
        "cosmos-embed1-448p": EmbeddingModel(
            "nvidia/Cosmos-Embed1-448p", "f60ec73636eb7c9cc25267367713b7b1b0cffaf3", side=448
        ),
        "internvideo2": EmbeddingModel("OpenGVLab/InternVideo2-Stage2_6B", None, frames=4),
    }
)
COSMOS: Final = tuple(name for name in EMBEDDING_MODELS if name.startswith("cosmos"))
INTERNVIDEO: Final = "internvideo2"


@dataclass(frozen=True)
class CaptionModel:
    """What a short name stands for."""

    #: Captions clips.
    captioner: HubModel
    #: Enhances captions; not every family has such a model.
    writer: HubModel | None = None
    #: What the texts of the writer are called in documents, if not by the short name.
    writer_key: str | None = None


def _hub(repository: str, revision: str, gpu_memory_gb: float) -> HubModel:
    return HubModel(repository, revision, Resources(gpu_memory_gb=gpu_memory_gb))


#: NeMo Curator has one name for the texts of either writer.
QWEN_WRITER: Final = "qwen_lm"

#: Short name → what it stands for.
CAPTION_MODELS: Final[Mapping[str, CaptionModel]] = MappingProxyType(
    {
        "qwen2.5": CaptionModel(
            captioner=_hub("Qwen/Qwen2.5-VL-7B-Instruct", "cc59489", 20),
            writer=_hub("Qwen/Qwen2.5-14B-Instruct", "cf98f3b", 36),
            writer_key=QWEN_WRITER,
        ),
        "qwen2.5-3b": CaptionModel(
            captioner=_hub(
                "Qwen/Qwen2.5-VL-3B-Instruct", "66285546d2b821cf421d4f5eb2576359d3770cd3", 12
            )
        ),
        "qwen3": CaptionModel(
            captioner=_hub("Qwen/Qwen3-VL-8B-Instruct", "0c351dd", 22),
            writer=_hub("Qwen/Qwen3-14B", "f8c293d", 36),
            writer_key=QWEN_WRITER,
        ),
        "nemotron": CaptionModel(
            captioner=_hub(
                "nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
                "5d250e2e111dc5e1434131bdf3d590c27a878ade",
                30,
            )
        ),
    }
)

CAPTIONERS: Final = {name: model.captioner for name, model in CAPTION_MODELS.items()}
WRITERS: Final = {name: model.writer for name, model in CAPTION_MODELS.items() if model.writer}

#: Repository → commit.
PINNED_MODELS: Final = {
    model.repository: model.revision
    for model in (*EMBEDDING_MODELS.values(), *CAPTIONERS.values(), *WRITERS.values())
    if model.revision
}


def algorithm_of(name: str) -> str | None:
    """The algorithm that a name, or an id of the hub, with a commit or without, stands for.

    >>> algorithm_of("nvidia/Cosmos-Embed1-336p@0e8a28f")
    'cosmos-embed1-336p'
    """
    plain = name.partition("@")[0]
    known = EMBEDDING_MODELS.items()
    return next((key for key, model in known if plain in (key, model.repository)), None)


def repository_of(name: str, models: Mapping[str, HubModel]) -> str:
    """The repository that a short name stands for; any other name as it is."""
    return models[name].repository if name in models else name
