"""A line to one server: JSON over HTTP, asked again when that may help, but never for long.

    ask ─▶ attempt ─▶ answer                                  a dict
             │  ╰──▶ refused, redirected, garbled             reported at once
             ╰─────▶ busy, broken, silent ─▶ pause ─▶ attempt ─▶ …  until time or patience is over

One question has its seconds for all its attempts and pauses; one attempt has at most half of them,
so that a server that fell silent once is asked once more. When the time of an attempt is over, its
connection is cut: a server that sends a letter a second does not hold anybody longer than one that
sends nothing. (Only the machine's own look-up of a name keeps its own time.)

Connections are kept and used again by whichever thread is next. A server closes those that are idle
for some seconds (vLLM: five) without a word, so a kept one that breaks is replaced at once. Proxies
of the environment are not used, and redirects are not followed: both would take the key elsewhere.
"""

import contextlib
import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from finecut.io.wording import count_of
from finecut.transforms.models.endpoint.address import (
    KEYS,
    Address,
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
Reply = tuple[http.client.HTTPResponse, bytes]


class Line:
    """One server, the patience there is with it, and the idle connections to it."""

    def __init__(
        self,
        address: Address,
        timeout: float,
        retries: int = RETRIES,
        pause: Pause = time.sleep,
    ) -> None:
        self.address, self.timeout = address, timeout
        self._retries, self._pause = retries, pause
        self._tls = ssl.create_default_context() if address.tls else None
        self._idle: deque[http.client.HTTPConnection] = deque()
        weakref.finalize(self, _hang_up, self._idle)

    def get(self, path: str) -> dict[str, Any]:
        return self._asked(self._request("GET", path))

    def post(self, path: str, asked: Mapping[str, Any], identifier: str) -> dict[str, Any]:
        """The answer to a question; the identifier is for the server's log."""
        return self._asked(self._request("POST", path, json.dumps(asked).encode()), identifier)

    def _request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        known = {
            "Accept": "application/json",
            "User-Agent": "finecut",
            "Content-Type": body and "application/json",
            "Authorization": self.address.authorization,
        }
        headers = {name: value for name, value in known.items() if value is not None}
        url = self.address.target(path)
        return {"method": method, "url": url, "body": body, "headers": headers}

    def _asked(self, request: dict[str, Any], identifier: str = "") -> dict[str, Any]:
        ends = time.monotonic() + self.timeout
        for attempt in range(self._retries + 1):
            asked_for = 0.0
            if identifier and identifier.isascii() and identifier.isprintable():
                # Servers know requests by it, vLLM too, which does not take the same one twice.
                request["headers"]["X-Request-Id"] = f"{identifier}-{uuid.uuid4().hex[:8]}"
            try:
                response, body = self._attempt(
                    request, min(ends, time.monotonic() + self.timeout / 2)
                )
            except (OSError, http.client.HTTPException) as error:
                why = self._explained(error)
                # No other answer is to be expected of these, whatever one waits.
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise EndpointRefused(f"{self.address} was not asked: {why}") from error
            else:
                if response.status != TOO_MANY and response.status < 500:
                    return self._content(response, body)
                asked_for = waiting_time(response.headers.get("Retry-After"))
                why = (
                    f"it answered {response.status}: {self.address.quoted(body)!r}. "
                    "Usually the server is starting, or overloaded; check its log, or use fewer "
                    "workers."
                )
            wait = max(FIRST_PAUSE * 2.0**attempt * random.uniform(0.5, 1.5), asked_for)
            if attempt == self._retries or time.monotonic() + wait >= ends:
                break
            self._pause(wait)
        attempts = count_of(attempt + 1, "attempt")
        raise EndpointDown(f"{self.address} gave no usable response after {attempts}: {why}")

    def _attempt(self, request: dict[str, Any], ends: float) -> Reply:
        if (kept := _taken(self._idle)) is not None:
            try:
                return self._over(kept, request, ends)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLError):
                # What was kept beside it is as old.
                _hang_up(self._idle)
        place = (self.address.host, self.address.port)
        patience = min(CONNECT_SECONDS, max(0.001, ends - time.monotonic()))
        connection = (
            http.client.HTTPConnection(*place, timeout=patience)
            if self._tls is None
            else http.client.HTTPSConnection(*place, timeout=patience, context=self._tls)
        )
        connection.connect()
        return self._over(connection, request, ends)

    def _over(
        self, connection: http.client.HTTPConnection, request: dict[str, Any], ends: float
    ) -> Reply:
        sent = whole = False
        try:
            with _cut_at(connection.sock, ends):
                # A server may refuse a long question before it has all of it.
                with contextlib.suppress(BrokenPipeError):
                    connection.request(**request)
                    sent = True
                response = connection.getresponse()
                body = self._body(response)
                response.close()
            whole = not response.will_close
            return response, body
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
                    f"beginning with {beginning!r}. Usually the URL belongs to something else."
                )
        if length is not None and size < length:
            raise http.client.IncompleteRead(b"", length - size)
        return b"".join(pieces)

    def _content(self, response: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
        """The answer in a reply, or what a refusal means."""
        quote, status = self.address.quoted(body), response.status
        if not 200 <= status < 300:
            why = _refused(status, response.headers.get("Location", ""))
            raise EndpointRefused(f"{self.address} answered {status}: {why} Response: {quote!r}")
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(content := json.loads(body), dict):
                return content
        raise EndpointGarbled(
            f"{self.address} answered with something that is not a JSON object: {quote!r}. "
            "Usually the URL belongs to something else, or the answer is the page of a proxy."
        )

    def _explained(self, error: Exception) -> str:
        match error:
            case ConnectionRefusedError():
                return (
                    "nothing is listening there (connection refused). Usually the server is not "
                    "up yet, listens only on its own machine (vLLM: --host 0.0.0.0), or the port "
                    "is wrong."
                )
            case socket.gaierror():
                return (
                    "there is no machine of that name. Usually the name is mistyped, or it is "
                    "known only in another network."
                )
            case ssl.SSLCertVerificationError():
                return (
                    f"its certificate is not trusted ({error.verify_message}). Usually it is "
                    "self-signed: set the environment variable SSL_CERT_FILE to the certificate "
                    "of its authority."
                )
            case ssl.SSLError():
                return (
                    "no encrypted connection could be established "
                    f"({error.reason or type(error).__name__}). Usually the server uses plain "
                    "http: write http:// instead of https://."
                )
            case TimeoutError():
                return (
                    f"it took too long. All attempts together had {self.timeout:g} seconds, and "
                    "each had half of that. Usually the server is overloaded, or a firewall drops "
                    "the traffic: use fewer workers, or allow more time (--model-timeout)."
                )
        what = self.address.quoted(str(error) or repr(error))
        return (
            f"the connection broke ({type(error).__name__}: {what}). Usually the server crashed "
            "or was stopped, or something other than an HTTP server is listening; check its log."
        )


def _refused(status: int, location: str) -> str:
    """What a status means that is no answer."""
    match status:
        case 401 | 403:
            return (
                f"it does not accept the credentials. Set {KEYS[0]} (or {KEYS[1]}) to a valid "
                "key, on the workers, too."
            )
        case 404:
            return (
                "it does not know the path or the model. Usually the URL lacks /v1, or the text "
                "after # is not the name under which the model is served."
            )
        case _ if 300 <= status < 400:
            return (
                f"it redirects to {_place(location)}, and finecut does not send the key there. "
                "Usually the URL is outdated, or has http instead of https: give the current one."
            )
    return (
        "it rejects this request. Usually it accepts fewer pictures (vLLM: "
        "--limit-mm-per-prompt '{\"image\": 64}'), no pictures at all, or fewer tokens than "
        "were sent or requested (vLLM: --max-model-len)."
    )


def _taken(connections: deque[http.client.HTTPConnection]) -> http.client.HTTPConnection | None:
    """The one that was used last, if there is one; other threads take them too."""
    try:
        return connections.pop()
    except IndexError:
        return None


def _hang_up(connections: deque[http.client.HTTPConnection]) -> None:
    while (connection := _taken(connections)) is not None:
        connection.close()


def waiting_time(header: str | None) -> float:
    """The seconds a server asks for, as a number or as a date; 0 if it does not."""
    if header is None:
        return 0.0
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", header):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _place(location: str) -> str:
    """The machine a redirect names, without what else is in it."""
    try:
        split = urlsplit(location)
    except ValueError:
        return "an address that cannot be understood"
    return repr(f"{split.scheme}://{split.netloc.rpartition('@')[2]}") if split.netloc else "itself"


@contextlib.contextmanager
def _cut_at(sock: socket.socket, ends: float) -> Iterator[None]:
    """Within, the connection is cut when its time is over."""
    sock.settimeout(None)
    over = threading.Event()

    def cut() -> None:
        over.set()
        # Not the method of an encrypted socket, which would take away what is being read with.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(ends - time.monotonic(), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError("its time is over")
