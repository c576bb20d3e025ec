"""Stores from which videos are read, and to which nothing is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from finecut.io.storage.stores import Found


class ReadOnlyStore:
    """The half of a store that writes: each method refuses, in the store's own words."""

    def _refuse(self, uri: str) -> NoReturn:
        raise NotImplementedError

    def create(self, uri: str, data: bytes) -> None:
        self._refuse(uri)

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        self._refuse(uri)

    def upload(self, uri: str, file: Path) -> None:
        self._refuse(uri)

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        self._refuse(uri)

    def move(self, staged: str, final: str) -> None:
        self._refuse(final)

    def delete(self, uri: str) -> None:
        self._refuse(uri)

    def delete_all(self, uris: Sequence[str]) -> None:
        self._refuse(uris[0])
