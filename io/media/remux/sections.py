"""Sections: the packets of a film from one key frame to the next, without decoding any.

    decoded in this order   I  P  b  b  P  b  b │ I  p  p  P  b  b │ I …      p  shown before its I,
    shown in this order     I  b  b  P  b  b  P   p  p  I  b  b  P   …           in an open group

A section is complete when the next one is known as far as its first picture that is not shown
before its key frame: only then it is certain when this one ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from finecut.io.media.clip_file import Packet
from finecut.io.media.clock import Clock
from finecut.io.media.limits import FilmError, Limits
from finecut.io.media.remux import h264
from finecut.io.media.remux.steady import SETS_CHANGE, Steady
from finecut.io.media.source import ENCRYPTED

#: Sections are held in memory, and clips that are copied are as long as they; beyond these they
#: are not.
LONGEST_SECONDS, MOST_BYTES = 30, 128 << 20

FAR_APART = f"its key frames are more than {LONGEST_SECONDS} s or {MOST_BYTES >> 20} MB apart"
OPEN_GROUPS = "its groups of pictures are open: frames after a key frame need frames before it"


@dataclass
class Section:
    """Packets in the order of decoding, from a key frame on; times are ticks from second 0."""

    #: When the key frame is shown.
    first: int
    #: Nothing was before it in the film.
    opens_film: bool
    packets: list[Packet] = field(default_factory=list)
    #: When each is shown.
    shown: list[int] = field(default_factory=list)
    num_bytes: int = 0
    #: When the next section shows its key frame, and its first picture; ``None``: the film ends.
    following: int | None = None
    ends: int | None = None
    #: What keeps it from being copied, whoever asks.
    why_not: str | None = None
    #: It has key frames that are no places to begin at.
    is_open: bool = False


class Sections:
    """Gathers the packets of a film's pictures into sections.

    ``header`` is given for H.264, whose key frames are not all places to begin at. ``strictly``:
    they begin only where no earlier picture is needed. ``watch`` sees whether all pictures are read
    by the header of the track.
    """

    def __init__(
        self,
        clock: Clock,
        limits: Limits,
        header: h264.Header | None,
        watch: Steady | None,
        *,
        strictly: bool,
        from_start: bool,
    ) -> None:
        #: Sees whether packets are read as the header says; and whether another header came.
        self._watch, self._new_header = watch, False
        self._tick: Callable[[int], int] = clock.ticker()
        self._longest = LONGEST_SECONDS * clock.clip_time_base.denominator
        self._header, self._strictly, self._limits = header, strictly, limits
        self._may_begin = h264.begins_anew if strictly else h264.may_begin
        self._from_start = from_start
        self._count = 0
        #: Complete but for its end; and the one that is gathered.
        self._whole: Section | None = None
        self._growing: Section | None = None
        #: When the latest picture is shown, and whether key frames were no places to begin at.
        self._latest, self._refused = -1, False

    def hopeless(self, end: int) -> str | None:
        """Why nothing until this tick can be copied any more, once that is certain."""
        section = self._growing
        if self._latest < end or self._whole is not None:
            return None
        return self.why_nothing if section is None else section.why_not

    @property
    def why_nothing(self) -> str:
        """Why there is no section at all."""
        return OPEN_GROUPS if self._refused else "the video shows nothing there"

    def take(self, packet: Packet) -> Section | None:
        """The next packet of pictures; what it completes."""
        if not packet.size:
            return None
        self._count += 1
        self._limits.refuse_frames(self._count)
        shown = None if packet.pts is None else self._tick(packet.pts)
        parts, trouble = self._read(packet, shown)
        self._latest = self._latest if shown is None else max(self._latest, shown)
        begins = (
            packet.is_keyframe
            and shown is not None
            and (self._header is None or self._may_begin(parts))
        )
        if begins and shown is not None:
            completed = self._completed()
            if self._growing is not None:
                self._growing.following = shown
            self._whole = self._growing
            self._growing = Section(shown, self._from_start and self._growing is None)
        else:
            completed = None
        self._refused |= packet.is_keyframe and not begins
        section = self._growing
        if section is None:
            return None  # before the first key frame nothing can be shown
        section.packets.append(packet)
        section.shown.append(section.first if shown is None else shown)
        section.num_bytes += packet.size
        section.is_open |= packet.is_keyframe and not begins
        self._bound(section)
        section.why_not = section.why_not or trouble
        if completed is None and section.shown[-1] > section.first:
            completed = self._completed()
        return completed

    def rest(self) -> Iterator[Section]:
        """What is left at the film's end."""
        completed = self._completed()
        if completed is not None:
            yield completed
        if self._growing is not None:
            yield self._checked(self._growing)

    def _read(self, packet: Packet, shown: int | None) -> tuple[list[bytes], str | None]:
        """The units of an H.264 packet, and what is wrong with any."""
        changed = self._change(packet)
        troubles = {
            "the container does not record when frames are shown": shown is None,
            "the container marks its data as damaged": packet.is_corrupt,
            "the container hides some of its frames": packet.is_discard,
            "its packets are encrypted": packet.has_sidedata(ENCRYPTED),
        }
        trouble = next((trouble for trouble, is_so in troubles.items() if is_so), None)
        if trouble or self._header is None or not (self._strictly or packet.is_keyframe):
            return [], trouble or changed
        try:
            return h264.units(bytes(packet), self._header.length_size), changed
        except FilmError as error:
            return [], str(error)

    def _change(self, packet: Packet) -> str | None:
        """Why the header of the track is not this packet's, as far as its bytes show."""
        self._new_header |= packet.has_sidedata("new_extradata")
        if self._new_header:
            return SETS_CHANGE
        return None if self._watch is None else self._watch(bytes(packet))

    def _bound(self, section: Section) -> None:
        long = section.shown[-1] - section.first > self._longest
        if long or section.num_bytes > MOST_BYTES:
            section.why_not = OPEN_GROUPS if section.is_open else FAR_APART
            section.packets.clear()

    def _completed(self) -> Section | None:
        section, self._whole = self._whole, None
        if section is None:
            return None
        assert self._growing is not None
        section.ends = min(self._growing.shown, default=self._growing.first)
        return self._checked(section)

    def _checked(self, section: Section) -> Section:
        jumps = section.ends is not None and max(section.shown) >= section.ends
        if len(set(section.shown)) < len(section.shown):
            section.why_not = section.why_not or "two of its packets show the same frame"
        # Pictures that are shown before the key frame need the section before.
        elif jumps or (self._strictly and min(section.shown) < section.first):
            section.why_not = section.why_not or "its timestamps jump"
        return section


# ── what a clip takes of a section ───────────────────────────────────────────────────────────────


class Refused(Exception):
    """A planned clip that cannot be copied; the message says why."""


@dataclass(frozen=True)
class Part:
    """What a clip takes of a section."""

    #: How many packets as they are.
    copied: int = 0
    #: Pictures shown from one tick until another, encoded: before the copied ones, or after.
    encoded: tuple[int, int] | None = None
    #: When the last of all these is over, and whether the clip ends there.
    ends: int | None = None
    last: bool = False


def copied_part(section: Section, end: int) -> Part:
    """All of the section: a clip that is only copied ends with a section."""
    last = section.ends is None or section.ends >= end
    return Part(len(section.packets), None, section.ends, last)


def exact_part(section: Section, start: int, end: int) -> Part:
    """What of the section is shown in ``[start, end)``; its key frame is the first it shows.

    >>> section = Section(0, True, [None] * 5, [0, 3, 1, 2, 4], following=5, ends=5)
    >>> exact_part(section, 0, 3)
    Part(copied=1, encoded=(1, 3), ends=3, last=True)
    >>> exact_part(section, 0, 4)
    Part(copied=4, encoded=None, ends=4, last=True)
    """
    ends = section.ends
    if start > section.first:
        if ends is None or ends >= end:
            raise Refused(OPEN_GROUPS if section.is_open else "no key frame lies within the clip")
        return Part(0, (start, ends) if max(section.shown) >= start else None, ends)
    if ends is not None and ends <= end:
        return Part(len(section.packets), None, ends, ends == end)
    order = sorted(section.shown)
    wanted = sum(tick < end for tick in order)
    if wanted == len(order):
        return Part(wanted, None, None if ends is None else min(ends, end), True)
    copied, latest = 0, section.first
    for place, tick in enumerate(section.shown[:wanted]):
        latest = max(latest, tick)
        if latest == order[place] and latest < end:
            copied = place + 1
    encoded = (order[copied], end) if copied < wanted else None
    return Part(copied, encoded, min(order[wanted], end), True)
