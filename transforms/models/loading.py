"""Loading a model by transformers: quietly, from files of this machine, and whole or not at all;
and what it runs on, a GPU where there is one, in half precision, or the CPU.

On a CPU a model is asked one question at a time, in float32 (``at_once`` 0): what else is asked has
no say in an answer. On a GPU as many pixels go through it together as fit beside its weights::

    ┌───────────────────────── the device's memory · share ─────────────────────────┐
    │  weights_gb  │  pixels that are asked about at once, a number for each GB     │
    └───────────────────────────────────────────────────────────────────────────────┘
"""

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    few,
    needed,
    read_json,
)

#: torch's, which need not be installed.
Tensor: TypeAlias = Any

DEVICE, LOAD = "run a model on this machine", "load a model"

#: From this generation of GPUs on, bfloat16 is computed and not only imitated.
AMPERE = (8, 0)

#: Where a folder says how its model sees; the first one that is there counts.
SETTINGS = ("video_preprocessor_config.json", "preprocessor_config.json")
#: Newer folders have one file for all, with a part for each.
TOGETHER = "processor_config.json"
FILES = (CONFIG, *SETTINGS, TOGETHER)

#: What the pixels of a model's training had in common, red, green, blue: CLIP's pictures, ImageNet,
#: and what others take for the middle.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NET_MEAN, NET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


# ── what it runs on ──────────────────────────────────────────────────────────────────────────────


def device_of(wanted: str = "auto") -> str:
    """``cuda`` where there is a GPU, unless the CPU is wanted."""
    return "cuda" if wanted != "cpu" and needed("torch", DEVICE).cuda.is_available() else "cpu"


def at_once_on(
    device: str, pixels_per_gb: float, weights_gb: float = 0.0, share: float = 1.0
) -> int:
    """Pixels a model may be asked about at once: what its share of the GPU has beside its weights.

    It is reckoned from all memory of the first GPU (in GiB, as vendors count it) and not from what
    is free just now, so that it is the same in every process and on every run.
    """
    require_share(share)
    if device != "cuda":
        return 0
    memory = needed("torch", DEVICE).cuda.get_device_properties(0).total_memory / 2**30
    return max(0, int((memory * share - weights_gb) * pixels_per_gb))


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
    torch = needed("torch", DEVICE)
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability() >= AMPERE else torch.float16


def gpus() -> list[tuple[str, float]]:
    """Name and memory in GB of every GPU that torch can use; none where there is no torch."""
    if importlib.util.find_spec("torch") is None:
        return []
    cuda = needed("torch", DEVICE).cuda
    found = map(cuda.get_device_properties, range(cuda.device_count()))
    return [(device.name, device.total_memory / 2**30) for device in found]


def work_alone() -> None:
    """Tell torch, if a model has just been loaded with it, that its calls take one thread each.

    Sums come out in another order with other numbers of threads, so a score would depend on the
    machine; and calls of several workers that all take all cores wait for each other.
    """
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


# ── its weights ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars, lists of weights that were not wanted, and advice about folders."""
    logging = needed("transformers.utils.logging", LOAD)
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def load_model(
    kind: Any, found: Located, device: str, own: bool = False, *, without: str = "", **given: Any
) -> Any:
    """The model with all of its weights on the device: halved in precision on a GPU.

    ``kind`` is a class of transformers. ``own`` runs the model's own code. ``without`` is a part
    that is let go before it comes onto the device.
    """
    device = device_of(device)
    given = {"use_safetensors": True, "dtype": dtype_of(device), **given}
    try:
        with quiet():
            model, report = _read(kind, "model", found, own, output_loading_info=True, **given)
    except RuntimeError as error:  # of other shapes than the config says
        raise unfit(found.path, last_line(error)) from error
    require_all(found.path, report["missing_keys"])
    if without and hasattr(model, without):
        delattr(model, without)
    return model.to(device).eval()


def load_part(kind: str, found: Located, own: bool) -> Any:
    """The tokenizer or the processor of a model, as ``AutoTokenizer`` or such a class reads it."""
    automatic = getattr(needed("transformers", LOAD), f"Auto{kind.capitalize()}")
    return _read(automatic, kind, found, own)


def _read(kind: Any, what: str, found: Located, own: bool, **given: Any) -> Any:
    """What a class of transformers makes of the folder."""
    errors = needed("huggingface_hub.errors", LOAD)
    if own:  # models of transformers need not be told that they have no code of their own
        given["trust_remote_code"] = True
    try:
        return kind.from_pretrained(found.path, local_files_only=True, **given)
    except (OSError, ValueError, ImportError, errors.StrictDataclassError) as error:
        # Libraries that are missing are named behind the first line.
        lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise WeightsMissing(
            f"the {what} of {found.name!r} in {found.path} cannot be loaded: "
            f"{type(error).__name__}: {lines[:400].rstrip('.')}. Usually a package that it needs "
            "is not installed, or a file of the folder was not downloaded."
        ) from error


def require_all(folder: Path, missing: Iterable[str], described_by: str = f"its {CONFIG}") -> None:
    """Refuse weights that lack tensors."""
    if names := sorted(missing):
        raise unfit(folder, f"tensors are missing ({few(names)})", described_by)


def unfit(folder: Path, what: str, described_by: str = f"its {CONFIG}") -> WeightsMissing:
    """The weights belong to another model."""
    return WeightsMissing(
        f"the weights in {folder} do not match {described_by}: {what}. Usually files of two "
        "models were mixed; download the whole folder again."
    )


def last_line(error: Exception) -> str:
    """Where torch says which of the tensors have another shape."""
    return str(error).strip().splitlines()[-1].strip()


# ── what its folder says ─────────────────────────────────────────────────────────────────────────


def config_of(found: Located) -> dict[str, Any]:
    """What the model's folder says of it."""
    config = read_json(found.path / CONFIG)
    if not isinstance(config, dict):
        raise WeightsMissing(
            f"{found.path / CONFIG} does not describe a model. Usually a download or copy was "
            "cut short; download the whole folder again."
        )
    return config


def small_files(folder: Path) -> dict[str, Any]:
    """The small files of a model's folder, by their names."""
    paths = (folder / name for name in FILES)
    return {path.name: read_json(path) for path in paths if path.is_file()}


def settings_of(files: Mapping[str, Any], *parts: str) -> Mapping[str, Any] | None:
    """How pictures have to look; of a file for all, the first of the parts that is there."""
    together = files.get(TOGETHER)
    inside = together if isinstance(together, dict) else {}
    places = [*map(files.get, SETTINGS), *map(inside.get, parts)]
    found = next((place for place in places if place is not None), None)
    return found if isinstance(found, dict) else None


def check_normal(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse what no pixel can be normalised by."""
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError("image_mean and image_std must be three numbers each, the latter not 0")
