"""A bucket that is a folder of this machine, and counts what it is asked: for estimates.

    counted://FOLDER/dataset/clips/a.mp4     the bucket is named by its folder (its / as %2F)
    FOLDER/objects/dataset/clips/a.mp4       where the object lies
    FOLDER/requests                          a line for each request, of all processes

Whoever writes there does what they would do in a bucket, so the requests are counted and not known
by heart. Nothing here is for keeping, and nobody is waited for.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote

from finecut.io.storage.cloud.names import glob_of, translated
from finecut.io.storage.stores import COUNTED, Found, Opened, Page

#: What stores bill: they call it class A (writing and listing), class B (reading), and deleting.
Kind = Literal["write", "read", "delete"]
OBJECTS: Final = "objects"
REQUESTS: Final = "requests"


@dataclass(frozen=True)
class Request:
    """One request, and the object that it was about."""

    kind: str
    uri: str


def bucket_in(folder: Path) -> str:
    """The address of a bucket that lies in this folder."""
    return f"{COUNTED}{quote(str(folder), safe='')}"


def objects_in(folder: Path) -> Path:
    """Where its objects lie as files."""
    return folder / OBJECTS


def requests_in(folder: Path) -> list[Request]:
    """What was asked of it, in order."""
    path = folder / REQUESTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Request(*line.split(" ", 1)) for line in lines]


class CountedStore:
    """``counted://folder/object``. What a method costs is what it costs in ``cloud/gcs.py``."""

    def look(self, uri: str) -> Found | None:
        _ask("read", uri)
        return _found(uri)

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        _ask("write", pattern)  # stores bill a listing as they bill writing
        glob, bucket = glob_of(_name(pattern)), _bucket(pattern)
        named = re.compile(translated(pattern))
        below = (f"{bucket}/{name}" for name in _names(pattern) if name.startswith(glob.prefix))
        return Page([one for one in map(_found, below) if one and named.fullmatch(one.uri)], [])

    def inside(self, folder: str, after: str | None) -> Page:
        _ask("write", folder)
        here = _path(folder)
        entries = sorted(here.iterdir()) if here.is_dir() else []
        found = [_found(f"{folder}/{path.name}") for path in entries]
        folders = [f"{folder}/{path.name}" for path in entries if path.is_dir()]
        return Page([one for one in found if one], folders)

    def read(self, uri: str) -> bytes:
        _ask("read", uri)
        return _path(uri).read_bytes()

    def open(self, uri: str) -> Opened:
        _ask("read", uri)
        return _Open(uri, _path(uri).stat().st_size)

    def create(self, uri: str, data: bytes) -> None:
        _ask("write", uri)
        _place(uri).write_bytes(data)

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        if not data:
            self.delete(uri)
        else:
            self.create(uri, data)
        return True

    def upload(self, uri: str, file: Path) -> None:
        _ask("write", uri)
        shutil.copyfile(file, _place(uri))

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        self.upload(uri, file)
        return True

    def move(self, staged: str, final: str) -> None:
        _ask("read", staged)
        _ask("read", final)
        _ask("write", final)
        _path(staged).replace(_place(final))
        _ask("delete", staged)

    def delete(self, uri: str) -> None:
        _ask("delete", uri)
        _path(uri).unlink(missing_ok=True)

    def delete_all(self, uris: Sequence[str]) -> None:
        for uri in uris:
            self.delete(uri)


@dataclass(frozen=True)
class _Open:
    """An object that is read in ranges."""

    uri: str
    size: int

    def fetch(self, start: int, length: int) -> bytes:
        _ask("read", self.uri)
        with _path(self.uri).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def close(self) -> None:
        """Nothing is held open."""


def _ask(kind: Kind, uri: str) -> None:
    """Note a request. One line is written at once, so lines of several processes do not mix."""
    file = os.open(_folder(uri) / REQUESTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{kind} {uri}\n".encode())
    finally:
        os.close(file)


def _bucket(uri: str) -> str:
    return "/".join(uri.split("/")[:3])


def _folder(uri: str) -> Path:
    return Path(unquote(_bucket(uri).removeprefix(COUNTED)))


def _name(uri: str) -> str:
    return "/".join(uri.split("/")[3:])


def _path(uri: str) -> Path:
    return objects_in(_folder(uri)) / _name(uri)


def _place(uri: str) -> Path:
    path = _path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _names(uri: str) -> Iterator[str]:
    """The names of all objects in its bucket."""
    root = objects_in(_folder(uri))
    return (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())


def _found(uri: str) -> Found | None:
    path = _path(uri)
    if not path.is_file():
        return None
    said = path.stat()
    return Found(uri, said.st_size, f"{said.st_mtime_ns}", said.st_mtime)
