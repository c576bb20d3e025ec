"""Outputs on disks and in stores, compared object by object.

Between two places only this may differ: where the output and the videos lie, which stands in
documents and tables (``clip_location`` …) and in what is told of a run (``runs/``, ``report/``);
what tells one version of a video from the next (a disk has its time, a store an ETag or a
generation); and how lists of failures are called, which is after the inputs.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable

import pyarrow.parquet as pq

from finecut.io.storage import files as shelf

#: What a run tells of itself: when, how long, and where.
TOLD = ("runs/", "report/")
VERSION = re.compile(rb'"(source_)?version": ?"(?:[^"\\]|\\.)*"')


def tree(found: Iterable[str], output: str, *films: str) -> dict[str, bytes]:
    """Every object that is there to stay, without what must differ.

    Parquet holds lengths of text, so tables are compared as what they say.
    """
    objects = {}
    for path in found:
        name = re.sub(r"^failures/\w+", "failures/list", path.removeprefix(f"{output}/"))
        if not name.startswith(TOLD):
            objects[name] = _plain(path, shelf.read(path), output, films)
    return objects


def tree_in(output: str, *films: str) -> dict[str, bytes]:
    """The same of everything in an output, wherever it lies."""
    return tree(shelf.files_below(output), output, *films)


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """What is only in one of two trees, or not the same in both."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _plain(path: str, data: bytes, output: str, films: tuple[str, ...]) -> bytes:
    if path.endswith(".parquet"):
        data = json.dumps(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    data = data.replace(output.encode(), b"OUTPUT")
    for folder in films:
        data = data.replace(folder.encode(), b"FILMS")
    return VERSION.sub(b"VERSION", data) if path.endswith((".json", ".jsonl")) else data
