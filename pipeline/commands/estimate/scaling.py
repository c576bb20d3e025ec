"""Scaling: from what a sample took to what all videos will take.

clips       counted; where scenes have to be detected, as many a second as in the sample
CPU         by the work that seconds of video are (transforms/amount.py); videos and the
            run have their own share, which painted films tell
bytes       of clips: each video of the sample speaks for those that are like it
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from finecut.io.records import Video
from finecut.io.storage.files import is_remote
from finecut.io.storage.stores import LONGEST_LOOK
from finecut.pipeline.choices.cutting import ENCODE_ALL
from finecut.pipeline.commands.estimate.choosing import Foreseen, foreseen
from finecut.pipeline.commands.estimate.curating import Painted, Things, Took
from finecut.pipeline.commands.estimate.looking import Seen
from finecut.pipeline.commands.estimate.places import Looked
from finecut.pipeline.options import Options
from finecut.transforms.amount import counted_watching, work_of
from finecut.transforms.split.scenes import Detection, Piece
from finecut.transforms.split.spans import Splitting

#: Reads of a source video in a store besides those of its bytes: to know it, probe it, and seek.
LOOKS: Final = 10

#: Requests for a video that is finished or cannot be read: whether it has a document.
OF_OTHERS: Final = {"read": 1}

#: How much something is of so many seconds of a video.
Weight = Callable[[Video, float], float]


@dataclass(frozen=True)
class Group:
    """A video of the sample and the videos that it speaks for, itself among them."""

    video: Video
    members: Sequence[Video]
    #: What becomes of it, as far as was looked.
    known: Foreseen
    looked: Looked
    #: The pieces that were cut to see what it takes.
    chosen: Sequence[Piece]

    @property
    def seconds(self) -> float:
        """How many of its seconds were looked at."""
        return self.looked.seconds

    @property
    def seconds_chosen(self) -> float:
        return sum(piece.span.length for piece in self.chosen)


@dataclass(frozen=True)
class Scaling:
    """What was seen, and what a little of it took."""

    options: Options
    splitting: Splitting
    seen: Seen
    groups: Sequence[Group]
    painted: Painted
    sample: Took

    @cached_property
    def each(self) -> dict[str, Foreseen]:
        """What becomes of each video that was probed."""
        if isinstance(self.splitting.cutter, Detection):
            return {
                video.name: self._like(group, video)
                for group in self.groups
                for video in group.members
            }
        cutter, splitting = self.splitting.cutter, self.splitting
        return {
            video.name: foreseen(video, list(cutter.pieces(video)), splitting)
            for video in self.seen.videos
        }

    @property
    def total(self) -> Foreseen:
        """What becomes of all videos that were found."""
        each = self.each.values()
        added = Foreseen(
            sum(one.clips for one in each),
            sum(one.chunks for one in each),
            sum(one.seconds for one in each),
        )
        return added.times(self.seen.scale)

    def cpu_seconds(self, detecting: float) -> float:
        """Processor time of all of it; scenes of what was looked at took ``detecting``."""
        begun = self.painted.cpu_of_a_run + self.painted.cpu_of_a_video * len(self.groups)
        weight = self._work
        tried = sum(weight(group.video, group.seconds_chosen) for group in self.groups)
        rate = max(0.0, self.sample.cpu_seconds - begun) / tried if tried else 0.0
        needed = sum(
            rate * weight(video, self.each[video.name].seconds)
            for group in self.groups
            for video in group.members
        )
        videos = [video for group in self.groups for video in group.members]
        watching = sum(map(counted_watching, videos))
        watched = sum(
            counted_watching(group.video) * group.looked.seconds_watched / group.video.duration
            for group in self.groups
            if group.video.duration
        )
        needed += detecting * watching / watched if watched else 0.0
        needed += self.painted.cpu_of_a_video * len(self.seen.videos)
        return needed * self.seen.scale

    @property
    def clip_bytes(self) -> float:
        """Bytes of all clips, kept and rejected."""
        weight, total = self._size, 0.0
        tried = sum(weight(group.video, group.seconds_chosen) for group in self.groups)
        usual = sum(self.sample.clip_bytes.values()) / tried if tried else 0.0
        for group in self.groups:
            own, here = self.sample.clip_bytes.get(group.video.name), group.seconds_chosen
            rate = own / weight(group.video, here) if own and here else usual
            total += rate * sum(weight(one, self.each[one.name].seconds) for one in group.members)
        return total * self.seen.scale

    def amount(self, what: str) -> float:
        """Bytes of what is no clip, or requests of one kind."""
        total = self.total
        videos = len(self.seen.videos) * self.seen.scale
        things = Things(videos, total.chunks, total.clips)
        others = (self.seen.probed - len(self.seen.videos)) * self.seen.scale
        asked = OF_OTHERS.get(what, 0) * others if is_remote(self.options.output) else 0.0
        return self.painted.amount(what, self.sample, things) + asked

    def source_reads(self, times: int) -> float:
        """Requests that read the source videos, each so many times, out of stores."""
        far = [video for video in self.seen.videos if is_remote(video.source.uri)]
        reads = sum(LOOKS + times * math.ceil(video.size / LONGEST_LOOK) for video in far)
        return reads * self.seen.scale

    def _like(self, group: Group, video: Video) -> Foreseen:
        """What becomes of a video in which there is as much a second as in this one."""
        share = video.duration / group.seconds if group.seconds else 0.0
        if video is group.video and share <= 1:
            return group.known
        like = group.known.times(share)
        limit = self.splitting.limit
        if limit and like.clips > limit:
            like = like.times(limit / like.clips)
        chunks = math.ceil(like.seconds / self.splitting.chunk_seconds) if like.clips else 0
        return Foreseen(like.clips, chunks, like.seconds)

    @property
    def _work(self) -> Weight:
        """How much work seconds of a video are."""
        return work_of if self.options.transcode == ENCODE_ALL else _source_bytes

    @property
    def _size(self) -> Weight:
        """How large clips of so many seconds are, compared to others."""
        if self.options.transcode != ENCODE_ALL or self.options.use_input_bit_rate:
            return _source_bytes
        if self.options.bit_rate is not None:
            return lambda _video, seconds: seconds
        return _pictures


def _source_bytes(video: Video, seconds: float) -> float:
    return seconds * max(1, video.bit_rate_k)


def _pictures(video: Video, seconds: float) -> float:
    """At constant quality: more pixels are more bytes, and so is what was many bytes before."""
    pixels = video.framerate * video.width * video.height
    return seconds * math.sqrt(max(1.0, pixels) * max(1, video.bit_rate_k))
