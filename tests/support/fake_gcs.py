"""fake-gcs-server on this machine: a stand-in of Google's store, a program of Go's.

It checks what generation an upload may replace, but not what a copy or a removal may; whoever is to
be tested with that, is with ``faulty_store``.
"""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fetched import FAKE_GCS, serving


@dataclass(frozen=True)
class FakeGcs:
    """A server that answers."""

    address: str

    def bucket(self) -> str:
        """A new bucket; its name."""
        name = f"b{uuid.uuid4().hex[:20]}"
        self._ask("POST", "/storage/v1/b?project=tests", {"name": name})
        return name

    def stand_behind(self, address: str) -> None:
        """Let uploads that are resumed go to this address: that of the proxy in front."""
        self._ask("PUT", "/_internal/config", {"externalUrl": address})

    def environment(self, address: str = "") -> Mapping[str, str]:
        """What tells a client where it is (or the proxy in front of it)."""
        return {"STORAGE_EMULATOR_HOST": address or self.address}

    def _ask(self, method: str, path: str, told: Mapping[str, str]) -> None:
        request = urllib.request.Request(
            f"{self.address}{path}", data=json.dumps(told).encode(), method=method
        )
        with urllib.request.urlopen(request, timeout=60):
            """Whatever it says, it was done."""


@contextmanager
def fake_gcs() -> Iterator[FakeGcs]:
    """A server that keeps everything in memory. ``NotFetched`` if it is not to be had."""
    program = FAKE_GCS.found()

    def command(port: int) -> list[str]:
        address = f"127.0.0.1:{port}"
        where = ["-host", "127.0.0.1", "-port", str(port), "-public-host", address]
        return [str(program), "-scheme", "http", *where, "-backend", "memory"]

    with serving(command, "server started at") as port:
        yield FakeGcs(f"http://127.0.0.1:{port}")
