"""Models that lie in a store, copied into a cache on this machine: whole or not at all, once."""

from __future__ import annotations

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

from finecut.io.layout import check_relative
from finecut.io.storage import files as shelf
from finecut.transforms.models.weights.missing import WeightsMissing
from finecut.transforms.models.weights.naming import CONFIG
from finecut.transforms.models.weights.whole import check_whole

#: One download at a time: the threads of a worker all ask for the same model.
_FETCHING = threading.Lock()


def cache_folder() -> Path:
    """Where fetched models stay: ``$FINECUT_CACHE``, or ``~/.cache/finecut/models``."""
    named = os.environ.get("FINECUT_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache/finecut/models"


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
            "folder is mistyped, or the upload went elsewhere: list the folder with `gcloud "
            f"storage ls {root}`."
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
