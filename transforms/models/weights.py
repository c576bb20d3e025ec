"""Where the weights of a model are: found, fetched once, and whole before anybody loads them.

A model is named in one of three ways, and :func:`locate` makes a local folder of each::

    models/my-clip                  a local folder      used as it is
    gs://bucket/models/my-clip      a folder of a store copied into the cache, once
    openai/clip-vit-large-patch14   an id of the        <model_dir>/<id>, else model_dir if it
                                    Hugging Face hub    holds a config.json, else a folder of that
                                                        name, else the hub's cache, else the hub

``<model_dir>/<id>`` is how NeMo Curator keeps its weights, so a folder filled by it (or by ``hf
download --local-dir``) serves here too; ``model_dir`` may lie in a store like any other folder.

A folder is given out only when it is whole: the weights are ``model.safetensors``, or every shard
that the index names, and every file is as long as its own header says. A download that was cut
short would otherwise load as a model whose last layers are noise. Pickled weights (``.bin``,
``.pth``) are not read: they may run code.

The commit that was used comes back with the folder, as far as it is known, so that documents can
say which model scored a clip. Well-known models are pinned: what the hub calls ``main`` may be
another model tomorrow.

Small models lie inside packages of PyPI; :func:`package_file` finds them without importing the
package, whose other dependencies are then not needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from finecut.io import shelf

#: Models of the hub that finecut was written for → the commit of each.
PINNED = {
    "openai/clip-vit-large-patch14": "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "ttj/sac-logos-ava1-l14-linearMSE": "1e77fa0",
    "Qwen/Qwen2.5-VL-7B-Instruct": "cc59489",
    "Qwen/Qwen3-VL-8B-Instruct": "0c351dd",
}
#: What of a hub repository is needed: many hold the same weights again in other formats.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: One download at a time: the threads of a worker all ask for the same model.
_FETCHING = threading.Lock()


class WeightsMissing(Exception):
    """A model cannot be loaded; the message says what was looked for, where, and what helps."""


@dataclass(frozen=True)
class Located:
    """A folder that holds a whole model."""

    path: Path
    #: As it was asked for.
    name: str
    #: The commit of the hub these files are of; ``None`` where nothing says it.
    revision: str | None


def locate(name: str, model_dir: str | None = None, needs: Sequence[str] = (CONFIG,)) -> Located:
    """The folder of a model, fetched if need be.

    ``needs`` are the files it must hold beside its weights. A model that needs no ``config.json``
    cannot be told from any other, so ``model_dir`` itself is never taken for it.
    """
    if shelf.is_remote(name):
        return _whole(_fetched(name, needs), name, needs)
    is_id = _HUB_ID.fullmatch(name) is not None
    if is_id and model_dir is not None:
        below = _below(model_dir, name, needs)
        if below is not None:
            return _whole(below, name, needs)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _whole(folder, name, needs)
    if not is_id:
        raise WeightsMissing(
            f"there is no folder {name!r} to load a model from, and it is not an id of the hub "
            "either, because those have exactly one slash. Give the folder that holds its "
            f"{WEIGHTS}, a gs:// folder, or an id such as openai/clip-vit-large-patch14."
        )
    return _whole(_from_hub(name, model_dir, needs), name, needs)


def _below(model_dir: str, name: str, needs: Sequence[str]) -> Path | None:
    """Where ``model_dir`` keeps this model, if it does."""
    nested = f"{shelf.absolute(model_dir)}/{name}"
    if shelf.is_remote(model_dir):
        if shelf.exists(nested):
            return _fetched(nested, needs)
        alone = CONFIG in needs and shelf.exists(f"{shelf.absolute(model_dir)}/{CONFIG}")
        return _fetched(model_dir, needs) if alone else None
    if Path(nested).is_dir():
        return Path(nested)
    here = Path(model_dir).expanduser()
    return here if CONFIG in needs and (here / CONFIG).is_file() else None


# ── whole or refused ─────────────────────────────────────────────────────────────────────────────


def _whole(folder: Path, name: str, needs: Sequence[str]) -> Located:
    check_whole(folder, name, needs)
    return Located(folder, name, _commit_of(folder))


def check_whole(folder: Path, name: str, needs: Sequence[str] = (CONFIG,)) -> None:
    """Refuse a folder that holds only a part of a model."""
    shards = _shards(folder, name)
    missing = [file for file in (*needs, *shards) if not (folder / file).is_file()]
    if missing:
        raise WeightsMissing(
            f"the model {name!r} in {folder} is not whole: {_few(missing)} is not there. Usually a "
            f"download or copy was cut short. {_again(name, folder)}"
        )
    for shard in shards:
        length, expected = (folder / shard).stat().st_size, _length_said(folder / shard)
        if length != expected:
            should = "has no header" if expected is None else f"says it has {expected:,}"
            raise WeightsMissing(
                f"the weights {folder / shard} are damaged: the file has {length:,} bytes and "
                f"{should}. Usually a download or copy was cut short, or the file is only a "
                f"pointer of Git LFS. {_again(name, folder)}"
            )


def _shards(folder: Path, name: str) -> list[str]:
    """The files a model's weights are in."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [WEIGHTS]
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsMissing(
            f"{folder / INDEX} does not say which files hold the weights of {name!r} ({error!r}). "
            f"Usually a download was cut short. {_again(name, folder)}"
        ) from error


def _length_said(path: Path) -> int | None:
    """How long a file of safetensors must be: its header names the place of every tensor."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            return None
        try:
            header = json.loads(file.read(size))
            ends = [at["data_offsets"][1] for key, at in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, AttributeError, TypeError):
            return None
    return 8 + size + max(ends, default=0)


def _again(name: str, folder: Path) -> str:
    if _HUB_ID.fullmatch(name) is None or folder == Path(name).expanduser():
        return "Copy the folder again, with all its files."
    # Into the hub's own cache goes what has no other folder named.
    target = None if folder.parent.name == "snapshots" else folder
    return f"Fetch it again: {_command(name, target)}"


def _command(name: str, folder: Path | None) -> str:
    """What a person types to have the model in a folder, or in the hub's cache."""
    revision = f" --revision {PINNED[name]}" if name in PINNED else ""
    place = "" if folder is None else f" --local-dir {folder}"
    return (
        f"`hf download {name}{revision} --include '*.safetensors' --include '*.json' "
        f"--include '*.txt'{place}`"
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _commit_of(folder: Path) -> str | None:
    """The commit of the hub, as its own cache and ``--local-dir`` leave it behind."""
    if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        return folder.name
    notes = sorted((folder / ".cache/huggingface/download").glob("*.metadata"))
    said = {note.read_text(encoding="utf-8").split("\n", 1)[0].strip() for note in notes}
    # Files of several commits are a mixture without a name.
    return commit if len(said) == 1 and _COMMIT.fullmatch(commit := said.pop()) else None


# ── from a store ─────────────────────────────────────────────────────────────────────────────────


def cache_folder() -> Path:
    """Where fetched models stay: ``$FINECUT_CACHE``, or ``~/.cache/finecut/models``."""
    named = os.environ.get("FINECUT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache/finecut/models"


def _fetched(uri: str, needs: Sequence[str]) -> Path:
    return fetch(uri, cache_folder(), needs)


def fetch(uri: str, cache: Path, needs: Sequence[str] = (CONFIG,)) -> Path:
    """Copy a folder of a store into the cache, whole or not at all; once is enough.

    The name in the cache follows from the names, sizes and times of the files, so that a model that
    was replaced, or was still being uploaded the first time, is fetched again.
    """
    root = shelf.absolute(uri)
    files = {path: path.removeprefix(f"{root}/") for path in sorted(shelf.files_below(root))}
    if not files:
        raise WeightsMissing(
            f"there is no file below {uri}, where a model was to be. Usually the name of the "
            "folder is mistyped, or the upload went elsewhere: list it with "
            f"`gcloud storage ls {root}`."
        )
    with _FETCHING:
        versions = ((name, shelf.version_of(path)) for path, name in files.items())
        listing = json.dumps([root, *versions])
        digest = hashlib.sha256(listing.encode()).hexdigest()[:16]
        final = cache / f"{root.rsplit('/', 1)[-1]}-{digest}"
        if final.is_dir():
            return final
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=".part-", dir=cache))
        try:
            for path, name in files.items():
                _copy(path, part / name)
            check_whole(part, uri, needs)
            # Another process may have been faster: its folder is as good.
            with contextlib.suppress(OSError):
                part.rename(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    if not final.is_dir():
        raise WeightsMissing(
            f"the model fetched from {uri} could not be moved to {final}. Usually the disk is "
            "full; name a folder with room in the environment variable FINECUT_CACHE."
        )
    return final


def local_file(uri: str) -> Path | None:
    """One file, copied into the cache if it lies in a store; ``None`` if it is not there."""
    if not shelf.is_remote(uri):
        path = Path(uri).expanduser()
        return path if path.is_file() else None
    if not shelf.exists(uri):
        return None
    key = hashlib.sha256(f"{uri} {shelf.version_of(uri)}".encode()).hexdigest()[:16]
    final = cache_folder() / key / uri.rsplit("/", 1)[-1]
    with _FETCHING:
        if not final.is_file():
            part = final.with_name(f".part-{uuid.uuid4().hex}")
            _copy(uri, part)
            part.replace(final)
    return final


def _copy(path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with shelf.open_source(path) as source:
        if isinstance(source, str):
            shutil.copyfile(source, target)
            return
        with target.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)


# ── from the hub ─────────────────────────────────────────────────────────────────────────────────


def _from_hub(name: str, model_dir: str | None, needs: Sequence[str]) -> Path:
    """The snapshot in the hub's own cache, downloaded unless the machine is to stay offline."""
    why = ("pip install 'finecut[models]'", f"fetch the model {name!r}")
    hub, errors = needed("huggingface_hub", *why), needed("huggingface_hub.errors", *why)
    cache = Path(needed("huggingface_hub.constants", *why).HF_HUB_CACHE)
    held = _held(name, cache, needs)
    if held is not None:
        return held
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    try:
        folder = hub.snapshot_download(
            name,
            revision=PINNED.get(name),
            cache_dir=cache,
            allow_patterns=list(WANTED),
            local_files_only=offline,
        )
    # The bases of the hub's error are those of its HTTP library, which differs between versions.
    except (*errors.HfHubHTTPError.__bases__, OSError, ValueError) as error:
        reason = "HF_HUB_OFFLINE forbids to download it" if offline else first_line(error)
        where = "--model-dir was not given" if model_dir is None else f"not below {model_dir}"
        raise WeightsMissing(
            f"the weights of {name!r} are not on this machine ({where}, there is no folder of that "
            f"name, and the cache {cache} does not hold all of them), and the hub did not give "
            f"them: {reason}. Usually workers have no way to the internet. Where there is one, run "
            f"{_command(name, Path('models', name))} and give --model-dir models, or copy that "
            "folder to a bucket and give --model-dir gs://…"
        ) from error
    return Path(folder)


def _held(name: str, cache: Path, needs: Sequence[str]) -> Path | None:
    """The pinned commit in the hub's cache, if it is whole there.

    A commit never changes, so the hub need not be asked; without a network that takes 23 seconds.
    """
    if name in PINNED:
        repository = cache / f"models--{name.replace('/', '--')}"
        for folder in repository.glob(f"snapshots/{PINNED[name]}*"):
            with contextlib.suppress(WeightsMissing):
                check_whole(folder, name, needs)
                return folder
    return None


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["without a reason"]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"


# ── inside packages ──────────────────────────────────────────────────────────────────────────────


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *parts)
        if path.is_file():
            return path
    return None


def needed(module: str, install: str, purpose: str) -> Any:
    """Import a library that need not be installed, or say what it is needed for."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise WeightsMissing(
            f"the Python package {module} is needed to {purpose} and cannot be imported here "
            f"({error}). Usually finecut was installed without its models: run `{install}`."
        ) from error


def open_packaged(package: str, *parts: str, install: str, purpose: str) -> Any:
    """An ONNX session on a model that lies inside a package, working on one thread.

    One thread, because the pipeline already scores one clip per core; more would only get into
    each other's way, and sums would come out in another order.
    """
    path = package_file(package, *parts)
    if path is None:
        raise WeightsMissing(
            f"the file {'/'.join((package, *parts))} is needed to {purpose}, and no installed "
            f"package holds it. Usually the package is not installed: run `{install}`. Without "
            "--no-deps it brings libraries that finecut does not need."
        )
    runtime = needed("onnxruntime", "pip install onnxruntime", purpose)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
