"""What a loaded model runs on: a GPU where there is one, in half precision, or the CPU.

On a CPU a model is asked one question at a time, in float32 (``at_once`` 0): what else is asked has
no say in an answer. On a GPU as many pixels go through it together as fit beside its weights::

    ┌───────────────────────── the device's memory · share ─────────────────────────┐
    │  weights_gb  │  pixels that are asked about at once, a number for each GB     │
    └───────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, TypeAlias

from finecut.transforms.models.weights.folders import WeightsMissing, needed

#: torch's, which need not be installed.
Tensor: TypeAlias = Any

PURPOSE = "run a model on this machine"

#: From this generation of GPUs on, bfloat16 is computed and not only imitated.
AMPERE = (8, 0)


def device_of(wanted: str = "auto") -> str:
    """``cuda`` or ``cpu``; ``auto`` is the GPU where there is one."""
    if wanted not in ("auto", "cuda", "cpu"):
        raise ValueError(
            f"the device {wanted!r} is unknown: 'auto' takes a GPU if there is one, 'cuda' "
            "requires one, 'cpu' uses none."
        )
    if wanted == "cpu":
        return "cpu"
    if needed("torch", PURPOSE).cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise WeightsMissing(
            "a GPU was requested, but torch sees none on this machine. Usually torch was built "
            "for CPUs, or the driver is missing or too old: `nvidia-smi` shows the driver. Use "
            "the device 'cpu' to do without a GPU."
        )
    return "cpu"


def gpu_memory_gb() -> float | None:
    """All memory of the first GPU in GB (GiB, as vendors count it), ``None`` without one."""
    if device_of("auto") == "cpu":
        return None
    cuda = needed("torch", PURPOSE).cuda
    return float(cuda.get_device_properties(0).total_memory / 2**30)


def at_once_on(
    device: str, pixels_per_gb: float, weights_gb: float = 0.0, share: float = 1.0
) -> int:
    """Pixels a model may be asked about at once: what its share of the GPU has beside its weights.

    It is reckoned from all memory and not from what is free just now, so that it is the same in
    every process and on every run.
    """
    require_share(share)
    memory = gpu_memory_gb() if device == "cuda" else None
    return 0 if memory is None else max(0, int((memory * share - weights_gb) * pixels_per_gb))


def require_share(share: float) -> None:
    """Refuse a part of a GPU that is nothing, or more than all of it."""
    if not 0 < share <= 1:
        raise ValueError(
            f"a model cannot take {share} of a GPU's memory: its share must be more than 0 and "
            "at most 1. Usually a percentage was given; three models that share a GPU take 0.33 "
            "each."
        )


def dtype_of(device: str) -> Any:
    """torch's type for weights: bfloat16 on a GPU, float16 on an old one, float32 on the CPU."""
    torch = needed("torch", PURPOSE)
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability() >= AMPERE else torch.float16


def gpus() -> list[tuple[str, float]]:
    """Name and memory in GB of every GPU that torch can use; none where there is no torch."""
    if importlib.util.find_spec("torch") is None:
        return []
    cuda = needed("torch", PURPOSE).cuda
    found = [cuda.get_device_properties(i) for i in range(cuda.device_count())]
    return [(device.name, device.total_memory / 2**30) for device in found]


def work_alone() -> None:
    """Tell torch, if a model has just been loaded with it, that its calls take one thread each.

    Sums come out in another order with other numbers of threads, so a score would depend on the
    machine; and calls of several workers that all take all cores wait for each other.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
