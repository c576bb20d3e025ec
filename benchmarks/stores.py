"""What operations on stores cost: Google's library beside obstore, on servers of this machine.

    make bench-stores                five minutes on a quiet machine
    make bench-stores QUICK=1        a tenth of each count

``gs://`` is fake-gcs-server, ``s3://`` SeaweedFS. obstore writes to Google's store through its XML
interface, of which fake-gcs-server knows reading, listing and removing: where it is to write, a
proxy translates, and Google's library is sent through the same proxy. Processor time is the
client's alone, with all its threads. Each measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fake_gcs import fake_gcs
from faulty_proxy import Answer, Fault, FaultyProxy, Request, no_trouble, once
from seaweed import seaweed
from store_clients import Client, client_of

SUPPORT: Final = Path(__file__).resolve().parent.parent / "tests/support"
DOCUMENT, LOOK, LONG_LOOK = 100_000, 64 << 10, 4 << 20
#: Uploads of this size; so many of them are written, and read in long looks.
FILE: Final = 64 << 20
#: How the columns of the table are called.
CLIENTS: Final = {
    "google": "gs:// google-cloud-storage",
    "obstore-gs": "gs:// obstore",
    "obstore-s3": "s3:// obstore",
}
#: What goes through the proxy, because fake-gcs-server does not understand it as it is.
WRITING: Final = ("put", "fill", "write", "delete")
FAULTS: Final = (Fault.BUSY, Fault.TOO_MANY, Fault.BEFORE, Fault.WITHIN, Fault.LOST, Fault.CUT)


# ── what is done ─────────────────────────────────────────────────────────────────────────────────


def puts(client: Client, times: int, _: Path) -> int:
    data = bytes(DOCUMENT)
    for number in range(times):
        client.put(f"put/{number % 100}", data)
    return times


def looks(client: Client, times: int, _: Path) -> int:
    for number in range(times):
        client.look(f"put/{number % 100}")
    return times


def fetches(client: Client, times: int, _: Path) -> int:
    for number in range(times):
        assert len(client.fetch("file", (number * LOOK) % FILE, LOOK)) == LOOK
    return times


def fills(client: Client, times: int, _: Path) -> int:
    with ThreadPoolExecutor(16) as pool:
        return len([*pool.map(lambda number: client.put(f"list/{number:06}", b"x"), range(times))])


def lists(client: Client, times: int, _: Path) -> int:
    assert client.listed("list/") >= times
    return times


def deletes(client: Client, times: int, _: Path) -> int:
    client.delete([f"list/{number:06}" for number in range(times)])
    return times


def writes(client: Client, times: int, file: Path) -> int:
    for _ in range(times):
        client.upload("file", file)
    return times


def reads(client: Client, times: int, _: Path) -> int:
    for _turn in range(times):
        for start in range(0, FILE, LONG_LOOK):
            assert len(client.fetch("file", start, LONG_LOOK)) == LONG_LOOK
    return times


def attempts(what: str) -> Callable[[Client, int, Path], int]:
    """One operation, of which is wanted only whether it ends well."""

    def attempt(client: Client, number: int, file: Path) -> int:
        {
            "read": lambda: client.fetch("file", 0, LOOK),
            "write": lambda: client.put("put/0", b"x" * 1000),
            "create": lambda: client.create(f"new/{number}", b"x" * 1000),
            "list": lambda: client.listed("put/"),
            "delete": lambda: client.delete(["put/0"]),
            "upload": lambda: client.upload("file", file),
        }[what]()
        return 1

    return attempt


ATTEMPTS: Final = ("read", "write", "create", "list", "delete")
TASKS: Final[dict[str, Callable[[Client, int, Path], int]]] = {
    "put": puts,
    "look": looks,
    "fetch": fetches,
    "fill": fills,
    "list": lists,
    "delete": deletes,
    "write": writes,
    "read": reads,
} | {f"try {what}": attempts(what) for what in (*ATTEMPTS, "upload")}


@dataclass(frozen=True)
class Took:
    """What a task took in its process."""

    count: int
    wall: float
    cpu: float
    peak_mb: float
    import_cpu: float
    #: What it ended with, if it did not end well.
    trouble: str = ""


def measured(kind: str, address: str, bucket: str, task: str, times: int, file: Path) -> Took:
    """In a process of its own."""
    words = [kind, address, bucket, task, str(times), str(file)]
    said = subprocess.run(
        [sys.executable, __file__, "--one", *words],
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return Took(**json.loads(said.splitlines()[-1]))


def one(words: Sequence[str]) -> Took:
    kind, address, bucket, task, times, file = words
    began = time.process_time()
    client = client_of(kind, address, bucket)
    imported = time.process_time() - began
    before, count, trouble = peak_mb(), 0, ""
    wall, cpu = time.monotonic(), time.process_time()
    try:
        count = TASKS[task](client, int(times), Path(file))
    except Exception as error:  # whatever a library has for it is the result
        trouble = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return Took(count, wall, cpu, peak_mb() - before, import_cpu=imported, trouble=trouble)


def peak_mb() -> float:
    """The most memory that this process has had. (What rusage says begins with its parent's.)"""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) / 1024


# ── where it is done ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Way:
    """How a client gets to its server, and the proxy that may stand between."""

    kind: str
    bucket: str
    direct: str
    proxy: FaultyProxy

    def took(self, task: str, times: int, file: Path, manner: str = "") -> Took:
        writing = task in WRITING and self.kind != "obstore-s3"
        through = writing or task.startswith("try")
        address = self.proxy.address if through else self.direct
        return measured(f"{self.kind}{manner}", address, self.bucket, task, times, file)


@contextmanager
def ways() -> Iterator[list[Way]]:
    with ExitStack() as stack:
        gcs = stack.enter_context(fake_gcs())
        behind = stack.enter_context(FaultyProxy(gcs.address))
        behind.retold = lambda request: _translated(request, gcs.address)
        behind.answered = _with_etag
        gcs.stand_behind(behind.address)
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="finecut-bench-"))
        s3 = stack.enter_context(seaweed(Path(home)))
        before_s3 = stack.enter_context(FaultyProxy(s3.address))
        bucket = gcs.bucket()
        yield [
            Way("google", bucket, gcs.address, behind),
            Way("obstore-gs", bucket, gcs.address, behind),
            Way("obstore-s3", s3.bucket(), s3.address, before_s3),
        ]


def _translated(request: Request, address: str) -> Request:
    """What this server would not understand: writing by the XML interface, which it knows only from
    signed addresses, and batches, whose parts it wants to have names.
    """
    host = ("Host", urlsplit(address).netloc)
    kept = [host, *(one for one in request.headers if one[0].lower() != "host")]
    xml = request.method == "PUT" and not request.path.startswith("/upload/")
    target = f"{request.target}?X-Goog-Algorithm=none" if xml else request.target
    body = request.body
    if request.path == "/batch/storage/v1":
        body = _named_parts(body)
        kept = [one for one in kept if one[0].lower() != "content-length"]
        kept.append(("Content-Length", str(len(body))))
    return replace(request, headers=kept, target=target, body=body)


def _named_parts(body: bytes) -> bytes:
    numbers = itertools.count()
    kind = re.compile(rb"(?i)content-type: application/http\r?\n")
    return kind.sub(lambda found: found[0] + b"Content-ID: <%d>\r\n" % next(numbers), body)


def _with_etag(request: Request, answer: Answer) -> Answer:
    if request.method != "PUT":
        return answer
    return replace(answer, headers=[*answer.headers, ("ETag", '"of-the-proxy"')])


# ── what is said of it ───────────────────────────────────────────────────────────────────────────


def costs(all_ways: Sequence[Way], share: float, file: Path) -> Iterator[str]:
    yield f"| | {' | '.join(CLIENTS[way.kind] for way in all_ways)} |"
    yield "| --- |" + " --: |" * len(all_ways)
    small, many, gigabyte = int(400 * share), int(10_000 * share), max(1, int(16 * share))
    for way in all_ways:
        way.took("write", 1, file)
        if way.kind != "obstore-gs":  # which is in the same bucket
            way.took("fill", many, file)
    rows = (
        ("write 100 kB", "put", small),
        ("look at an object", "look", small),
        ("read a range of 64 KiB", "fetch", small),
        (f"list {many:,} objects, each", "list", many),
    )
    first: list[Took] = []
    for title, task, times in rows:
        took = [way.took(task, times, file) for way in all_ways]
        first = first or took
        yield f"| {title} | {' | '.join(_each(each) for each in took)} |"
    removed = []
    for way in all_ways:
        if way.kind == "obstore-gs":
            way.took("fill", many, file)
        removed.append(_each(way.took("delete", many // 10, file)))
    yield f"| remove {many // 10:,} objects together, each | {' | '.join(removed)} |"
    for title, task in (("write 1 GB", "write"), ("read 1 GB in ranges of 4 MiB", "read")):
        took = [way.took(task, gigabyte, file) for way in all_ways]
        yield f"| {title} | {' | '.join(_gigabyte(each) for each in took)} |"
    yield f"| import, processor time | {' | '.join(f'{each.import_cpu:.2f} s' for each in first)} |"


def _each(took: Took) -> str:
    if took.trouble:
        return took.trouble
    return f"{1000 * took.cpu / took.count:.2f} ms, {took.count / took.wall:,.0f}/s"


def _gigabyte(took: Took) -> str:
    if took.trouble:
        return took.trouble
    gigabytes = took.count * FILE / 1e9
    speed = f"{took.cpu / gigabytes:.2f} s, {1000 * gigabytes / took.wall:,.0f} MB/s"
    return f"{speed}, + {took.peak_mb:.0f} MB"


def repeats(all_ways: Sequence[Way], file: Path) -> Iterator[str]:
    """Which library tries again by itself what once went wrong."""
    yield f"| | | {' | '.join(fault.value for fault in FAULTS)} |"
    yield "| --- | --- |" + " --- |" * len(FAULTS)
    number = 0
    for what in ATTEMPTS:
        for way in all_ways:
            cells = []
            for fault in FAULTS:
                number += 1
                if what == "delete":  # there has to be something to remove
                    way.took("try write", number, file)
                cells.append(_repeated(way, fault, what, number, file))
            yield f"| {what} | {CLIENTS[way.kind]} | {' | '.join(cells)} |"


def _repeated(way: Way, fault: Fault, what: str, number: int, file: Path) -> str:
    with way.proxy.spoiling(once(fault, when=lambda _: True)):
        took = way.took(f"try {what}", number, file, "+patient")
        requests = sum(way.proxy.requests().values())
    return (
        f"{took.trouble.partition(':')[0]} ({requests})" if took.trouble else f"well ({requests})"
    )


def resumed(all_ways: Sequence[Way], file: Path) -> Iterator[str]:
    """An upload of 64 MB that is cut in the middle of what is sent: what is sent in all."""
    yield "| 64 MiB, cut once in the middle of a request | ends | requests | sent |"
    yield "| --- | --- | --: | --: |"
    for way in all_ways:
        for manner in ("+patient", "+parts") if way.kind == "google" else ("+patient",):
            with way.proxy.spoiling(once(Fault.WITHIN, when=_is_sending)):
                took = way.took("try upload", 0, file, manner)
                sent = sum(way.proxy.received().values()) / 2**20
                requests = sum(way.proxy.requests().values())
            name = CLIENTS[way.kind] + (", in parts of 8 MiB" if manner == "+parts" else "")
            yield f"| {name} | {took.trouble or 'well'} | {requests} | {sent:.0f} MiB |"


def _is_sending(request: Request) -> bool:
    lengths = [int(text) for name, text in request.headers if name.lower() == "content-length"]
    return request.method in ("PUT", "POST") and max(lengths, default=0) > 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        sys.stdout.write(json.dumps(one(given.one).__dict__) + "\n")
        return 0
    with ways() as all_ways, tempfile.NamedTemporaryFile(prefix="finecut-bench-") as file:
        file.write(os.urandom(FILE))
        file.flush()
        path = Path(file.name)
        for table in (
            costs(all_ways, 0.1 if given.quick else 1.0, path),
            repeats(all_ways, path),
            resumed(all_ways, path),
        ):
            for line in table:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            sys.stdout.write("\n")
        assert all(way.proxy.plan is no_trouble for way in all_ways)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
