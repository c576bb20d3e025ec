"""The caption models that have a short name: a new one is one entry here.

Models that have none, a folder, a bucket or an id of the hub, are loaded in the same way: which of
the loaders in :mod:`~.captioners` a model needs is read from its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from finecut.transforms.models.resources import Resources


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face hub, and what it takes in bfloat16 with room for questions."""

    repository: str
    #: The commit that is loaded; seven digits of it are enough.
    revision: str
    resources: Resources


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
PINNED_CAPTION_MODELS: Final = {
    model.repository: model.revision for model in (*CAPTIONERS.values(), *WRITERS.values())
}
#: What a captioner or a writer without a short name takes: its size is not known.
UNKNOWN_SIZE: Final = Resources(gpus=1)


def repository_of(name: str, models: Mapping[str, HubModel]) -> str:
    """The repository that a short name stands for; any other name as it is."""
    return models[name].repository if name in models else name


def resources_of(name: str, models: Mapping[str, HubModel]) -> Resources:
    """What the model takes of a machine."""
    return models[name].resources if name in models else UNKNOWN_SIZE
