"""Azurite on this machine: Microsoft's own stand-in of Azure Storage, a program of Node's.

Its containers are made, and what lies in them is listed, with requests that are signed here: the
client under test can do neither (what is listed are also blocks of blobs that never came to be).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from fetched import AZURITE, serving

#: The account that every Azurite has. Its key is no secret: it stands in the docs.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
VERSION: Final = "2021-08-06"


@dataclass(frozen=True)
class Azurite:
    """A server that answers."""

    address: str

    def container(self) -> str:
        """A new container; its name."""
        name = f"c{uuid.uuid4().hex[:20]}"
        self._ask("PUT", name, {"restype": "container"})
        return name

    def names(self, container: str, *, unfinished: bool = False) -> list[str]:
        """The blobs in a container; if asked for, also those of which only blocks were sent."""
        also = {"include": "uncommittedblobs"} if unfinished else {}
        said = self._ask("GET", container, {"comp": "list", "restype": "container", **also})
        return [name.text or "" for name in ElementTree.fromstring(said).iterfind(".//Blob/Name")]

    def environment(self, address: str = "") -> Mapping[str, str]:
        """What tells a client where it is (or the proxy in front of it), and who asks."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"{address or self.address}/{ACCOUNT}",
        }

    def _ask(self, method: str, container: str, query: Mapping[str, str]) -> bytes:
        words = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        url = f"{self.address}/{ACCOUNT}/{container}?{words}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        signed = _signature(method, urlsplit(url).path, query, headers)
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signed}"
        request = urllib.request.Request(url, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            said: bytes = answer.read()
            return said


def _signature(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Of a request without a body: of the headers that count, it has only those of Azure."""
    lines = [method, *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items()))]
    lines += [f"/{ACCOUNT}{path}", *(f"{name}:{value}" for name, value in sorted(query.items()))]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


@contextmanager
def azurite() -> Iterator[Azurite]:
    """A server that keeps everything in memory. ``NotFetched`` if it is not to be had."""
    program = AZURITE.found()

    def command(port: int) -> list[str]:
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        return ["node", str(program), *where, "--skipApiVersionCheck", "--disableTelemetry"]

    with serving(command, "successfully listens on") as port:
        yield Azurite(f"http://127.0.0.1:{port}")
