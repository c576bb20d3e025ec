"""Links on a disk that lead out of a folder."""

import itertools
import os

from finecut.io.storage.fence import is_within
from finecut.io.storage.files import identity, is_remote, is_symlink


def links_out_of(root: str) -> list[tuple[str, str]]:
    """The links at any depth of a folder that lead out of it, and where to."""
    real = identity(root)
    # What cannot be listed, or is gone, comes up when it is read.
    walk = () if is_remote(root) else os.walk(root)
    paths = (f"{here}/{name}" for here, *inside in walk for name in itertools.chain(*inside))
    links = ((path, identity(path)) for path in paths if is_symlink(path))
    return sorted((path, place) for path, place in links if not is_within(place, real))
