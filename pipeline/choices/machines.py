"""What a cluster's machines are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finecut.transforms.models.resources import step_names
from finecut.transforms.option import MACHINES, option

USUAL_ACCELERATOR: Final = "nvidia-l4"


@dataclass(frozen=True, kw_only=True)
class MachineChoices:
    resources: tuple[str, ...] = option(
        (),
        MACHINES,
        "What a step needs on a cluster, as in embed:gpu_memory_gb=8 or caption:entire_gpu=true "
        f"(steps: {', '.join(step_names())}).",
        metavar="STEP:KEY=VALUE",
        shown="what its model needs",
        matters=False,
    )

    right_fitting: bool = option(
        False,
        MACHINES,
        "On a cluster: cut on machines without a GPU (unless cutting needs one), and pass the "
        "clips on to machines with a GPU for the models. Those machines decode the clips once "
        "more.",
        matters=False,
    )

    accelerator: str = option(
        USUAL_ACCELERATOR,
        MACHINES,
        "Which GPU the workers of a cluster get if a step needs one, by its name on Google Cloud.",
        metavar="NAME",
        matters=False,
    )
