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
``.pth``) are taken only for models that are published in no other way, and then by torch's reader
for tensors alone (:func:`load_pickled`): a pickle may otherwise run code.

Well-known models are pinned: what the hub calls ``main`` may be another model tomorrow. An id may
name a commit of its own, ``org/name@0123abc``, which then counts instead of the pin. Which weights
were used comes back with the folder, so that documents can say which model scored a clip: the
commit where it is known, and otherwise a fingerprint of what lies there. A folder filled by ``hf
download --local-dir`` is of its commit until something in it changes (:func:`_commit_of`).

Some models bring their classes as Python files. They run with all rights, so they are run only
when that was permitted and only from files that cannot change meanwhile (:func:`remote_code`).

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
import pickle
import re
import shutil
import threading
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import mkdtemp
from typing import Any

from finecut.io import shelf
from finecut.io.layout import check_relative

#: Models of the hub that finecut was written for → the commit of each.
PINNED = {
    "openai/clip-vit-large-patch14": "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "ttj/sac-logos-ava1-l14-linearMSE": "1e77fa0",
    "Qwen/Qwen2.5-VL-7B-Instruct": "cc59489",
    "Qwen/Qwen3-VL-8B-Instruct": "0c351dd",
    "Qwen/Qwen2.5-14B-Instruct": "cf98f3b",
    "Qwen/Qwen3-14B": "f8c293d",
    "nvidia/Cosmos-Embed1-224p": "787e0b996f5260a71ad474a283c90539a2e12986",
    "nvidia/Cosmos-Embed1-336p": "0e8a28f7bf370f2dcb3b9b61d23e167d0d6b0e6f",
    "nvidia/Cosmos-Embed1-448p": "f60ec73636eb7c9cc25267367713b7b1b0cffaf3",
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16": "5d250e2e111dc5e1434131bdf3d590c27a878ade",
}
#: What of a hub repository is needed: many hold the same weights again in other formats.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
#: What is fetched too when a model's own code is permitted.
CODE = ("*.py",)
#: What is fetched too when pickled weights are taken and there are no others.
PICKLES = ("*.bin", "*.pth", "*.pt")

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_INDEX = "pytorch_model.bin.index.json"
CONFIG = "config.json"

#: Where ``hf download --local-dir`` notes of every file which commit it is of, and since when.
NOTES, NOTE = ".cache/huggingface/download", ".metadata"
#: Seconds by which a file may be younger than its note: some disks keep times no finer.
TOLERANCE = 1

#: Bytes that are read of every tensor to tell weights of the same shapes apart.
SAMPLE = 1024
#: Samples of a pickled file, and how much of its end, where the checksums of its tensors are.
SAMPLES, END = 64, 1 << 16

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_ID_AT = re.compile(rf"({_HUB_ID.pattern})@([^@/]*)")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_CLASS = re.compile(r"([A-Za-z_]\w*)\.[A-Za-z_]\w*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: One download at a time: the threads of a worker all ask for the same model.
_FETCHING = threading.Lock()


class WeightsMissing(Exception):
    """A model cannot be loaded; the message says what was looked for, where, and what helps."""


class CodeRefused(WeightsMissing):
    """A model needs code of its own, and this code is not run."""


@dataclass(frozen=True)
class Located:
    """A folder that holds a whole model."""

    path: Path
    #: As it was asked for, without the commit.
    name: str
    #: The commit of the hub these files are of, or ``fingerprint:…`` where nothing says it.
    revision: str
    #: It is what the hub calls ``main`` at the moment: nobody said which commit is meant.
    unpinned: bool = False


def locate(
    name: str,
    model_dir: str | None = None,
    needs: Sequence[str] = (CONFIG,),
    *,
    code: bool = False,
    pickled: bool = False,
    pinned: bool = False,
) -> Located:
    """The folder of a model, fetched if need be.

    ``needs`` are the files it must hold beside its weights. A model that needs no ``config.json``
    cannot be told from any other, so ``model_dir`` itself is never taken for it. ``code`` fetches
    the model's own Python files too, for those who are permitted to run them (see
    :func:`remote_code`); ``pickled`` takes pickled weights where there are no safetensors;
    ``pinned`` fetches nothing from the hub of which no commit is known.
    """
    wish = _Wish(*named(name), tuple(needs), code, pickled)
    if shelf.is_remote(name):
        return _whole(_fetched(name, wish), wish)
    is_id = _HUB_ID.fullmatch(wish.name) is not None
    if is_id and model_dir is not None:
        below = _below(model_dir, wish)
        if below is not None:
            return _whole(below, wish)
    folder = Path(wish.name).expanduser()
    if folder.is_dir():
        return _whole(folder, wish)
    if not is_id:
        raise WeightsMissing(
            f"there is no folder {name!r} to load a model from, and it is not an id of the hub "
            "either, because those have exactly one slash. Give the folder that holds its "
            f"{WEIGHTS}, a gs:// folder, or an id such as openai/clip-vit-large-patch14."
        )
    unpinned = wish.revision is None
    if unpinned and pinned:
        raise CodeRefused(_no_commit(wish.name, "the hub"))
    return _whole(_from_hub(model_dir, wish), wish, unpinned)


@dataclass(frozen=True)
class _Wish:
    """What is looked for."""

    name: str
    #: The commit that the name asks for.
    commit: str | None
    needs: tuple[str, ...]
    code: bool
    pickled: bool

    @property
    def revision(self) -> str | None:
        """The commit that counts, if any is known."""
        return self.commit or PINNED.get(self.name)


def named(name: str) -> tuple[str, str | None]:
    """A model's name, and the commit it asks for.

    >>> named("org/name@0123abc"), named("org/name"), named("/my/folder@home")
    (('org/name', '0123abc'), ('org/name', None), ('/my/folder@home', None))
    """
    _check_says_something(name)
    match = _HUB_ID_AT.fullmatch(name)
    if match is None or Path(name).is_dir():
        return name, None
    identifier, commit = match.groups()
    if _SHORT_COMMIT.fullmatch(commit) is None:
        raise WeightsMissing(
            f"the model {name!r} asks for {commit!r}, which is not a commit of the hub: those are "
            "7 to 40 of the digits 0-9 and a-f. Names of branches and tags are not taken, because "
            f"they may stand for other weights tomorrow; `hf models info {identifier}` says the "
            "commit behind them."
        )
    return identifier, commit


def _check_says_something(name: str) -> None:
    """Refuse names that would mean the current folder without anybody meaning it."""
    instead = (
        "Give the folder that holds the model's weights, a gs:// folder, or an id such as "
        "openai/clip-vit-large-patch14."
    )
    if not name.strip():
        raise WeightsMissing(
            f"the name of a model is empty ({name!r}). Usually it was to come from a variable that "
            f"is not set. {instead}"
        )
    if not name.strip("./") and not Path(name, CONFIG).is_file():
        raise WeightsMissing(
            f"the model {name!r} would be the folder {Path(name).resolve()}, which holds no "
            f"{CONFIG} and so is no model. Usually a part of the name is missing, or the command "
            f"was started from another folder. {instead}"
        )


def described(
    name: str, model_dir: str | None = None, files: Sequence[str] = (CONFIG,)
) -> dict[str, Any]:
    """What a model's small files say, each by its name, without fetching its weights.

    It is looked for where :func:`locate` would find the model; :data:`CONFIG` has to be there.
    """
    wish = _Wish(*named(name), (CONFIG,), code=False, pickled=False)
    for root in _roots(wish, model_dir):
        found = {file: path for file in files if (path := local_file(f"{root}/{file}"))}
        if CONFIG in found:
            return {file: read_json(path) for file, path in found.items()}
    if shelf.is_remote(name) or _HUB_ID.fullmatch(wish.name) is None:
        locate(name, model_dir)  # says what is missing
    folder = _from_hub(model_dir, wish, files)
    if not (folder / CONFIG).is_file():
        raise WeightsMissing(
            f"the model {name!r} does not say what it is: {CONFIG} is not among its files on the "
            "hub, or was not fetched. Usually it is published for another library; name a model "
            "that transformers loads."
        )
    return {file: read_json(folder / file) for file in files if (folder / file).is_file()}


def _roots(wish: _Wish, model_dir: str | None) -> list[str]:
    """The folders that may hold a model, the first one before the others."""
    if model_dir is None or _HUB_ID.fullmatch(wish.name) is None:
        return [wish.name]
    below = shelf.absolute(model_dir)
    return [f"{below}/{wish.name}", below, wish.name]


def read_json(path: Path) -> Any:
    """What one of a model's small files says."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsMissing(
            f"{path} cannot be read ({first_line(error)}). Usually a download or copy was cut "
            "short; fetch the folder again as a whole."
        ) from error


def _below(model_dir: str, wish: _Wish) -> Path | None:
    """Where ``model_dir`` keeps this model, if it does."""
    nested = f"{shelf.absolute(model_dir)}/{wish.name}"
    if shelf.is_remote(model_dir):
        if shelf.exists(nested):
            return _fetched(nested, wish)
        alone = CONFIG in wish.needs and shelf.exists(f"{shelf.absolute(model_dir)}/{CONFIG}")
        return _fetched(model_dir, wish) if alone else None
    if Path(nested).is_dir():
        return Path(nested)
    here = Path(model_dir).expanduser()
    return here if CONFIG in wish.needs and (here / CONFIG).is_file() else None


# ── whole or refused ─────────────────────────────────────────────────────────────────────────────


def _whole(folder: Path, wish: _Wish, unpinned: bool = False) -> Located:
    check_whole(folder, wish.name, wish.needs, pickled=wish.pickled)
    weights = weight_files(folder, wish.name, pickled=wish.pickled)
    commit = _commit_of(folder, {*_beside_weights(folder, wish.needs), *weights})
    if commit is not None and wish.commit is not None and not commit.startswith(wish.commit):
        again = _command(wish.name, folder, wish.commit, wish.code)
        raise WeightsMissing(
            f"the model {wish.name!r} is asked for at the commit {wish.commit}, and the files in "
            f"{folder} are of the commit {commit}. Usually the folder was filled before: fetch it "
            f"again with {again}, or ask for {wish.name}@{commit[:7]}."
        )
    revision = commit or fingerprint(folder, wish.name, wish.needs, pickled=wish.pickled)
    return Located(folder, wish.name, revision, unpinned)


def check_whole(
    folder: Path, name: str, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> None:
    """Refuse a folder that holds only a part of a model."""
    shards = _shards(folder, name, pickled)
    missing = [file for file in (*needs, *shards) if not (folder / file).is_file()]
    if missing:
        raise WeightsMissing(
            f"the model {name!r} in {folder} is not whole: {_few(missing)} is not there. Usually a "
            f"download or copy was cut short. {_again(name, folder)}"
        )
    for shard in shards:
        damage = _damage(folder / shard)
        if damage is not None:
            raise WeightsMissing(
                f"the weights {folder / shard} are damaged: {damage}. Usually a download or copy "
                "was cut short, or the file is only a pointer of Git LFS. "
                f"{_again(name, folder)}"
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
            f"the model {name!r} in {folder} has no {WEIGHTS}, and of its pickled files nothing "
            f"says which are its weights: {_few(found)}. Leave one of them in the folder."
        )
    return found if len(found) == 1 else ["pytorch_model.bin"] if found else [WEIGHTS]


def _indexed(path: Path, name: str) -> list[str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsMissing(
            f"{path} does not say which files hold the weights of {name!r} ({error!r}). "
            f"Usually a download was cut short. {_again(name, path.parent)}"
        ) from error


def _damage(path: Path) -> str | None:
    """What is wrong with a file of weights, by its own account of itself."""
    length = path.stat().st_size
    if path.suffix != ".safetensors":
        # The list of what is in it comes last, so that one that was cut short has none.
        return None if zipfile.is_zipfile(path) else f"its {length:,} bytes end without a list"
    header = _header(path)
    if header is None:
        return f"the file has {length:,} bytes and has no header"
    start, tensors = header
    expected = start + max((end for _, end in tensors.values()), default=0)
    if length == expected:
        return None
    return f"the file has {length:,} bytes and says it has {expected:,}"


def _header(path: Path) -> tuple[int, dict[str, tuple[int, int]]] | None:
    """Where the tensors of a file of safetensors begin, and the place of each from there on."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            return None
        try:
            header = json.loads(file.read(size))
            places = {
                key: at["data_offsets"] for key, at in header.items() if key != "__metadata__"
            }
            return 8 + size, {key: (int(at[0]), int(at[1])) for key, at in places.items()}
        except (ValueError, KeyError, IndexError, AttributeError, TypeError):
            return None


def fingerprint(
    folder: Path, name: str, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> str:
    """A name for the files in a folder, by which other weights of the same shapes are told apart.

    Of the weights a thousand bytes of every tensor are read, so that a model of 28 GB takes a
    moment, and a model of which a single layer was trained further has another name. Configuration,
    words and code count as a whole. Two copies of one model have the same fingerprint.
    """
    digest = hashlib.sha256()
    for path in sorted(_beside_weights(folder, needs)):
        _add(digest, path.relative_to(folder).as_posix().encode(), path.read_bytes())
    for path in weight_files(folder, name, pickled=pickled):
        _add(digest, path.name.encode(), str(path.stat().st_size).encode(), *_samples(path))
    return f"fingerprint:{digest.hexdigest()[:12]}"


def _beside_weights(folder: Path, needs: Sequence[str]) -> set[Path]:
    """The files that say what a model does with its weights: configuration, words and code."""
    found = {path for path in folder.rglob("*") if _counts(path.relative_to(folder))}
    return {path for path in found if path.is_file()} | {folder / file for file in needs}


def _counts(path: PurePath) -> bool:
    """Whether a file of this path within the folder is one of those beside the weights."""
    if path.suffix == ".py":  # also in packages of the model's own
        return not any(part.startswith(".") for part in path.parts)
    if len(path.parts) > 1 or path.suffix == ".safetensors":
        return False
    return any(path.match(kind) for kind in WANTED)


def _add(digest: Any, *parts: bytes) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _samples(path: Path) -> Iterator[bytes]:
    """The header of a file of weights, and some bytes from the middle of every tensor."""
    header = _header(path) if path.suffix == ".safetensors" else None
    length = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        if header is None:
            places = [length * i // SAMPLES for i in range(SAMPLES)]
            blocks = [*((at, SAMPLE) for at in places), (max(0, length - END), END)]
        else:
            start, tensors = header
            middles = [
                (start + max(first, (first + end - SAMPLE) // 2), min(SAMPLE, end - first))
                for first, end in sorted(tensors.values())
            ]
            blocks = [(0, start), *middles]
        for at, count in blocks:
            file.seek(at)
            yield file.read(count)


def _again(name: str, folder: Path) -> str:
    if _HUB_ID.fullmatch(name) is None or folder == Path(name).expanduser():
        return "Copy the folder again, with all its files."
    # Into the hub's own cache goes what has no other folder named.
    target = None if folder.parent.name == "snapshots" else folder
    return f"Fetch it again: {_command(name, target)}"


def _command(name: str, folder: Path | None, commit: str | None = None, code: bool = False) -> str:
    """What a person types to have the model in a folder, or in the hub's cache."""
    commit = commit or PINNED.get(name)
    revision = "" if commit is None else f" --revision {commit}"
    place = "" if folder is None else f" --local-dir {folder}"
    code_too = " --include '*.py'" if code else ""
    return (
        f"`hf download {name}{revision} --include '*.safetensors' --include '*.json' "
        f"--include '*.txt'{code_too}{place}`"
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _commit_of(folder: Path, files: Iterable[Path]) -> str | None:
    """The commit of the hub that these files are of, if it is sure.

    The hub's own cache calls a snapshot by its commit. ``--local-dir`` leaves a note for each file,
    and what the notes say counts only while it holds for every file: none was written after its
    note, none was added that has no note, none of those that were noted is gone. A copy that does
    not keep the times of its files looks like one that was written later, so that copies (and
    what came out of a store) have a fingerprint instead.
    """
    if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        return folder.name
    notes = folder / NOTES
    noted = (path.relative_to(notes) for path in notes.rglob(f"*{NOTE}"))
    plain = (path.with_name(path.name.removesuffix(NOTE)) for path in noted)
    names = {path.relative_to(folder) for path in files} | {path for path in plain if _counts(path)}
    said = {_noted(notes / f"{name}{NOTE}", folder / name) for name in names}
    # Files of several commits are a mixture without a name.
    return said.pop() if len(said) == 1 else None


def _noted(note: Path, file: Path) -> str | None:
    """The commit that is noted of a file, if the file was not written since."""
    try:
        commit, _, saved, *_ = note.read_text(encoding="utf-8").split("\n")
        unchanged = file.stat().st_mtime - TOLERANCE <= float(saved)
    except (OSError, ValueError):  # a note or file that is not there, or a note of another kind
        return None
    return commit if unchanged and _COMMIT.fullmatch(commit) else None


# ── pickled weights ──────────────────────────────────────────────────────────────────────────────


def load_pickled(path: Path) -> Any:
    """What a pickled file holds, as far as it is tensors and numbers; nothing else is let in."""
    torch = needed("torch", "pip install 'finecut[models]'", f"read {path.name}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsMissing(
            f"{path} does not hold tensors alone ({first_line(error)}), and whatever else a pickle "
            "holds may run code when it is read. Usually a whole training state was saved; on a "
            "machine of its own, load it and save its tensors with safetensors.torch.save_file."
        ) from error


# ── code of the model's own ──────────────────────────────────────────────────────────────────────


def remote_code(located: Located, allowed: bool) -> bool:
    """Whether this model is loaded with Python files of its own, which must then be permitted.

    Only files that lie in the model's own folder are run, and from the hub only those of a commit
    that somebody named: otherwise what runs tomorrow is not what was looked at today.
    """
    classes = list(_own_classes(located.path))
    if not classes:
        return False
    what = f"the model {located.name!r} in {located.path}"
    if not allowed:
        raise CodeRefused(not_permitted(located.name, f"{located.path}, {classes[0]} for one"))
    if located.unpinned:
        raise CodeRefused(_no_commit(located.name, str(located.path)))
    for one in classes:
        if "--" in one:
            raise CodeRefused(
                f"{what} takes its code from another repository, {one.partition('--')[0]}, of "
                "which no commit is named, so that it may change at any time. Copy the Python "
                f"files of that repository into the folder and let {CONFIG} name them without "
                "the repository."
            )
        match = _CLASS.fullmatch(one)
        if match is None or not (located.path / f"{match[1]}.py").is_file():
            file = "no Python file" if match is None else f"{match[1]}.py"
            raise CodeRefused(
                f"{what} wants the class {one} of its own code, and {file} is not there. Usually "
                "only the weights were downloaded or copied: fetch its Python files too."
            )
    return True


def not_permitted(name: str, where: str) -> str:
    """Why a model's own code is not run."""
    return (
        f"the model {name!r} brings Python code of its own ({where}), and such code runs with all "
        "rights of whoever starts finecut: it may read, send and delete whatever they may. If you "
        "trust those who published it, give --trust-remote-code."
    )


def _no_commit(name: str, where: str) -> str:
    return (
        f"the model {name!r} ({where}) brings Python code of its own and was asked for without a "
        "commit, so that whoever owns it could have other code run here tomorrow. Name the commit "
        f"that you looked at, {name}@COMMIT, or give the folder that holds {name} as --model-dir."
    )


def _own_classes(folder: Path) -> Iterator[str]:
    """The classes that a model's configuration names beyond those of its library."""
    # Also the processors': whichever of them is loaded, it is found by a file of this kind.
    for path in sorted(folder.glob("*config.json")):
        yield from _mapped(read_json(path))


def _mapped(value: Any) -> Iterator[str]:
    """What every ``auto_map`` points at; parts of a model have configurations of their own."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner) if key == "auto_map" else _mapped(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mapped(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


# ── from a store ─────────────────────────────────────────────────────────────────────────────────


def cache_folder() -> Path:
    """Where fetched models stay: ``$FINECUT_CACHE``, or ``~/.cache/finecut/models``."""
    named = os.environ.get("FINECUT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache/finecut/models"


def _fetched(uri: str, wish: _Wish) -> Path:
    return fetch(uri, cache_folder(), wish.needs, pickled=wish.pickled)


def fetch(
    uri: str, cache: Path, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> Path:
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
                _copy(path, part / _below_the_folder(name, uri))
            check_whole(part, uri, needs, pickled=pickled)
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


def _below_the_folder(name: str, uri: str) -> str:
    """A store's names may lead anywhere, also out of the folder they are copied to."""
    try:
        return check_relative(name)
    except ValueError as error:
        raise WeightsMissing(
            f"the model {uri!r} has a file that no folder can hold: {error} Remove that file, or "
            "copy the others into a folder of their own."
        ) from error


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


def _from_hub(model_dir: str | None, wish: _Wish, only: Sequence[str] = ()) -> Path:
    """The snapshot in the hub's own cache, downloaded unless the machine is to stay offline.

    ``only`` are the files that are wanted, where that is not the whole model.
    """
    name = wish.name
    why = ("pip install 'finecut[models]'", f"fetch the model {name!r}")
    hub, errors = needed("huggingface_hub", *why), needed("huggingface_hub.errors", *why)
    cache = Path(needed("huggingface_hub.constants", *why).HF_HUB_CACHE)
    held = _held(cache, wish, only)
    if held is not None:
        return held
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    wanted = [*only] or [*WANTED, *(CODE if wish.code else ())]
    rest = {"revision": wish.revision, "cache_dir": cache, "local_files_only": offline}
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=wanted, **rest))
        plain = any((folder / file).is_file() for file in (WEIGHTS, INDEX))
        if wish.pickled and not (plain or only):
            wanted += PICKLES
            folder = Path(hub.snapshot_download(name, allow_patterns=wanted, **rest))
    # The bases of the hub's error are those of its HTTP library, which differs between versions.
    except (*errors.HfHubHTTPError.__bases__, OSError, ValueError) as error:
        reason = "HF_HUB_OFFLINE forbids to download it" if offline else first_line(error)
        command = _command(name, Path("models", name), wish.commit, wish.code)
        where = "--model-dir was not given" if model_dir is None else f"not below {model_dir}"
        raise WeightsMissing(
            f"the weights of {name!r} are not on this machine ({where}, there is no folder of that "
            f"name, and the cache {cache} does not hold all of them), and the hub did not give "
            f"them: {reason}. Usually workers have no way to the internet. Where there is one, run "
            f"{command} and give --model-dir models, or copy that folder to a bucket and give "
            "--model-dir gs://…"
        ) from error
    return folder


def _held(cache: Path, wish: _Wish, only: Sequence[str] = ()) -> Path | None:
    """The commit that is asked for in the hub's cache, if it is whole there.

    A commit never changes, so the hub need not be asked; without a network that takes 23 seconds.
    """
    if wish.revision is None:
        return None
    repository = cache / f"models--{wish.name.replace('/', '--')}"
    for folder in repository.glob(f"snapshots/{wish.revision}*"):
        with contextlib.suppress(WeightsMissing):
            check_whole(folder, wish.name, wish.needs, pickled=wish.pickled)
            if wish.code:  # perhaps it was fetched by somebody who did not want the code
                remote_code(Located(folder, wish.name, folder.name), allowed=True)
            return folder
        if only and all((folder / file).is_file() for file in only):
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
