"""How a step's model is loaded: nothing is loaded here, a worker does that when it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from finecut.transforms.models.endpoint.address import name_in
from finecut.transforms.models.resources import Resources
from finecut.transforms.option import ENDPOINT

if TYPE_CHECKING:
    from finecut.transforms.steps.machines import ModelMachine


class Loading(NamedTuple):
    """How a model is loaded, how it is known beforehand that it can be, and what it needs."""

    load: Callable[..., Any]
    require: Callable[[], Any]
    resources: Resources = Resources()


def place_of(o: ModelMachine) -> dict[str, Any]:
    """Where models lie, and whether they may bring code."""
    return {"model_dir": o.model_dir, "trust_remote_code": o.trust_remote_code}


def together(algorithm: str, need: Resources, o: ModelMachine) -> int:
    """Clips handed over at once: several where that is faster, each as it comes elsewhere."""
    return o.clips_together if need.needs_gpu or algorithm == ENDPOINT else 1


def name_of(algorithm: str, url: str | None) -> str:
    """What the model is called in names of folders and keys: a hub id's last part, or a server's.

    >>> name_of("Qwen/Qwen2.5-VL-3B-Instruct@abc", None)
    'Qwen2.5-VL-3B-Instruct'
    >>> name_of("endpoint", "http://host:8000/v1#Qwen/Qwen3-VL-8B-Instruct")
    'Qwen3-VL-8B-Instruct'
    """
    name = name_in(url or "") if algorithm == ENDPOINT else algorithm.split("@", 1)[0]
    return name.rstrip("/").rsplit("/", 1)[-1] or algorithm
