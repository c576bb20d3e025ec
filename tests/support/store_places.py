"""Stores on this machine, each behind a proxy: how they are called, told of and looked into."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest
from azurite import azurite
from fake_gcs import fake_gcs
from faulty_proxy import FaultyProxy
from fetched import NotFetched
from seaweed import Seaweed

from finecut.io.process import children as child

#: What tells libraries of stores where they are, and who asks.
TELLING: Final = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")


@dataclass(frozen=True)
class Place:
    """A new bucket, and the proxy through which it is reached."""

    root: str
    proxy: FaultyProxy
    environment: Mapping[str, str]
    #: What was begun there and never finished, where no listing of objects shows it.
    unfinished: Callable[[], list[str]]


def told(*places: Place) -> dict[str, str]:
    """This process's environment, with these stores and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(TELLING)}
    return kept | {name: text for place in places for name, text in place.environment.items()}


@contextmanager
def reached(*places: Place) -> Iterator[None]:
    """Within, this process reaches these stores."""
    with pytest.MonkeyPatch.context() as patch:
        wanted = told(*places)
        for name in {*os.environ} - {*wanted}:
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        child.kill_all()  # children take the environment over from the process that starts them
        yield
    child.kill_all()


def named(kind: str, server: Seaweed) -> AbstractContextManager[Place]:
    """A new bucket on the kind of store that is called so in paths."""
    return s3(server) if kind == "s3" else {"az": az, "gs": gs}[kind]()


@contextmanager
def s3(server: Seaweed) -> Iterator[Place]:
    bucket = server.bucket()
    with FaultyProxy(server.address) as proxy:
        environment = {**server.environment(), "AWS_ENDPOINT_URL": proxy.address}
        yield Place(f"s3://{bucket}", proxy, environment, lambda: _parts(server, bucket))


def _parts(server: Seaweed, bucket: str) -> list[str]:
    """Uploads in parts, neither completed nor given up: SeaweedFS keeps them in a folder."""
    url = f"{server.filer}/buckets/{bucket}/.uploads/?limit=1000"
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            entries = json.load(answer)["Entries"] or []
    except urllib.request.HTTPError as error:
        with error:
            if error.code != 404:
                raise
        return []
    return [entry["FullPath"] for entry in entries]


@contextmanager
def az() -> Iterator[Place]:
    with _or_skip(ExitStack()) as stack:
        server = stack.enter_context(azurite())
        proxy = stack.enter_context(FaultyProxy(server.address))
        container = server.container()

        def unfinished() -> list[str]:
            there = server.names(container)
            return [name for name in server.names(container, unfinished=True) if name not in there]

        environment = server.environment(proxy.address)
        yield Place(f"az://{container}", proxy, environment, unfinished)


@contextmanager
def gs() -> Iterator[Place]:
    with _or_skip(ExitStack()) as stack:
        server = stack.enter_context(fake_gcs())
        proxy = stack.enter_context(FaultyProxy(server.address))
        server.stand_behind(proxy.address)
        yield Place(f"gs://{server.bucket()}", proxy, server.environment(proxy.address), list)


@contextmanager
def _or_skip(stack: ExitStack) -> Iterator[ExitStack]:
    try:
        with stack:
            yield stack
    except NotFetched as error:
        pytest.skip(str(error))
