"""Where bytes of a dataset lie: they are a file, or a part of one. What is said where none do."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from finecut.io.errors import UserError
from finecut.io.storage import files as shelf


class NoDataset(UserError, ValueError):
    """What was named is no output, or a document in it cannot be read; the message says more."""


class Place(NamedTuple):
    """Where bytes lie: they are a file, or a part of one."""

    path: str
    #: ``None``: they are all of it.
    offset: int | None = None
    size: int | None = None

    def read(self) -> bytes:
        """The bytes, or :class:`NoDataset` if the file ends before they do."""
        if self.offset is None or self.size is None:
            return shelf.read(self.path)
        data = shelf.read_part(self.path, self.offset, self.size)
        if len(data) < self.size:
            raise NoDataset(
                f"{self.path} ends after {len(data)} of {self.size} bytes of a file in it: usually "
                "a copy was cut short"
            )
        return data

    @contextmanager
    def source(self) -> Iterator[str | BinaryIO]:
        """What a decoder reads them from; a part of a file is read as a whole."""
        if self.offset is not None:
            yield io.BytesIO(self.read())
            return
        with shelf.open_source(self.path) as source:
            yield source

    def num_bytes(self) -> int:
        """How many bytes they are, or would be if the file did not end before; raises
        ``FileNotFoundError`` if there is none.
        """
        there = shelf.size_of(self.path)
        if self.offset is None or self.size is None:
            return there
        return max(0, min(self.size, there - self.offset))

    def pieces(self, size: int) -> Iterator[bytes]:
        """The bytes, that many at a time; fewer of them where the file ends before."""
        with shelf.open_file(self.path) as file:
            if self.offset is not None:
                file.seek(self.offset)
            left = self.size
            while piece := file.read(size if left is None else min(size, left)):
                left = None if left is None else left - len(piece)
                yield piece
