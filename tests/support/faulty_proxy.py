"""A proxy between a client and the server of a store, and the trouble it makes on the way.

A client takes the proxy's address for the store's, and everything else is handed on as it came:
the ``Host`` that a request is signed with, too, so that a store that checks signatures checks them.
What becomes of a request says a plan (:func:`seeded`, or any function of a :class:`Request`)::

    with FaultyProxy(server.address, seeded(3, often=0.1)) as proxy:
        ...                                    # the client's endpoint is proxy.address
    proxy.troubles()                           # {"lost": 4, "503": 2, …}
    proxy.requests(), proxy.received()         # by method: how many, and bytes that came
"""

from __future__ import annotations

import http.client
import random
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Final, NoReturn
from urllib.parse import urlsplit

Headers = list[tuple[str, str]]

SLOW_DOWN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
#: Bytes per second of what is throttled, and how often a second something comes.
TRICKLE, DROPS = 256 << 10, 50
#: What belongs to one connection, and is not handed on to the next.
HOPS: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding"})
#: Seconds that either side may be silent.
SILENCE: Final = 60


class Fault(StrEnum):
    """What becomes of a request."""

    NONE = ""
    #: The connection is reset before anything has reached the server.
    BEFORE = "before"
    #: Half of the request reaches the server.
    WITHIN = "within"
    #: All of it does, and what was asked for is done; of the answer nothing comes.
    LOST = "lost"
    #: Half of the answer comes: its body is short of its Content-Length, or its head is torn.
    CUT = "cut"
    #: Half of a range comes, and says that it was all.
    SHORT = "short"
    BUSY = "503"
    TOO_MANY = "429"
    #: The server is given the request twice, as by whoever stands between and tries again; the
    #: second answer comes.
    TWICE = "twice"
    #: The answer trickles.
    SLOW = "slow"


ALL: Final = tuple(fault for fault in Fault if fault is not Fault.NONE)


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    method: str
    target: str
    headers: Headers
    #: Not yet there when it is decided what becomes of the request.
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


@dataclass(frozen=True)
class Answer:
    """What a server says to it."""

    status: int
    headers: Headers
    body: bytes


@dataclass
class Passed:
    """A request that came by, what became of it, and the bytes of its body and of the answer's."""

    method: str
    target: str
    fault: Fault
    asked: int = 0
    status: int = 0
    answered: int = 0

    @property
    def begins_upload(self) -> bool:
        """Whether it asks S3 for an upload in parts."""
        return self.method == "POST" and self.target.endswith("?uploads=")

    @property
    def unheard(self) -> bool:
        """Whether what was done is not all that the client was told of."""
        return self.fault in (Fault.LOST, Fault.CUT, Fault.TWICE)


Plan = Callable[[Request], Fault]


def no_trouble(_: Request) -> Fault:
    return Fault.NONE


def seeded(seed: int, often: float, faults: Sequence[Fault] = ALL) -> Plan:
    """Spoil so many of the requests, in a row that is always the same."""
    chance, turns = random.Random(seed), threading.Lock()

    def plan(_: Request) -> Fault:
        with turns:
            return chance.choice(faults) if chance.random() < often else Fault.NONE

    return plan


def once(fault: Fault, *, when: Callable[[Request], bool], times: int = 1) -> Plan:
    """Spoil the first requests of a kind."""
    left, turns = iter(range(times)), threading.Lock()

    def plan(request: Request) -> Fault:
        with turns:
            return fault if when(request) and next(left, None) is not None else Fault.NONE

    return plan


@dataclass
class FaultyProxy:
    """Listens as soon as it is made; ``server`` is the address of the store behind it."""

    server: str
    plan: Plan = no_trouble
    #: Changes what is handed on to the server.
    retold: Callable[[Request], Request] = lambda request: request
    #: Changes what the server said.
    answered: Callable[[Request, Answer], Answer] = lambda request, answer: answer
    passed: list[Passed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = _Listener(self)
        self.address = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def spoiling(self, plan: Plan) -> Iterator[None]:
        """Within, requests are spoiled so; the counts begin anew."""
        self.passed.clear()
        before, self.plan = self.plan, plan
        try:
            yield
        finally:
            self.plan = before

    def troubles(self) -> Counter[str]:
        """How often which trouble was made."""
        return Counter(str(one.fault) for one in [*self.passed] if one.fault)

    def requests(self) -> Counter[str]:
        """How many requests came, by method."""
        return Counter(one.method for one in [*self.passed])

    def received(self) -> Counter[str]:
        """Bytes that clients sent in bodies, by method."""
        return _summed((one.method, one.asked) for one in [*self.passed])

    def sent(self) -> Counter[str]:
        """Bytes of bodies that clients were sent, by method."""
        return _summed((one.method, one.answered) for one in [*self.passed])


def _summed(parts: Iterable[tuple[str, int]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for method, size in parts:
        sums[method] += size
    return sums


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close = True, False
    allow_reuse_address, request_queue_size = True, 256

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Client)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away, servers do: nobody has to be told of it here."""


class _Gone(Exception):
    """A client's connection is at its end."""


class _Client(socketserver.StreamRequestHandler):
    """One connection of a client, request by request."""

    server: _Listener
    timeout = SILENCE
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self._proxy = self.server.proxy
        with suppress(_Gone, ConnectionError, TimeoutError, http.client.HTTPException):
            while (request := self._head()) is not None:
                self._pass(request)

    def _head(self) -> Request | None:
        line = self.rfile.readline().decode("latin-1").split()
        if len(line) != 3:
            return None
        return Request(line[0], line[1], [*http.client.parse_headers(self.rfile).items()])

    def _whole(self, request: Request, share: float = 1) -> Request:
        """A request with its body, or with the beginning of one that says how long it is."""
        said = {name.lower(): value.lower() for name, value in request.headers}
        if said.get("expect") == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = "chunked" in said.get("transfer-encoding", "")
        length = int(int(said.get("content-length", 0)) * share)
        body = self._chunks() if chunked else self._read(length)
        dropped = {*HOPS, "expect"}
        kept = [one for one in request.headers if one[0].lower() not in dropped]
        if chunked:
            kept.append(("Content-Length", str(len(body))))
        return replace(request, headers=kept, body=body)

    def _read(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            raise _Gone
        return data

    def _chunks(self) -> bytes:
        parts = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self._read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            """Trailers are of no interest."""
        return b"".join(parts)

    def _pass(self, request: Request) -> None:
        fault = self._proxy.plan(request)
        # Before it is done: whoever counts once a client has its answer counts this, too.
        passed = Passed(request.method, request.target, fault)
        self._proxy.passed.append(passed)
        if fault is Fault.BEFORE:
            self._reset()
        request = self._whole(request, 1 / 2 if fault is Fault.WITHIN else 1)
        passed.asked = len(request.body)
        request = self._proxy.retold(request)
        if fault is Fault.WITHIN:
            self._half(request)
            self._reset()
        if fault in (Fault.BUSY, Fault.TOO_MANY):
            self._say(request, Answer(int(fault), [("Retry-After", "1")], SLOW_DOWN), fault)
            return
        if fault is Fault.TWICE:
            self._ask(request)
        answer = self._proxy.answered(request, self._ask(request))
        passed.status, passed.answered = answer.status, len(answer.body)
        self._say(request, answer, fault)

    def _connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self._proxy.server)
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=SILENCE)

    def _begin(self, server: http.client.HTTPConnection, request: Request) -> None:
        server.putrequest(request.method, request.target, True, True)  # Host is the client's
        for name, value in request.headers:
            server.putheader(name, value)
        server.endheaders()

    def _ask(self, request: Request) -> Answer:
        server = self._connection()
        try:
            self._begin(server, request)
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have said no already
                server.send(request.body)
            told = server.getresponse()
            body = told.read()
            return Answer(told.status, told.getheaders(), body)
        finally:
            server.close()

    def _half(self, request: Request) -> None:
        """Less than its head promises; where that promises nothing, less than the head."""
        server = self._connection()
        try:
            if request.body:
                self._begin(server, request)
                server.send(request.body)
            else:
                server.connect()
                server.send(f"{request.method} {request.target} HTTP/1.1\r\nHo".encode())
        finally:
            server.close()

    def _reset(self) -> NoReturn:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def _say(self, request: Request, answer: Answer, fault: Fault) -> None:
        if fault is Fault.LOST:
            raise _Gone
        body = answer.body
        if fault is Fault.SHORT and answer.status == http.client.PARTIAL_CONTENT:
            body = body[: len(body) // 2]
        head = _head(request, answer, len(body))
        if fault is Fault.CUT:
            self.wfile.write(head + body[: len(body) // 2] if body else head[: len(head) // 2])
            raise _Gone
        if fault is Fault.SLOW:
            self.wfile.write(head)
            self._trickle(body)
        else:
            self.wfile.write(head + body)
        if any(n.lower() == "connection" and v.lower() == "close" for n, v in answer.headers):
            raise _Gone

    def _trickle(self, body: bytes) -> None:
        drop = TRICKLE // DROPS
        for start in range(0, len(body), drop):
            self.wfile.write(body[start : start + drop])
            threading.Event().wait(1 / DROPS)


def _head(request: Request, answer: Answer, length: int) -> bytes:
    """The beginning of an answer. What has no body still may have a length: that of a GET."""
    reason = http.client.responses.get(answer.status, "Unknown")
    bodiless = request.method == "HEAD" or answer.status in (204, 304)
    dropped = HOPS if bodiless else {*HOPS, "content-length"}
    kept = [(name, value) for name, value in answer.headers if name.lower() not in dropped]
    if not bodiless:
        kept.append(("Content-Length", str(length)))
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in kept)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
