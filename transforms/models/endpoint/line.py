"""A line to one server: JSON over HTTP, asked again when that may help, but never for long.

    ask ─▶ attempt ─▶ answer                                  a dict
             │  ╰──▶ refused, redirected, garbled             said at once
             ╰─────▶ busy, broken, silent ─▶ pause ─▶ attempt ─▶ …  until time or patience is over

One question has so many seconds, over all its attempts and pauses; one attempt has at most half of
them, so that a server that fell silent once is asked once more. The clock runs over every single
read and write: a server that sends a letter a second does not hold anybody longer than one that
sends nothing. (Only the machine's own look-up of a name keeps its own time.)

Connections are kept and used again by whichever thread is next. A server closes those that are idle
for some seconds (vLLM: five) without a word, so a kept one that breaks is replaced at once. Proxies
of the environment are not used, and redirects are not followed: both would take the key elsewhere.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import re
import socket
import ssl
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from finecut.transforms.models.endpoint.address import KEYS, Address
from finecut.transforms.models.endpoint.errors import (
    EndpointDown,
    EndpointGarbled,
    EndpointRefused,
)

#: How often a question is asked again.
RETRIES: Final = 5
#: Seconds before it is asked again the first time; doubled each time, give or take a half.
FIRST_PAUSE: Final = 1.0
#: Seconds within which somebody has to take the call.
CONNECT_SECONDS: Final = 10.0
#: No answer is longer: captions are some kilobytes, vectors some hundred.
MOST_BYTES: Final = 4 << 20
PIECE: Final = 1 << 16
TOO_MANY: Final = 429

Pause = Callable[[float], None]


class Reply(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Clock:
    """When time is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left; raises when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{self.seconds:g} seconds are over")
        return left

    def has(self, seconds: float) -> bool:
        """Whether more than so many are left."""
        return self._end - time.monotonic() > seconds


class Line:
    """One server, the patience there is with it, and the idle connections to it."""

    def __init__(
        self,
        address: Address,
        timeout: float,
        retries: int = RETRIES,
        pause: Pause = time.sleep,
    ) -> None:
        if not 0 < timeout < float("inf"):
            raise ValueError(f"a timeout of {timeout} seconds: it has to be above 0 and finite.")
        self.address, self.timeout = address, timeout
        self._retries, self._pause = retries, pause
        self._tls = ssl.create_default_context() if address.tls else None
        self._idle: deque[_Connection] = deque()
        weakref.finalize(self, _hang_up, self._idle)

    def get(self, path: str) -> dict[str, Any]:
        return self._asked("GET", path, None, "")

    def post(self, path: str, asked: Mapping[str, Any], identifier: str) -> dict[str, Any]:
        """The answer to a question; the identifier is for the server's log."""
        return self._asked("POST", path, json.dumps(asked).encode(), identifier)

    def _asked(self, method: str, path: str, body: bytes | None, identifier: str) -> dict[str, Any]:
        clock = Clock(self.timeout)
        for attempt in range(self._retries + 1):
            asked_for = 0.0
            try:
                reply = self._attempt(method, path, body, identifier, clock)
            except (OSError, http.client.HTTPException) as error:
                why = self._explained(error)
                # No other answer is to be expected of these, whatever one waits.
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise EndpointRefused(f"{self.address} was not asked: {why}") from error
            else:
                if reply.status != TOO_MANY and reply.status < 500:
                    return self._content(reply)
                asked_for = waiting_time(reply.headers.get("Retry-After"))
                why = (
                    f"it answered {reply.status} and said {self.address.quoted(reply.body)!r}. "
                    "Usually it is starting, or more is asked of it than it can do; look into its "
                    "log, or ask with fewer workers."
                )
            backoff = FIRST_PAUSE * 2.0**attempt * random.uniform(0.5, 1.5)
            wait = max(backoff, asked_for)
            if attempt == self._retries or not clock.has(wait):
                break
            self._pause(wait)
        times = "once" if attempt == 0 else f"{attempt + 1} times"
        raise EndpointDown(f"{self.address} was asked {times} and gave no usable answer: {why}")

    def _attempt(
        self, method: str, path: str, body: bytes | None, identifier: str, clock: Clock
    ) -> Reply:
        attempt = Clock(min(clock.left(), self.timeout / 2))
        headers = {"Accept": "application/json", "User-Agent": "finecut"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.address.authorization is not None:
            headers["Authorization"] = self.address.authorization
        if identifier and identifier.isascii() and identifier.isprintable():
            # Servers know requests by it, vLLM too, which does not take the same one twice.
            headers["X-Request-Id"] = f"{identifier}-{uuid.uuid4().hex[:8]}"
        asked = (method, self.address.target(path), body, headers)
        kept = _taken(self._idle)
        if kept is not None:
            try:
                return self._over(kept, attempt, *asked)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLError):
                # What was kept beside it is as old.
                _hang_up(self._idle)
        return self._over(_Connection(self.address, self._tls), attempt, *asked)

    def _over(
        self,
        connection: _Connection,
        clock: Clock,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        connection.clock = clock
        sent = whole = False
        try:
            # Who refuses a long question may do so before it has heard all of it.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, target, body, dict(headers))
                sent = True
            response = connection.getresponse()
            reply = Reply(response.status, response.headers, self._body(response))
            response.close()
            whole = not response.will_close
            return reply
        finally:
            if sent and whole:
                self._idle.append(connection)
            else:
                connection.close()

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        pieces: list[bytes] = []
        size, length = 0, response.length
        while size != length and (piece := response.read1(PIECE)):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                beginning = self.address.quoted(pieces[0])
                raise EndpointGarbled(
                    f"{self.address} sent more than {MOST_BYTES >> 20} MB for one answer, "
                    f"beginning with {beginning!r}. Usually the url belongs to something else."
                )
        if length is not None and size < length:
            raise http.client.IncompleteRead(b"", length - size)
        return b"".join(pieces)

    def _content(self, reply: Reply) -> dict[str, Any]:
        """The answer in a reply, or what a refusal means."""
        said = self.address.quoted(reply.body)
        if not 200 <= reply.status < 300:
            why = self._refused(reply)
            raise EndpointRefused(f"{self.address} answered {reply.status}: {why} It said {said!r}")
        try:
            content = json.loads(reply.body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise EndpointGarbled(
                f"{self.address} answered something that is no JSON object: {said!r}. Usually the "
                "url belongs to something else, or a page of a proxy came in between."
            )
        return content

    def _refused(self, reply: Reply) -> str:
        status = reply.status
        if 300 <= status < 400:
            return (
                f"it sends to {_place(reply.headers.get('Location', ''))}, and the key is not "
                "taken there. Usually the url is an old one, or http instead of https: give the "
                "one it should be."
            )
        if status in (401, 403):
            return (
                f"it does not know who asks, or does not want to answer them. Set {KEYS[0]} (or "
                f"{KEYS[1]}) to a key that it takes, on the workers too."
            )
        if status == 404:
            return (
                "it does not know the path or the model. Usually the url lacks its /v1, or what "
                "follows the # is not the name under which the model is served."
            )
        return (
            "it does not take this question. Usually it takes fewer pictures (vLLM: "
            "--limit-mm-per-prompt '{\"image\": 64}'), none at all, or fewer words than were asked "
            "or wanted (vLLM: --max-model-len)."
        )

    def _explained(self, error: Exception) -> str:
        if isinstance(error, ConnectionRefusedError):
            return (
                "nobody listens there (connection refused). Usually the server is not up yet, "
                "only listens on its own machine (vLLM: --host 0.0.0.0), or the port is wrong."
            )
        if isinstance(error, socket.gaierror):
            return (
                "no machine of that name is known. Usually the name is mistyped, or it is only "
                "known in another network than the one this runs in."
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({error.verify_message}). Usually it signed it "
                "itself: name its authority in the environment variable SSL_CERT_FILE."
            )
        if isinstance(error, ssl.SSLError):
            reason = error.reason or type(error).__name__
            return (
                f"no encrypted connection came about ({reason}). Usually the server speaks plain "
                "http: write http:// instead of https://."
            )
        if isinstance(error, TimeoutError):
            return (
                f"it took too long. It had {self.timeout:g} seconds for all attempts, and half of "
                "them for each. Usually it has too much to do, or a firewall swallows what is "
                "sent: ask with fewer workers, or give it more time (--model-timeout)."
            )
        what = self.address.quoted(str(error) or repr(error))
        return (
            f"the connection broke ({type(error).__name__}: {what}). Usually the server crashed or "
            "was stopped, or something there does not speak HTTP; look into its log."
        )


def _taken(connections: deque[_Connection]) -> _Connection | None:
    """The one that was used last, if there is one; other threads take them too."""
    try:
        return connections.pop()
    except IndexError:
        return None


def _hang_up(connections: deque[_Connection]) -> None:
    while (connection := _taken(connections)) is not None:
        connection.close()


def waiting_time(said: str | None) -> float:
    """The seconds a server asks for, as a number or as a date; 0 if it does not."""
    if said is None:
        return 0.0
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", said):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _place(location: str) -> str:
    """The machine a redirect names, without what else is in it."""
    try:
        split = urlsplit(location)
    except ValueError:
        return "nowhere that could be understood"
    return repr(f"{split.scheme}://{split.netloc.rpartition('@')[2]}") if split.netloc else "itself"


# ── under the clock ──────────────────────────────────────────────────────────────────────────────


class _Connection(http.client.HTTPConnection):
    """A connection whose every read and write is under the clock of the question it serves."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        super().__init__(address.host, address.port)
        self.default_port = 443 if address.tls else 80
        self.clock = Clock(CONNECT_SECONDS)
        self._tls = tls

    def connect(self) -> None:
        sock = _called(self.host, self.port, self.clock)
        if self._tls is not None:
            plain = sock
            try:
                sock = self._tls.wrap_socket(plain, server_hostname=self.host)
            except OSError:
                plain.close()
                raise
        self.sock = cast(Any, _Wire(sock, self))


def _called(host: str, port: int, clock: Clock) -> socket.socket:
    """A socket to the first of the host's addresses where somebody answers."""
    trouble = OSError(f"{host} has no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(CONNECT_SECONDS, clock.left()))
            sock.connect(place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(clock.left())
            return sock
        except OSError as error:
            sock.close()
            trouble = error
    raise trouble


class _Wire:
    """As much of a socket as ``http.client`` uses."""

    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        self._sock, self._connection = sock, connection

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._connection.clock.left())
            rest = rest[self._sock.send(rest[:PIECE]) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Ear(self._sock, self._connection))

    def close(self) -> None:
        self._sock.close()


class _Ear(io.RawIOBase):
    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        super().__init__()
        self._sock, self._connection = sock, connection
        # It keeps the socket open when only the rest of an answer is still to be read.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.clock.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
