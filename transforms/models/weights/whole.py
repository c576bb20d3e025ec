"""Whether a folder holds a whole model: all of its weights, and each file as long as it says.

The weights are ``model.safetensors``, or every shard that the index names. A download that was cut
short would otherwise load as a model whose last layers are noise. Pickled weights (``.bin``,
``.pth``) are taken only for models that are published in no other way, and then by torch's reader
for tensors alone (:func:`load_pickled`): a pickle may otherwise run code.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finecut.transforms.models.weights.missing import WeightsMissing, few, first_line, needed
from finecut.transforms.models.weights.naming import CONFIG, HUB_ID, PICKLES, command

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_INDEX = "pytorch_model.bin.index.json"


def check_whole(
    folder: Path, name: str, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> None:
    """Refuse a folder that holds only a part of a model."""
    shards = _shards(folder, name, pickled)
    missing = [file for file in (*needs, *shards) if not (folder / file).is_file()]
    if missing:
        raise WeightsMissing(
            f"the model {name!r} in {folder} is incomplete: {few(missing)} is missing. Usually a "
            f"download or copy was cut short. {_again(name, folder)}"
        )
    for shard in shards:
        damage = _damage(folder / shard)
        if damage is not None:
            raise WeightsMissing(
                f"the weights {folder / shard} are damaged: {damage}. Usually a download or copy "
                f"was cut short, or the file is only a Git LFS pointer. {_again(name, folder)}"
            )


def weight_files(folder: Path, name: str, *, pickled: bool = False) -> list[Path]:
    """The files that hold a model's weights: one, or its shards in the order of their names."""
    return [folder / shard for shard in _shards(folder, name, pickled)]


def _shards(folder: Path, name: str, pickled: bool = False) -> list[str]:
    """The files a model's weights are in; safetensors before all others."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    for index in (INDEX, PICKLED_INDEX) if pickled else (INDEX,):
        if (folder / index).is_file():
            return _indexed(folder / index, name)
    if not pickled:
        return [WEIGHTS]
    found = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if len(found) > 1 and "pytorch_model.bin" not in found:
        raise WeightsMissing(
            f"the model {name!r} in {folder} has no {WEIGHTS}, and it is not clear which of its "
            f"pickled files are its weights: {few(found)}. Leave only one of them in the folder."
        )
    return found if len(found) == 1 else ["pytorch_model.bin"] if found else [WEIGHTS]


def _indexed(path: Path, name: str) -> list[str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsMissing(
            f"{path} does not say which files contain the weights of {name!r} ({error!r}). "
            f"Usually a download was cut short. {_again(name, path.parent)}"
        ) from error


def _damage(path: Path) -> str | None:
    """What is wrong with a file of weights, by its own account of itself."""
    length = path.stat().st_size
    if path.suffix != ".safetensors":
        # The list of what is in it comes last, so that one that was cut short has none.
        return (
            None
            if zipfile.is_zipfile(path)
            else f"its {length:,} bytes end before the list of tensors"
        )
    library = needed("safetensors", f"read {path.name}")
    try:
        with library.safe_open(path, framework="numpy"):  # reads and checks the header alone
            return None
    except (library.SafetensorError, OSError) as error:
        return f"safetensors cannot read its {length:,} bytes ({first_line(error)})"


def _again(name: str, folder: Path) -> str:
    if HUB_ID.fullmatch(name) is None or folder == Path(name).expanduser():
        return "Copy the folder again, with all its files."
    # Into the hub's own cache goes what has no other folder named.
    target = None if folder.parent.name == "snapshots" else folder
    return f"Download it again: {command(name, target)}"


def load_pickled(path: Path) -> Any:
    """What a pickled file holds, as far as it is tensors and numbers; nothing else is let in."""
    torch = needed("torch", f"read {path.name}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsMissing(
            f"{path} contains more than tensors ({first_line(error)}), and anything else in a "
            "pickle may run code when it is read. Usually a whole training state was saved; load "
            "it on a separate machine and save its tensors with safetensors.torch.save_file."
        ) from error
