"""The Hugging Face hub: a commit of a model, from the hub's cache on this machine or fetched there.

Fetching is the work of ``huggingface_hub``: a file that breaks off is gone on with, files appear
whole, and cache, token, endpoint (``HF_ENDPOINT``) and staying offline (``HF_HUB_OFFLINE``) are
those of all programs that use it. What is added here: which commit and which files are wanted, what
a person can do where they cannot be had, and that a commit that is there is not asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finecut.transforms.models.weights.missing import WeightsMissing, first_line, needed
from finecut.transforms.models.weights.naming import CODE, PICKLES, WANTED, Located, Wish, command
from finecut.transforms.models.weights.own_code import remote_code
from finecut.transforms.models.weights.whole import INDEX, WEIGHTS, check_whole


def from_hub(model_dir: str | None, wish: Wish, only: Sequence[str] = ()) -> Path:
    """The snapshot in the hub's own cache, downloaded unless the machine is to stay offline.

    ``only`` are the files that are wanted, where that is not the whole model.
    """
    why = ("pip install 'finecut[models]'", f"download the model {wish.name!r}")
    hub, errors = needed("huggingface_hub", *why), needed("huggingface_hub.errors", *why)
    cache = Path(needed("huggingface_hub.constants", *why).HF_HUB_CACHE)
    there = held(cache, wish, only)
    if there is not None:
        return there
    try:
        return _downloaded(hub, cache, wish, only)
    # The bases of the hub's error are those of its HTTP library, which differs between versions.
    except (*errors.HfHubHTTPError.__bases__, OSError, ValueError) as error:
        offline = hub.is_offline_mode()
        reason = "HF_HUB_OFFLINE forbids downloads" if offline else first_line(error)
        where = "--model-dir was not given" if model_dir is None else f"not below {model_dir}"
        typed = command(wish.name, Path("models", wish.name), wish.commit, wish.code)
        raise WeightsMissing(
            f"the weights of {wish.name!r} are not on this machine ({where}, there is no folder "
            f"of that name, and the cache {cache} does not contain all of them), and they could "
            f"not be downloaded from the hub: {reason}. Usually the workers have no internet "
            f"access. On a machine with internet access, run {typed} and give --model-dir "
            "models, or copy that folder to a bucket and give --model-dir gs://…"
        ) from error


def _downloaded(hub: Any, cache: Path, wish: Wish, only: Sequence[str]) -> Path:
    wanted = [*only] or [*WANTED, *(CODE if wish.code else ())]
    rest = {"revision": wish.revision, "cache_dir": cache}
    folder = Path(hub.snapshot_download(wish.name, allow_patterns=wanted, **rest))
    plain = any((folder / file).is_file() for file in (WEIGHTS, INDEX))
    if wish.pickled and not (plain or only):
        more = [*wanted, *PICKLES]
        folder = Path(hub.snapshot_download(wish.name, allow_patterns=more, **rest))
    return folder


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
