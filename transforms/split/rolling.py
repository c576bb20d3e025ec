"""A row that is forgotten at one end and grows at the other, in the same memory all the time.

Putting arrays together anew for each block of a film takes fresh memory each time. Where freed
blocks go back to the system at once, as in the command (:func:`~finecut.io.media.limits.
return_large_blocks`), the system has to empty a thousand pages for each block, which took longer
than what was done with them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from finecut.io.media.frame_view import Array

#: So many entries fit in at first: some blocks, so that the kept ones are moved now and then only.
_ROOM = 512


class Rolling:
    """The entries that are kept, each an array of this shape."""

    def __init__(self, shape: tuple[int, ...], kind: npt.DTypeLike) -> None:
        self._room: Array = np.zeros((_ROOM, *shape), kind)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def __getitem__(self, place: Any) -> Any:
        """Of those that are kept; slices are views, which are good until the next entries come."""
        return self._room[self._begin : self._end][place]

    def grow(self, old: int, fresh: int) -> Array:
        """Forget so many of the oldest; where so many fresh ones are to be put."""
        self._begin += old
        kept = len(self)
        if self._end + fresh > len(self._room):
            room = self._room
            if kept + fresh > len(room):
                room = np.zeros((2 * (kept + fresh), *room.shape[1:]), room.dtype)
            room[:kept] = self[:]
            self._room, self._begin, self._end = room, 0, kept
        self._end += fresh
        return self._room[self._end - fresh : self._end]
