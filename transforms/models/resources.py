"""What a step asks of the machine it runs on. Standard library only: options are checked with it.

    Resources(gpu_memory_gb=8)               # a model that takes 8 GB of one GPU
    parse_override("embed:gpu_memory_gb=8")  # the same, for one step, on the command line

GPU memory is asked for in GB, or in GPUs, never in both. How much of a device that is decides how
many copies of a model, one for each process, a device holds::

    nvidia-l4, 24 GB            8 GB are 0.34 of it: two copies fit

    ┌──────────┬──────────┬─────┐
    │  copy 1  │  copy 2  │     │      share   0.34   (8 / 24, rounded up to the next 1/100)
    │   0.34   │   0.34   │     │      copies  2      (the whole numbers in 1 / 0.34)
    └──────────┴──────────┴─────┘

Shares of memory are rounded *up*: what is left over is the room that drivers take, and a small
request is never a request for nothing. Shares that are given as GPUs stay as they are. A step that
asks for hardware decoders or encoders, or for the entire GPU, is the only copy on it.

Steps that run in one pool of processes keep their models loaded side by side (:func:`together`):
their memory adds up, while a core is free again when the next step begins::

    aesthetic  1 CPU  0.25 GPU ─┐
                                ├─▶  one worker of 2 CPUs, 0.25 + 0.5 = 0.75 GPU
    embed      2 CPUs 20 GB   ──┘    (20 GB are 0.5 of the nvidia-tesla-a100's 40 GB)
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from types import MappingProxyType
from typing import Final, Self

#: Memory of usual accelerators in GB, by the names that Dataflow has for them.
GPU_GB: Final[Mapping[str, float]] = MappingProxyType(
    {
        "nvidia-l4": 24,
        "nvidia-tesla-t4": 16,
        "nvidia-tesla-p100": 16,
        "nvidia-tesla-v100": 16,
        "nvidia-tesla-a100": 40,
        "nvidia-a100-80gb": 80,
        "nvidia-h100-80gb": 80,
        "nvidia-h100-mega-80gb": 80,
        "nvidia-h200-141gb": 141,
    }
)
#: The smallest usual machines of Google Cloud that have one of them.
MACHINES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "nvidia-l4": "g2-standard-8",
        "nvidia-tesla-t4": "n1-standard-8",
        "nvidia-tesla-p100": "n1-standard-8",
        "nvidia-tesla-v100": "n1-standard-8",
        "nvidia-tesla-a100": "a2-highgpu-1g",
        "nvidia-a100-80gb": "a2-ultragpu-1g",
        "nvidia-h100-80gb": "a3-highgpu-1g",
        "nvidia-h100-mega-80gb": "a3-megagpu-8g",
        "nvidia-h200-141gb": "a3-ultragpu-8g",
    }
)
#: What an accelerator that is not in the table is taken to have.
USUAL_GPU_GB: Final = 24.0

#: The driver that Dataflow is to install on workers with a GPU. Torch of today does not work with
#: the older ones that it may choose by itself.
DRIVER: Final = "install-nvidia-driver:5xx"

#: Of a machine's type: the usual one of its GPU.
AUTO: Final = "auto"

_YES_OR_NO: Final[Mapping[str, bool]] = {"true": True, "false": False}
_ACCELERATOR = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Resources:
    """What one process of a step needs while it works."""

    cpus: float = 1.0
    #: A share of one device, in GB; instead of ``gpus``.
    gpu_memory_gb: float = 0.0
    #: A share of one device (up to 1), or a number of whole ones; instead of ``gpu_memory_gb``.
    gpus: float = 0.0
    #: Nobody else is to be on the device; ``gpus`` is 1 then.
    entire_gpu: bool = False
    #: Hardware decoders and encoders. How many a device has is not known from here, so a step that
    #: asks for any has it to itself.
    nvdecs: int = 0
    nvencs: int = 0
    #: Memory of the machine.
    memory_gb: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpu_memory_gb", "gpus", "nvdecs", "nvencs", "memory_gb"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise ValueError(
                    f"{name}={value:g} is impossible: it must be a number of 0 or more."
                )
            if name in ("nvdecs", "nvencs") and value % 1:
                raise ValueError(
                    f"{name}={value:g} is impossible: give a whole number of decoders or encoders."
                )
        if self.gpus and self.gpu_memory_gb:
            raise ValueError(
                f"gpus={self.gpus:g} and gpu_memory_gb={self.gpu_memory_gb:g} contradict each "
                "other. Give only one: gpu_memory_gb for a model of known size, gpus for a share "
                "of any device."
            )
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(
                f"gpus={self.gpus:g} is impossible: a share is on one device, so it is at most "
                "1, and anything more must be a whole number of devices (2, 3, …)."
            )
        if self.entire_gpu and (self.gpu_memory_gb or self.gpus % 1):
            share = f"gpus={self.gpus:g}" if self.gpus else f"gpu_memory_gb={self.gpu_memory_gb:g}"
            raise ValueError(
                f"entire_gpu=true and {share} contradict each other: the first asks for a whole "
                "device, the other for a part of one. Leave one of them out."
            )
        if self.entire_gpu:
            object.__setattr__(self, "gpus", self.gpus or 1.0)  # frozen, and this is its making

    @property
    def needs_gpu(self) -> bool:
        """Whether there has to be a GPU at all."""
        return bool(self.gpus or self.gpu_memory_gb or self.nvdecs or self.nvencs)

    def share(self, gpu_gb: float) -> float:
        """How much of a device of this many GB one copy takes; above 1, how many devices.

        >>> Resources(gpu_memory_gb=1).share(24)
        0.05
        """
        return float(self._share(gpu_gb))

    def copies(self, gpu_gb: float, processes: int) -> int:
        """How many of the processes may have their model on one GPU of that size.

        >>> Resources(gpu_memory_gb=8).copies(24, processes=16)
        2
        """
        share = self._share(gpu_gb)
        return min(processes, max(1, math.floor(1 / share))) if share else processes

    def _share(self, gpu_gb: float) -> Fraction:
        """Exact, so that ten tenths are a whole device."""
        taken = self._taken(gpu_gb)
        if self.nvdecs or self.nvencs:
            return max(taken, Fraction(1))
        return _rounded_up(taken) if self.gpu_memory_gb else taken

    def _taken(self, gpu_gb: float) -> Fraction:
        """The part of a device's memory that is asked for, not rounded."""
        if self.gpu_memory_gb > gpu_gb:
            raise ValueError(
                f"{self.gpu_memory_gb:g} GB of GPU memory are requested, but the device has "
                f"{gpu_gb:g} GB. A share must be on one device: choose an accelerator with more "
                "memory, or ask for less with gpu_memory_gb."
            )
        return _exact(self.gpus) + _exact(self.gpu_memory_gb) / _exact(gpu_gb)

    def hints(self, accelerator: str | None = None, machine: str = "") -> dict[str, str]:
        """Beam's resource hints; ``machine`` is the type that machines with a GPU have.

        Beam takes numbers of CPUs as text only.

        >>> Resources(cpus=1.5).hints()
        {'cpu_count': '2'}
        >>> Resources(gpus=0.25).hints("nvidia-l4")
        {'accelerator': 'type:nvidia-l4;count:1;install-nvidia-driver:5xx'}
        """
        hints = {}
        if self.needs_gpu:
            kind, count = self._accelerator(accelerator), max(1, math.ceil(self.gpus))
            of_type = f"machine_type:{machine};" if machine else ""
            hints["accelerator"] = f"type:{kind};count:{count};{of_type}{DRIVER}"
        if self.cpus > 1:
            hints["cpu_count"] = str(math.ceil(self.cpus))
        if self.memory_gb:
            hints["min_ram"] = f"{self.memory_gb:g}GB"
        return hints

    def _accelerator(self, name: str | None) -> str:
        """The name of the kind of GPU, if it is one and big enough."""
        if not name:
            raise ValueError(
                "a GPU is requested, but its type is missing. Give one that the region has, such "
                f"as {', '.join(GPU_GB)}, or request no GPU."
            )
        if not _ACCELERATOR.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a type of GPU: the names consist of small letters, digits and "
                f"dashes, such as {', '.join(GPU_GB)}. finecut adds the number of GPUs and the "
                "driver."
            )
        if name in GPU_GB:
            self.share(GPU_GB[name])
        return name

    @classmethod
    def parse(cls, text: str) -> Self:
        """What a text such as ``cpus=2,gpu_memory_gb=20`` asks for; the rest is as usual.

        >>> Resources.parse("cpus=2, gpus=0.5") == Resources(cpus=2, gpus=0.5)
        True
        """
        known = {field.name: type(field.default) for field in fields(cls)}
        values: dict[str, float] = {}
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not (name and equals and value):
                raise ValueError(
                    f"{part.strip()!r} does not describe a resource: give name=value, and "
                    "separate several by commas, as in 'cpus=2,gpu_memory_gb=20'."
                )
            if name not in known:
                raise ValueError(
                    f"{name!r} is not a resource: the resources are {', '.join(known)}, as in "
                    "'cpus=2,gpu_memory_gb=20'."
                )
            if name in values:
                raise ValueError(f"{name} appears twice in {text!r}: leave one of them out.")
            values[name] = _value(name, value, known[name])
        return cls(**values)  # type: ignore[arg-type]


def machine_of(accelerator: str, asked: str = AUTO) -> str:
    """The type of the machines that have this GPU; nothing where Dataflow may choose.

    >>> machine_of("nvidia-l4"), machine_of("nvidia-l4", "g2-standard-24"), machine_of("new")
    ('g2-standard-8', 'g2-standard-24', '')
    """
    return MACHINES.get(accelerator, "") if asked == AUTO else asked


def gpu_gb(accelerator: str | None) -> float:
    """The memory of that kind of GPU in GB, a usual one's where it is not known.

    >>> gpu_gb("nvidia-tesla-t4"), gpu_gb("something-new"), gpu_gb(None)
    (16.0, 24.0, 24.0)
    """
    return float(GPU_GB.get(accelerator or "", USUAL_GPU_GB))


def step_names() -> tuple[str, ...]:
    """The steps whose resources can be overridden."""
    # Steps are declared with what they need, in words of this module.
    from finecut.transforms.registry import ON_CLIPS, ON_FRAMES

    return ("split", "cut", *ON_FRAMES, *(step.name for step in ON_CLIPS if step.has_model))


def parse_override(text: str, own: bool = False) -> tuple[str, Resources]:
    """The step and all it asks for: nothing of what is usual for it remains.

    With ``own`` it may be any step: a custom one has a name of its own.

    >>> parse_override("embed:gpu_memory_gb=8")[0]
    'embed'
    """
    step, colon, rest = (piece.strip() for piece in text.partition(":"))
    if not colon:
        raise ValueError(
            f"{text!r} does not name a step: give step:name=value, as in 'embed:gpu_memory_gb=8'."
        )
    if step not in (names := step_names()) and not own:
        raise ValueError(f"{step!r} is not a step with resources: give one of {', '.join(names)}.")
    return step, Resources.parse(rest)


def together(steps: Mapping[str, Resources], gpu_gb: float) -> Resources:
    """What one worker needs that does all these steps in turn, on one GPU of this many GB.

    >>> both = {"aesthetic": Resources(gpus=0.25), "embed": Resources(2, gpu_memory_gb=20)}
    >>> together(both, 40) == Resources(cpus=2, gpus=0.75)
    True
    """
    on_gpu = {name: step for name, step in steps.items() if step.needs_gpu}
    taken = {name: _taken_by(name, step, gpu_gb) for name, step in on_gpu.items()}
    total = sum(taken.values(), Fraction(0))
    alone = [name for name, step in on_gpu.items() if step.entire_gpu]
    if len(on_gpu) > 1 and (alone or total > 1):
        shares = " and ".join(f"{name} {_percent(part)}" for name, part in taken.items())
        why = (
            f"{' and '.join(alone)} needs an entire GPU"
            if alone
            else f"that is {_percent(total)} of its memory"
        )
        # A step that asks for parts of a device gets no more of it when it is larger.
        larger = "" if any(step.gpus for step in on_gpu.values()) else "an accelerator with more "
        choose = f"Choose {larger}memory, leave" if larger else "Leave"
        raise ValueError(
            "the models of these steps stay loaded side by side and do not fit on one GPU of "
            f"{gpu_gb:g} GB: {shares}; {why}. {choose} a step out, or give the real size of its "
            "model, as in 'caption:gpu_memory_gb=12'."
        )
    in_gb = all(not step.gpus for step in on_gpu.values())
    memory = sum((_exact(step.gpu_memory_gb) for step in on_gpu.values()), Fraction(0))
    return Resources(
        cpus=float(max((step.cpus for step in steps.values()), default=Resources.cpus)),
        gpu_memory_gb=float(memory) if in_gb else 0.0,
        gpus=0.0 if in_gb else float(_rounded_up(total) if memory else total),
        entire_gpu=bool(alone),
        nvdecs=max((step.nvdecs for step in on_gpu.values()), default=0),
        nvencs=max((step.nvencs for step in on_gpu.values()), default=0),
        # Models stay loaded side by side.
        memory_gb=float(sum(step.memory_gb for step in steps.values())),
    )


def _taken_by(name: str, step: Resources, gpu_gb: float) -> Fraction:
    try:
        return step._taken(gpu_gb)
    except ValueError as error:
        raise ValueError(f"{name} does not fit: {error}") from None


def _value(name: str, text: str, kind: type) -> float:
    """The value of a field of that kind; what numbers are allowed the fields say themselves."""
    if kind is bool:
        if text.lower() not in _YES_OR_NO:
            raise ValueError(f"{name}={text} is neither yes nor no: give true or false.")
        return _YES_OR_NO[text.lower()]
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}={text} is not a number, as in '{name}=2'.") from None
    return int(value) if kind is int and value.is_integer() else value


def _exact(value: float) -> Fraction:
    """The number that people mean: 0.1 is a tenth and 1 / 11 an eleventh, not a binary fraction."""
    simple = Fraction(value).limit_denominator(1000)
    return simple if float(simple) == value else Fraction(repr(float(value)))


def _rounded_up(part: Fraction) -> Fraction:
    return Fraction(math.ceil(part * 100), 100)


def _percent(part: Fraction) -> str:
    return f"{math.ceil(part * 100)} %"


#: What NeMo Curator's stages of the same work ask for; models that caption or embed
#: are in tables of their own. Models that are in none run on CPUs.
USUAL: Final[Mapping[str, Resources]] = MappingProxyType(
    {
        "transnetv2": Resources(gpu_memory_gb=10),
        "aesthetic": Resources(gpus=0.25),
    }
)
