"""Asking web servers: one request, its redirects, and its answer.

Redirects are followed here and not by the library, so that each place is judged like the first
(``connections.py``), credentials go to no other server, and nobody is led from https to http.
"""

import base64
import contextlib
import netrc
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from finecut.io.process.child import beat
from finecut.io.storage.web.connections import HOSTS, PrivateAddress, UnknownHost, pool_for
from finecut.io.storage.web.urls import (
    Access,
    BadUrl,
    Url,
    access_of,
    is_signed,
    name_of,
    parsed,
    public,
)
from finecut.io.storage.web.web_answers import Refused, TooManyRedirects, WebError, refusal

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS: Final = 5
#: Seconds to connect, and for which a server may be silent.
CONNECT: Final = 4.0
SILENCE: Final = 60.0
#: Bytes read at once; and a second, the least that is worth waiting for.
PIECE: Final = 64 << 10
LEAST_SPEED: Final = 10_000
AGENT: Final = "finecut"


@dataclass(frozen=True)
class Version:
    """One version of a file, as a server speaks of it."""

    #: Where it is after redirects.
    place: str
    #: Its bytes, or -1 if the server does not say.
    size: int
    #: What it is known by: ``ETag`` or ``Last-Modified``, and whether a condition may name it.
    mark: str
    is_strong: bool
    modified: float
    kind: str

    @property
    def named(self) -> str:
        """What changes when the file is replaced; nothing if the server says nothing of it."""
        size = "" if self.size < 0 else str(self.size)
        return f"{size} {self.mark}".strip()


class Answer:
    """The answer to one request, whose body is still to come."""

    def __init__(self, said: urllib3.BaseHTTPResponse, url: str, named: str) -> None:
        self._said, self._url, self._named = said, url, named
        self.status = said.status

    def header(self, name: str) -> str:
        return self._said.headers.get(name, "")

    def version(self) -> Version:
        length, etag = self.header("Content-Length"), self.header("ETag")
        when = self.header("Last-Modified")
        coding = self.header("Content-Encoding").lower()
        if coding not in ("", "identity"):
            raise WebError(
                f"{self._named}: the server sends it compressed ({coding}) although it was asked "
                "not to, so its bytes cannot be read in parts. Usually it was uploaded with that "
                "header; store the video as it is"
            )
        modified = 0.0
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            modified = parsedate_to_datetime(when).timestamp()
        return Version(
            place=self._url,
            size=int(length) if length.isascii() and length.isdigit() else -1,
            mark=etag or when,
            is_strong=etag.startswith('"') or (not etag and bool(when)),
            modified=modified,
            kind=self.header("Content-Type"),
        )

    def pieces(self, most: int = 1 << 62) -> Iterator[bytes]:
        """The body piece by piece, unless it comes too slowly to be worth it."""
        began, got = time.monotonic(), 0
        with _plainly(self._named):
            while got < most and (piece := self._said.read(min(PIECE, most - got))):
                got += len(piece)
                beat()
                yield piece
                if time.monotonic() - began > 2 * SILENCE + got / LEAST_SPEED:
                    raise TimeoutError(f"{self._named} comes too slowly: {got:,} bytes so far")

    def close(self) -> None:
        # A body that was read to its end leaves a connection that can be used again.
        if getattr(self._said, "length_remaining", None) == 0:
            self._said.read()  # of an answer without a body its end has to be seen, too
            self._said.release_conn()
        else:
            self._said.close()


def answer_to(method: str, uri: str, headers: dict[str, str], place: str = "") -> Answer:
    """The answer at the end of all redirects; what is no answer to use is raised.

    ``place``: where an earlier request was led to; one that is no more good is looked for again.
    """
    first = _url(uri)
    if place not in ("", first.asked):
        with contextlib.suppress(Refused, PermissionError, FileNotFoundError):
            return _followed(method, uri, headers, _url(place))
    return _followed(method, uri, headers, first)


def _followed(method: str, uri: str, headers: dict[str, str], url: Url) -> Answer:
    access, first, named = access_of(uri), parsed(uri), name_of(uri)
    for _ in range(MOST_REDIRECTS + 1):
        login = _login(first) if url.origin == first.origin else {}
        said = _said(method, url, {**headers, **login}, named=named, access=access)
        if said.status not in REDIRECTS or not said.headers.get("Location"):
            break
        said.close()
        url = _led_to(said.headers["Location"], url, first, named)
    else:
        raise TooManyRedirects(
            f"{named} redirects more than {MOST_REDIRECTS} times. Usually it redirects to itself, "
            "because it wants cookies or a login; give the URL of the file itself"
        )
    if said.status >= HTTPStatus.MULTIPLE_CHOICES:
        said.close()
        raise refusal(said.status, named, said.headers, is_signed=is_signed(uri))
    return Answer(said, url.asked, named)


def _url(url: str) -> Url:
    try:
        return parsed(url)
    except BadUrl as error:
        raise WebError(f"{public(url)!r}: {error}") from error


def _led_to(location: str, url: Url, first: Url, named: str) -> Url:
    """Where a redirect leads, if it may."""
    target = urljoin(url.asked, location)
    try:
        found = parsed(target)
    except BadUrl as error:
        raise WebError(f"{named} redirects to where no file can be ({error})") from error
    if found.scheme == "http" and first.scheme == "https":
        raise WebError(
            f"{named} redirects from https to http, where anybody on the way could replace the "
            "video. Give the http URL itself if you accept that"
        )
    return found


def _login(url: Url) -> dict[str, str]:
    """Who asks: as the URL says, else as ``~/.netrc`` does."""
    name, _, password = url.user.partition(":")
    login = (unquote(name), unquote(password)) if url.user else _noted(url.host)
    if login is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()}


def _noted(host: str) -> tuple[str, str] | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(str(path)).authenticators(host.partition(":")[0])
    except FileNotFoundError:
        return None
    except (netrc.NetrcParseError, OSError) as error:
        raise WebError(f"{path} cannot be read, so nobody can log in at {host}: {error}") from error
    return None if found is None else (found[0] or "", found[2] or "")


def _said(
    method: str, url: Url, headers: dict[str, str], *, named: str, access: Access
) -> urllib3.BaseHTTPResponse:
    usual = {"User-Agent": AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
    with _plainly(named, url.host):
        said = pool_for(url.host, url.scheme, access.private).request(
            method,
            url.asked,
            headers={**usual, **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=CONNECT, read=SILENCE),
        )
    HOSTS.heard(url.host)
    return said


@contextlib.contextmanager
def _plainly(named: str, host: str = "") -> Iterator[None]:
    """What went wrong on the way, in words; what passes as errors that are tried again."""
    try:
        yield
    except (PrivateAddress, UnknownHost) as error:
        raise WebError(f"{named}: {error}") from error
    except SSLError as error:
        raise WebError(
            f"{named}: the connection is not safe ({_reason(error)}). Usually the server's "
            "certificate has expired, or is of an authority that is unknown here: name its "
            "certificates with SSL_CERT_FILE"
        ) from error
    except ProxyError as error:
        raise WebError(
            f"{named}: the proxy did not let finecut through ({_reason(error)}). Check "
            "HTTPS_PROXY and NO_PROXY"
        ) from error
    except NameResolutionError as error:
        reason = f"{named}: no server has this name ({_reason(error)})"
        passes = getattr(error.__cause__, "errno", None) == socket.EAI_AGAIN
        raise (ConnectionError if passes else WebError)(reason) from error
    except (NewConnectionError, ConnectTimeoutError) as error:
        reason = f"{named}: the server cannot be reached ({_reason(error)})"
        raise (WebError if HOSTS.is_gone(host) else ConnectionError)(reason) from error
    except HTTPError as error:
        raise ConnectionError(f"{named}: the connection broke ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """What went wrong at the bottom, without the layers of the library around it."""
    while isinstance(below := error.__cause__ or error.__context__, OSError | HTTPError):
        error = below
    return getattr(error, "strerror", None) or str(error)
