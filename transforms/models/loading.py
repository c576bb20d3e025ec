"""Loading a model by transformers: quietly, from files of this machine, and whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finecut.transforms.models.devices import device_of, dtype_of
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    needed,
    read_json,
)
from finecut.transforms.models.weights.missing import few


@contextmanager
def quiet(purpose: str = "load a model") -> Iterator[None]:
    """Without progress bars, lists of weights that were not wanted, and advice about folders."""
    logging = needed("transformers.utils.logging", purpose)
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
    given = {"dtype": dtype_of(device), **given}
    with quiet():
        try:
            model, report = kind.from_pretrained(
                found.path,
                use_safetensors=True,
                output_loading_info=True,
                **_here_only(own),
                **given,
            )
        except _unreadable() as error:
            raise _unread(found, "model", error) from error
        except RuntimeError as error:  # of other shapes than the config says
            raise unfit(found.path, last_line(error)) from error
    require_all(found.path, report["missing_keys"])
    if without and hasattr(model, without):
        delattr(model, without)
    return model.to(device).eval()


def load_part(kind: str, found: Located, own: bool) -> Any:
    """The tokenizer or the processor of a model, as ``AutoTokenizer`` or such a class reads it."""
    automatic = getattr(needed("transformers", "load a model"), f"Auto{kind.capitalize()}")
    try:
        return automatic.from_pretrained(found.path, **_here_only(own))
    except _unreadable() as error:
        raise _unread(found, kind, error) from error


def _here_only(own: bool) -> dict[str, bool]:
    # Models of transformers need not be told that they have no code of their own.
    return {"local_files_only": True, **({"trust_remote_code": True} if own else {})}


def config_of(found: Located) -> dict[str, Any]:
    """What the model's folder says of it."""
    config = read_json(found.path / CONFIG)
    if not isinstance(config, dict):
        raise WeightsMissing(
            f"{found.path / CONFIG} does not describe a model. Usually a download or copy was "
            "cut short; download the whole folder again."
        )
    return config


def require_all(folder: Path, missing: Iterable[str], described_by: str = f"its {CONFIG}") -> None:
    """Refuse weights that lack tensors."""
    names = sorted(missing)
    if names:
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


def _unreadable() -> tuple[type[Exception], ...]:
    """What transformers raises for folders that it cannot read."""
    errors = needed("huggingface_hub.errors", "load a model")
    return (OSError, ValueError, ImportError, errors.StrictDataclassError)


def _unread(found: Located, what: str, error: Exception) -> WeightsMissing:
    """A part of the folder cannot be read."""
    # Libraries that are missing are named behind the first line.
    lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return WeightsMissing(
        f"the {what} of {found.name!r} in {found.path} cannot be loaded: {type(error).__name__}: "
        f"{lines[:400].rstrip('.')}. Usually a package that it needs is not installed, or a file "
        "of the folder was not downloaded."
    )
