"""Which names obstore can ask for. It refuses some, and takes some for those of other objects."""

import errno
import re
from typing import Final

from finecut.io.storage.cloud.obstore_clients import Place, place_of

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class UnusableName(OSError):
    """A name that obstore cannot ask for; the message says what is wrong with it."""


def root_of(uri: str) -> str:
    """What a bucket's objects begin with: ``s3://bucket``."""
    return "/".join(uri.split("/")[:3])


def parted(uri: str, is_pattern: bool = False) -> tuple[Place, str]:
    """A bucket, and the name of what lies in it; no name for the bucket itself."""
    root = root_of(uri)
    name = uri[len(root) + 1 :]
    if not is_pattern:
        check(name, uri)
    return place_of(root), name


def check(name: str, uri: str) -> None:
    """Raise :class:`UnusableName` for what is none."""
    if trouble := _trouble_with(name):
        raise UnusableName(
            f"{uri!r} cannot be used: on this kind of store, names must be without {trouble}. "
            "Rename the object, or copy it to another name"
        )


def named(uri: str) -> tuple[Place, str]:
    """A bucket, and the name of an object in it."""
    place, name = parted(uri)
    if not name:
        raise IsADirectoryError(errno.EISDIR, "This is a bucket, not an object", uri)
    return place, name


def _trouble_with(name: str) -> str:
    """What obstore would refuse, or take for the name of another object."""
    parts = name.split("/") if name else []
    if "" in parts:
        return "empty parts (two slashes in a row, or one at an end)"
    if {".", ".."} & {*parts}:
        return "parts that are a dot or two"
    if _CONTROL.search(name):
        return "control characters"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "bytes that are not UTF-8"
    return ""
