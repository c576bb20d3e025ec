"""Reading a film out of a store: a file that fetches what the decoder asks for, and little more.

A decoder reads a few thousand bytes at a time, some of them here (pictures), some there (sound),
and skips from the index at the end of a film to the second it is to show. So the first look at a
place fetches little; whoever reads on from where a look ended is given twice as much each time. The
last few places stay in memory.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Final

from finecut.io.process.child import beat
from finecut.io.storage.retry import ShortRead
from finecut.io.storage.stores import Opened

#: Bytes fetched at a place nobody has read yet, and the most that are fetched at once.
FIRST_LOOK, LONGEST_LOOK = 64 << 10, 4 << 20
#: So many places are kept in mind: pictures, sound and the index, of two readers.
PLACES: Final = 6

Patiently = Callable[[Callable[[], bytes]], bytes]


class RangedFile(io.RawIOBase):
    """An object as a file, read in ranges, each again when it broke off or came short.

    A decoder takes an early end for the end of the film. So what is missing is an error here, and
    PyAV hands it on as it is.
    """

    def __init__(self, uri: str, opened: Opened, patiently: Patiently) -> None:
        super().__init__()
        self._uri, self._opened, self._patiently = uri, opened, patiently
        self._place = 0
        #: What was fetched, the most recently used last: where it starts, and the bytes.
        self._looks: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = self._opened.size
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._opened.size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            start, data = self._look(wanted)
            part = data[self._place - start : self._place - start + wanted]
            parts.append(part)
            self._place += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _look(self, wanted: int) -> tuple[int, bytes]:
        """A look that holds the byte at this place."""
        length = FIRST_LOOK
        for index, (start, data) in enumerate(self._looks):
            if start <= self._place < start + len(data):
                self._looks.append(self._looks.pop(index))
                return self._looks[-1]
            if self._place == start + len(data):  # whoever read it reads on
                del self._looks[index]
                length = min(max(2 * len(data), FIRST_LOOK), LONGEST_LOOK)
                break
        length = min(max(length, wanted), self._opened.size - self._place)
        self._looks.append((self._place, self._patiently(lambda: self._fetched(length))))
        del self._looks[:-PLACES]
        return self._looks[-1]

    def _fetched(self, length: int) -> bytes:
        beat()  # waiting for a store is not standing still
        data = self._opened.fetch(self._place, length)
        if len(data) != length:
            raise ShortRead(
                f"{self._uri} returned only {len(data)} of the {length} bytes from position "
                f"{self._place} (of {self._opened.size} bytes in all). Usually the store or the "
                "network is overloaded. Run the same command again."
            )
        return data

    def close(self) -> None:
        self._opened.close()
        super().close()
