"""An archive that is being made: its bytes follow from its members alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from finecut.io.dataset.places import Place
from finecut.io.storage import files as shelf
from finecut.io.tables.shards import Tar

#: Read and written at once.
PIECE: Final = 4 << 20


class Added(NamedTuple):
    """A file in an archive."""

    offset: int
    size: int
    digest: str


@dataclass
class Archive:
    """An archive, and what is in it by now."""

    tar: Tar
    #: A line for each member, which together tell archives apart.
    members: list[str] = field(default_factory=list)

    def add(self, name: str, source: Place) -> Added:
        hashed = hashlib.sha256()

        def pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
            while left and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                hashed.update(piece)
                yield piece

        size = shelf.size_of(source.path) if source.size is None else source.size
        with shelf.open_file(source.path) as file:
            file.seek(source.offset or 0)
            offset = self.tar.add_pieces(name, size, pieces(file, size))
        self.members.append(f"{name} {size} {hashed.hexdigest()}")
        return Added(offset, size, hashed.hexdigest())

    def rewind(self, size: int, members: int) -> None:
        """Forget all but what there was when it had this size, and so many members."""
        self.tar.rewind(size)
        del self.members[members:]

    @property
    def digest(self) -> str:
        """What tells it from others; nothing if it has no members."""
        return hashlib.sha256("\n".join(self.members).encode()).hexdigest() if self.members else ""
