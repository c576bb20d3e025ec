"""Captioners and text models that are known by a short name. A new one is one entry here.

The name may stand in options, files and keys; the id is that of the hub, and the revision the
commit of it that counts unless the user names another (``ID@COMMIT``). Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from finecut.transforms.models.resources import Resources


class KnownModel(NamedTuple):
    """A model of the hub, and what it takes of a GPU in bfloat16 with room for what it is asked."""

    id: str
    revision: str
    resources: Resources


CAPTIONERS: Final[dict[str, KnownModel]] = {
    "qwen2.5": KnownModel("Qwen/Qwen2.5-VL-7B-Instruct", "cc59489", Resources(gpu_memory_gb=20)),
    "qwen2.5-3b": KnownModel(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "66285546d2b821cf421d4f5eb2576359d3770cd3",
        Resources(gpu_memory_gb=12),
    ),
    "qwen3": KnownModel("Qwen/Qwen3-VL-8B-Instruct", "0c351dd", Resources(gpu_memory_gb=22)),
    "nemotron": KnownModel(
        "nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
        "5d250e2e111dc5e1434131bdf3d590c27a878ade",
        Resources(gpu_memory_gb=30),
    ),
}
WRITERS: Final[dict[str, KnownModel]] = {
    "qwen2.5": KnownModel("Qwen/Qwen2.5-14B-Instruct", "cf98f3b", Resources(gpu_memory_gb=36)),
    "qwen3": KnownModel("Qwen/Qwen3-14B", "f8c293d", Resources(gpu_memory_gb=36)),
}


def hub_id(name: str, known: Mapping[str, KnownModel]) -> str:
    """The id that a short name stands for; any other name as it is."""
    return known[name].id if name in known else name
