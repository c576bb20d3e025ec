"""Numbers in bits, as codecs write them."""

from __future__ import annotations

from finecut.io.media.limits import FilmError

#: Zeros before a number that says how long it is; more are beyond reason.
MOST_ZEROS = 32


class BadUnits(FilmError):
    """Bytes that are not what their codec writes."""


class Bits:
    """Reads numbers of some bits, and those whose length says how large they are (ue, se)."""

    def __init__(self, data: bytes) -> None:
        self._value, self._size = int.from_bytes(data, "big"), 8 * len(data)
        self.at = 0

    def u(self, count: int) -> int:
        if self.at + count > self._size:
            raise BadUnits("an H.264 parameter set is shorter than it claims")
        self.at += count
        return (self._value >> (self._size - self.at)) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > MOST_ZEROS:
                raise BadUnits("an H.264 parameter set contains an absurdly large number")
        return (1 << zeros) - 1 + self.u(zeros)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.ue()

    def se(self) -> int:
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)

    def before(self) -> str:
        """All bits that were read, as text."""
        return f"{self._value >> (self._size - self.at):0{self.at}b}"
