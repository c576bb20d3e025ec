"""What a store can do, found out by doing it; nothing of it stays.

for what, attempt in trials("s3://bucket/folder/.staging/run"):
    print(what, attempt())        # what was found, or an error that says what is wrong
"""

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from finecut.io.storage import files as shelf
from finecut.io.storage.staging import temporary_folder
from finecut.io.storage.stores import Store, store_for

#: Bytes of a file that has to be sent in parts.
LARGE: Final = 17 << 20
DATA: Final = bytes(range(256)) * 4096


class NotKept(OSError):
    """A store that answers as if all were well, and has done something else."""


def trials(folder: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each thing to try below a folder of a store, which is removed when all were tried."""
    store, root = store_for(folder), f"{folder}/{uuid.uuid4().hex}"
    yield "write and read", partial(_written, store, f"{root}/a b é.bin")
    yield "read parts", partial(_parts, store, f"{root}/a b é.bin")
    yield "list", partial(_listed, f"{root}/a b é.bin", root)
    yield "replace only as seen", partial(_replaced, store, f"{root}/replaced")
    yield "upload and move", partial(_moved, store, f"{root}/large.mp4", f"{root}/moved.mp4")
    yield "remove", partial(_removed, root)


def _written(store: Store, uri: str) -> str:
    began = time.monotonic()
    store.create(uri, DATA)
    wrote = time.monotonic()
    if store.read(uri) != DATA:
        raise NotKept(f"{uri} came back with other bytes than those that were written")
    took = time.monotonic() - wrote
    return f"{len(DATA) >> 20} MB in {1000 * (wrote - began):.0f} ms, back in {1000 * took:.0f} ms"


def _parts(store: Store, uri: str) -> str:
    opened = store.open(uri)
    for start, length in ((0, 1000), (500_000, 70_000), (len(DATA) - 1, 1)):
        if opened.fetch(start, length) != DATA[start : start + length]:
            raise NotKept(f"the bytes of {uri} from {start} on are not those that were asked for")
    return "ranges of one version"


def _listed(uri: str, root: str) -> str:
    if shelf.files_in(root) != [uri] or list(shelf.files_below(root)) != [uri]:
        raise NotKept(f"the list of {root} does not show what was written")
    return "shows what was written, at once"


def _replaced(store: Store, uri: str) -> str:
    done = [store.replace(uri, b"first", None), store.replace(uri, b"not this", None)]
    seen = store.look(uri)
    done += [store.replace(uri, b"second", seen), store.replace(uri, b"not this", seen)]
    if done != [True, False, True, False] or store.read(uri) != b"second":
        raise NotKept(
            "the store does not look at the conditions of a request (If-Match, If-None-Match): "
            "what two runs add to one list at the same moment may be lost. Update the store, or "
            "let one run at a time write there"
        )
    return "yes: what others write meanwhile is not lost"


def _moved(store: Store, staged: str, final: str) -> str:
    began = time.monotonic()
    with temporary_folder(sweeping=False) as folder:
        file = Path(folder, "large")
        file.write_bytes(DATA * (LARGE // len(DATA)))
        store.upload(staged, file)
    sent = time.monotonic() - began
    store.move(staged, final)
    there = store.look(final)
    if there is None or there.size != LARGE or store.look(staged) is not None:
        raise NotKept(f"{staged} is not at {final} after it was moved")
    return f"in parts, {LARGE / sent / 1e6:.0f} MB/s"


def _removed(root: str) -> str:
    shelf.delete(list(shelf.files_below(root)))
    if shelf.exists(root):
        raise NotKept(f"{root} is still there after everything in it was removed")
    return "nothing is left"
