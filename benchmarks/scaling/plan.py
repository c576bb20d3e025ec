"""Which clips a painted output has: videos, chunks, verdicts, and who is a near-duplicate of whom.

All of it follows from the number of rows and a seed, so each process may find out by itself.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.transforms.catalogue.buckets import DIGITS, MOST_CHUNKS

#: As many clips as chunks of a long video usually have, and chunks in a video.
CLIPS_OF_CHUNK, CHUNKS_OF_VIDEO = 20, 5
#: Seconds of a clip, and its frames in a second.
SECONDS, RATE = 2, 10
#: So many of all clips are rejected by each rule.
REJECTED: Final = {"motion>0.005": 0.1, "sharpness>0.1": 0.05}
#: So many of those that are kept have near-duplicates, in groups of so many.
DUPLICATES, GROUP = 0.1, (2, 5)
FOLDER_OF: Final = 1000

Numbers = NDArray[np.int64]
#: 32 hexadecimal digits, and where they stand among the dashes of an id.
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]


@dataclass(frozen=True)
class Plan:
    """An output of so many clips."""

    rows: int
    seed: int = 0
    clips_of_chunk: int = CLIPS_OF_CHUNK

    @property
    def chunks(self) -> int:
        return -(-self.rows // self.clips_of_chunk)

    @property
    def videos(self) -> int:
        return -(-self.chunks // CHUNKS_OF_VIDEO)

    @property
    def clips_of_video(self) -> int:
        return self.clips_of_chunk * CHUNKS_OF_VIDEO

    def dice(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *what])

    @cached_property
    def reasons(self) -> NDArray[np.int8]:
        """Of each row: 0 if it is kept, or the number of the rule that rejects it."""
        limits = np.cumsum([*REJECTED.values()])
        fallen = np.searchsorted(limits, self.dice(1).random(self.rows), side="right")
        return ((fallen + 1) % (len(limits) + 1)).astype(np.int8)

    @cached_property
    def groups(self) -> NDArray[np.int32]:
        """Of each row: the number of its group of near-duplicates, or -1."""
        dice = self.dice(2)
        kept = dice.permutation(np.nonzero(self.reasons == 0)[0])
        sizes = dice.integers(GROUP[0], GROUP[1] + 1, size=int(len(kept) * DUPLICATES) // GROUP[0])
        sizes = sizes[np.cumsum(sizes) <= len(kept) * DUPLICATES]
        found = np.full(self.rows, -1, np.int32)
        found[kept[: sizes.sum()]] = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        return found

    @cached_property
    def chunk_ids(self) -> NDArray[np.bytes_]:
        names = (
            f"{name_of(chunk // CHUNKS_OF_VIDEO)}_{chunk % CHUNKS_OF_VIDEO}"
            for chunk in range(self.chunks)
        )
        return uuids(names, self.chunks).view("S36").ravel()

    def parts(self) -> Iterator[tuple[str, Numbers]]:
        """The files of a compacted catalogue by prefix, and the chunks in each."""
        order = np.argsort(self.chunk_ids, kind="stable")
        yield from self._divided("", order)

    def _divided(self, prefix: str, chunks: Numbers) -> Iterator[tuple[str, Numbers]]:
        if len(chunks) <= MOST_CHUNKS:
            if len(chunks):
                yield prefix, chunks
            return
        bounds = [(prefix + digit).encode() for digit in DIGITS[1:]]
        ends = np.searchsorted(self.chunk_ids[chunks], np.array(bounds))
        for digit, part in zip(DIGITS, np.split(chunks, ends), strict=True):
            yield from self._divided(prefix + digit, part)

    def rows_of(self, chunks: Numbers) -> Numbers:
        """The rows of these chunks, chunk by chunk."""
        first = chunks[:, None] * self.clips_of_chunk
        rows = (first + np.arange(self.clips_of_chunk)).ravel()
        return rows[rows < self.rows]


def relative_of(video: int) -> str:
    """The path of a video below the input.

    >>> relative_of(1234)
    '00001/video-00001234.mp4'
    """
    return f"{video // FOLDER_OF:05}/video-{video:08}.mp4"


def name_of(video: int) -> str:
    return f"/films/{relative_of(video)}"


def clip_ids(plan: Plan, rows: Numbers) -> NDArray[np.uint8]:
    """What :func:`finecut.io.layout.clip_id` makes of each, a line of 36 bytes each."""
    videos, places = np.divmod(rows, plan.clips_of_video)
    frames = SECONDS * RATE
    names = (
        f"{name_of(video)}_{place * frames}_{(place + 1) * frames}"
        for video, place in zip(videos.tolist(), places.tolist(), strict=True)
    )
    return uuids(names, len(rows))


def uuids(names: Iterable[str], count: int) -> NDArray[np.uint8]:
    """What ``uuid.uuid5(uuid.NAMESPACE_URL, name)`` is of each, a line of 36 bytes each."""
    known = hashlib.sha1(uuid.NAMESPACE_URL.bytes)
    digests = bytearray()
    for name in names:
        one = known.copy()
        one.update(name.encode())
        digests += one.digest()[:16]
    bits = np.frombuffer(digests, np.uint8).reshape(count, 16).copy()
    bits[:, 6] = bits[:, 6] & 0x0F | 0x50
    bits[:, 8] = bits[:, 8] & 0x3F | 0x80
    lines = np.full((count, 36), ord("-"), np.uint8)
    lines[:, _PLACES] = _HEX[bits].reshape(count, 32)
    return lines


def texts_of(lines: NDArray[Any]) -> pa.Array:
    """Lines of equal length as an array of texts."""
    count, width = lines.shape
    ends = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    data = np.ascontiguousarray(lines)
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(data))
