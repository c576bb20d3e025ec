"""What children do in tests: behave, and misbehave in every way (imported by its bare name)."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator

from finecut.io.process import child
from finecut.io.process.child import beat
from finecut.io.records import Clip, Source, Video
from finecut.io.storage.retry import note_outlasted

SOURCE = Source("/films/a.mp4", "/films/a.mp4", "a.mp4")


def numbers(count: int) -> Iterator[bytes]:
    yield from (str(number).encode() for number in range(count))


def own_pid() -> Iterator[bytes]:
    yield str(os.getpid()).encode()


def large(size: int) -> Iterator[bytes]:
    yield bytes(size)
    yield b"x" * size


def breaks() -> Iterator[bytes]:
    yield b"first"
    raise ValueError("no such luck")


def finds_its_store_busy() -> Iterator[Clip]:
    yield from ()
    error = ConnectionError("503")
    note_outlasted(error, "gs://b/a.mp4")
    raise error


def killed_by(number: int) -> Iterator[bytes]:
    yield b"first"
    os.kill(os.getpid(), number)


def reads_nothing() -> Iterator[bytes]:
    yield b"first"
    ctypes.string_at(0)


def leaves(code: int) -> Iterator[bytes]:
    yield b"first"
    os._exit(code)


def hungry(megabytes: int) -> Iterator[bytes]:
    yield str(len(bytearray(megabytes << 20))).encode()


def hungry_records(megabytes: int) -> Iterator[Clip]:
    bytearray(megabytes << 20)
    yield from ()


def sleeps(seconds: float, beats: int = 1) -> Iterator[bytes]:
    for _ in range(beats):
        time.sleep(seconds / beats)
        child._LINE.due = 0
        beat()
    yield b"awake"


def busy() -> Iterator[bytes]:
    while True:
        beat()
        yield from ()


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1000)


def speaks_nonsense() -> Iterator[bytes]:
    assert child._LINE.socket is not None
    child._LINE.socket.sendall(b"?\xff\xff\xff\xff")
    yield b""


def claims_too_much() -> Iterator[bytes]:
    assert child._LINE.socket is not None
    child._LINE.socket.sendall(b"D\xff\xff\xff\xff")
    yield b""


def dies_over_records() -> Iterator[Video]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield from ()


def breaks_over_records() -> Iterator[Video]:
    yield video_called("first")
    raise ValueError("no such luck")


def video_called(name: str) -> Video:
    source = dataclasses.replace(SOURCE, name=name)
    return Video(source, 1, 0, 2, 2, 0.1 + 0.2, 9, 1.5, "h264", "yuv420p", None, 7, -3)


def read_from_store(uri: str) -> Iterator[bytes]:
    """An object, and whether obstore's library had to be loaded once more for it."""
    from finecut.io.storage import files
    from finecut.io.storage.cloud.obstore_here import FILE, library

    yield files.read(uri)
    yield b"as installed" if library().__file__ == FILE else b"once more"


def finds_no_file_for_long(address: str) -> Iterator[bytes]:
    """A child that looked for a file of a store that was away."""
    yield json.dumps({"away": address, "said": "503"}).encode()
