"""Parts: fixed shares of the input, so that several runs side by side write one output.

    names of videos    a.mp4   b.mp4   c.mp4   d.mp4        --part 1/2  a.mp4, d.mp4
    hash, modulo 2       0       1       1       0          --part 2/2  b.mp4, c.mp4

Which share a video is in depends on its name and on nothing else, so a video that is added or goes
moves no other one. Standard library only: options are checked with it.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

_PART: Final = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Part:
    """One of several shares; it contains the names of the videos that are in it.

    >>> "a.mp4" in Part(), [number for number in (1, 2, 3) if "a.mp4" in Part(number, 3)]
    (True, [2])
    """

    number: int = 1
    of: int = 1

    def __contains__(self, name: object) -> bool:
        digest = hashlib.sha256(str(name).encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def divided(self, among: int) -> list[Self]:
        """The parts of this part, which have no video in common.

        >>> [str(part) for part in Part(2, 3).divided(2)]
        ['2/6', '5/6']
        """
        kind, most = type(self), self.of * among
        return [kind(self.number + self.of * each, most) for each in range(among)]


WHOLE: Final = Part()


def parse_part(text: str | None) -> Part:
    """The part that is meant; all of it, if none is.

    >>> parse_part("2/4")
    Part(number=2, of=4)
    """
    if text is None:
        return WHOLE
    found = _PART.fullmatch(str(text))
    part = Part(*map(int, found.groups())) if found else None
    if part is None or part.number > part.of:
        raise ValueError(f"{text} is not a part: give K/N with K from 1 to N, such as 1/4")
    return part
