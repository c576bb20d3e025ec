"""The embedders that bring code of their own: a new one is one entry here, and a class in
:mod:`~.embedders.remote`. All others are known by their folders (:mod:`~.embedders.kinds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from finecut.transforms.models.resources import Resources

#: What NeMo Curator's stages ask for.
GPU: Final = Resources(gpu_memory_gb=20)


@dataclass(frozen=True)
class EmbeddingModel:
    """A model of the Hugging Face hub, and what it is shown of a clip."""

    repository: str
    #: The commit that is loaded, where one was tried.
    revision: str | None = None
    #: Frames of a clip, and their shorter side.
    frames: int = 8
    side: int = 224
    resources: Resources = GPU


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
        "internvideo2": EmbeddingModel("OpenGVLab/InternVideo2-Stage2_6B", frames=4),
    }
)
COSMOS: Final = tuple(name for name in EMBEDDING_MODELS if name.startswith("cosmos"))
INTERNVIDEO: Final = "internvideo2"

#: Repository → commit.
PINNED_EMBEDDING_MODELS: Final = {
    model.repository: model.revision for model in EMBEDDING_MODELS.values() if model.revision
}


def algorithm_of(name: str) -> str | None:
    """The algorithm that a name, or an id of the hub, with a commit or without, stands for.

    >>> algorithm_of("nvidia/Cosmos-Embed1-336p@0e8a28f")
    'cosmos-embed1-336p'
    """
    plain = name.partition("@")[0]
    known = EMBEDDING_MODELS.items()
    return next((key for key, model in known if plain in (key, model.repository)), None)
