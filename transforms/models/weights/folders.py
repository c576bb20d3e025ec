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

Fetching from the hub is the work of ``huggingface_hub``: a file that breaks off is gone on with,
files appear whole, and cache, token, endpoint (``HF_ENDPOINT``) and staying offline
(``HF_HUB_OFFLINE``) are those of all programs that use it. What is added here: which commit and
which files are wanted, what a person can do where they cannot be had, and that a commit that is
there is not asked for.

What others need of a model's files is found here; beside it live ``naming`` (names, commits, pins,
what is raised, small models inside packages of PyPI) and ``whole`` (whole folders, revisions, a
model's own code).
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from finecut.io.layout import check_relative
from finecut.io.storage import files as shelf
from finecut.transforms.models.weights.naming import (
    CODE,
    CONFIG,
    HUB_ID,
    PICKLES,
    PINNED,
    WANTED,
    CodeRefused,
    Located,
    WeightsMissing,
    Wish,
    command,
    few,
    first_line,
    named,
    needed,
    read_json,
)
from finecut.transforms.models.weights.whole import (
    INDEX,
    WEIGHTS,
    beside_weights,
    check_whole,
    commit_of,
    fingerprint,
    load_pickled,
    no_commit,
    not_permitted,
    remote_code,
    weight_files,
)

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
    "few",
    "first_line",
    "held",
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

#: One download at a time: the threads of a worker all ask for the same model.
_FETCHING = threading.Lock()


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
    if is_id and model_dir is not None and (below := _below(model_dir, wish)) is not None:
        return _whole(below, wish)
    if (folder := Path(wish.name).expanduser()).is_dir():
        return _whole(folder, wish)
    if not is_id:
        raise WeightsMissing(
            f"there is no folder {name!r} from which to load a model, and it is not an id of the "
            "hub either, because those contain exactly one slash. Give the folder that contains "
            f"its {WEIGHTS}, a folder in a bucket (gs://…, s3://…), or an id such as "
            "openai/clip-vit-large-patch14."
        )
    unpinned = wish.revision is None
    if unpinned and pinned:
        raise no_commit(wish.name, "the hub")
    return _whole(from_hub(model_dir, wish), wish, unpinned)


def described(
    name: str, model_dir: str | None = None, files: Sequence[str] = (CONFIG,)
) -> dict[str, Any]:
    """What a model's small files say, each by its name, without fetching its weights.

    It is looked for where :func:`locate` would find the model; :data:`CONFIG` has to be there.
    """
    wish = Wish(*named(name), (CONFIG,), code=False, pickled=False)
    is_id = HUB_ID.fullmatch(wish.name) is not None
    below = shelf.absolute(model_dir) if model_dir is not None and is_id else None
    for root in (wish.name,) if below is None else (f"{below}/{wish.name}", below, wish.name):
        found = {file: path for file in files if (path := local_file(f"{root}/{file}"))}
        if CONFIG in found:
            return {file: read_json(path) for file, path in found.items()}
    if not is_id:
        locate(name, model_dir)  # says what is missing
    folder = from_hub(model_dir, wish, files)
    if not (folder / CONFIG).is_file():
        raise WeightsMissing(
            f"the model {name!r} has no description: {CONFIG} is not among its files on the hub, "
            "or was not downloaded. Usually it is published for another library; give a model "
            "that transformers can load."
        )
    return {file: read_json(folder / file) for file in files if (folder / file).is_file()}


def _below(model_dir: str, wish: Wish) -> Path | None:
    """Where ``model_dir`` keeps this model, if it does."""
    root = shelf.absolute(model_dir)
    nested, alone = f"{root}/{wish.name}", CONFIG in wish.needs
    if shelf.is_remote(model_dir):
        if shelf.exists(nested):
            return _fetched(nested, wish)
        return _fetched(model_dir, wish) if alone and shelf.exists(f"{root}/{CONFIG}") else None
    if Path(nested).is_dir():
        return Path(nested)
    here = Path(model_dir).expanduser()
    return here if alone and (here / CONFIG).is_file() else None


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


# ── the hub ──────────────────────────────────────────────────────────────────────────────────────


def from_hub(model_dir: str | None, wish: Wish, only: Sequence[str] = ()) -> Path:
    """The snapshot in the hub's own cache, downloaded unless the machine is to stay offline.

    ``only`` are the files that are wanted, where that is not the whole model.
    """
    why = f"download the model {wish.name!r}"
    hub, errors = needed("huggingface_hub", why), needed("huggingface_hub.errors", why)
    cache = Path(needed("huggingface_hub.constants", why).HF_HUB_CACHE)
    if (there := held(cache, wish, only)) is not None:
        return there
    try:
        return _downloaded(hub, cache, wish, only)
    # The bases of the hub's error are those of its HTTP library, which differs between versions.
    except (*errors.HfHubHTTPError.__bases__, OSError, ValueError) as error:
        forbidden = hub.is_offline_mode() and "HF_HUB_OFFLINE forbids downloads"
        where = "--model-dir was not given" if model_dir is None else f"not below {model_dir}"
        typed = command(wish.name, Path("models", wish.name), wish.commit, wish.code)
        raise WeightsMissing(
            f"the weights of {wish.name!r} are not on this machine ({where}, there is no folder "
            f"of that name, and the cache {cache} does not contain all of them), and they could "
            f"not be downloaded from the hub: {forbidden or first_line(error)}. Usually the "
            f"workers have no internet access. On a machine with internet access, run {typed} and "
            "give --model-dir models, or copy that folder to a bucket and give its address "
            "(--model-dir gs://…, s3://…)"
        ) from error


def _downloaded(hub: Any, cache: Path, wish: Wish, only: Sequence[str]) -> Path:
    wanted = [*only] or [*WANTED, *(CODE if wish.code else ())]
    rest = {"revision": wish.revision, "cache_dir": cache}
    folder = Path(hub.snapshot_download(wish.name, allow_patterns=wanted, **rest))
    if not wish.pickled or any((folder / file).is_file() for file in (WEIGHTS, INDEX)) or only:
        return folder
    return Path(hub.snapshot_download(wish.name, allow_patterns=[*wanted, *PICKLES], **rest))


def held(cache: Path, wish: Wish, only: Sequence[str] = ()) -> Path | None:
    """The commit that is asked for in the hub's cache, if it is whole there.

    A commit never changes, so the hub need not be asked; without a network that takes 23 seconds.
    The library finds a commit only by all of its 40 digits, and holds a snapshot for whole when it
    has every file of a pattern, which nobody who fetched it for another program has.
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


# ── stores ───────────────────────────────────────────────────────────────────────────────────────


def cache_folder() -> Path:
    """Where fetched models stay: ``$FINECUT_CACHE``, or ``~/.cache/finecut/models``."""
    return Path(os.environ.get("FINECUT_CACHE") or "~/.cache/finecut/models").expanduser()


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
            f"there is no file below {uri}, where a model should be. Usually the name of the "
            "folder is mistyped, or the upload went elsewhere: list what is "
            f"in {root} with the store's own tool."
        )
    with _FETCHING:
        versions = ((name, shelf.version_of(path)) for path, name in files.items())
        digest = hashlib.sha256(json.dumps([root, *versions]).encode()).hexdigest()[:16]
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
            f"the model downloaded from {uri} could not be moved to {final}. Usually the disk is "
            "full; set the environment variable FINECUT_CACHE to a folder with free space."
        )
    return final


def _below_the_folder(name: str, uri: str) -> str:
    """A store's names may lead anywhere, also out of the folder they are copied to."""
    try:
        return check_relative(name)
    except ValueError as error:
        raise WeightsMissing(
            f"the model {uri!r} has a file that cannot be stored in a folder: {error} Remove "
            "that file, or copy the others into a separate folder."
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
