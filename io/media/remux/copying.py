"""Copying: clips made of a film's own packets, without encoding them again, or hardly.

    film     I────────I────────I────────I────────I────────      I  a key frame
    planned       ▕▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▏
    copy     ▕────────┼────────┼────────▏                       from key frame to key frame
    smart         ▕░░░┼────────┼──────░▏                        ░ encoded: exactly as planned

``copy`` decodes nothing. A clip begins with the last key frame at or before its planned start and
ends where a key frame begins at or after its planned end; its record says which span of the video
that is. ``smart`` holds exactly the planned frames: those from the start to the next key frame are
encoded anew, and the few at the end that wait for pictures after it. Videos and clips that cannot
be copied are encoded as usual, and their records say why.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from finecut.io.media.cutting import COPY, ENCODE, SMART, CutClip, Recipe, cut
from finecut.io.media.frames.cheap_frames import sample
from finecut.io.media.remux.copy_pass import COPIED, SPLICED, CopyPass
from finecut.io.media.remux.h264 import BadUnits
from finecut.io.media.remux.sections import Refused, Sections
from finecut.io.media.remux.splicing import copyable, rewind_again
from finecut.io.media.seeking import OpenSource, first_key_shown, heard_from, opened, seek_before
from finecut.io.records import PlannedClip, Transcoded, Video

__all__ = ["COPIED", "COPY", "ENCODE", "ENCODED", "SMART", "SPLICED", "transcode"]

#: What a record says of a clip that is neither copied nor spliced.
ENCODED = "encoded"

#: Clips that have to be encoded are cut in one pass if no more seconds than this lie between them.
NEAR = 10


def transcode(
    file: str | BinaryIO, video: Video, clips: Sequence[PlannedClip], recipe: Recipe
) -> Iterator[CutClip]:
    """Make ``<id>.mp4`` of these, as :func:`cut` does, by copying what can be copied."""
    if recipe.mode == ENCODE:
        yield from cut(file, video, clips, recipe)
        return
    refused: dict[PlannedClip, str] = {}
    for clip, outcome in _copied(file, video, clips, recipe):
        if isinstance(outcome, str):
            refused[clip] = outcome
        else:
            yield sample(outcome, recipe)
    for near in _groups(refused):
        if not isinstance(file, str):
            file.seek(0)
        for result in cut(file, video, near, recipe):
            yield result.noting(transcoded=Transcoded(ENCODED, refused[result.planned]))


def _groups(clips: Iterable[PlannedClip]) -> Iterator[list[PlannedClip]]:
    """Clips that lie near to each other, so that nothing long between them is decoded in vain."""
    near: list[PlannedClip] = []
    until = -math.inf
    for clip in sorted(clips, key=lambda clip: clip.span):
        if near and clip.span.start > until + NEAR:
            yield near
            near = []
        near.append(clip)
        until = max(until, clip.span.end)
    if near:
        yield near


def _copied(
    file: str | BinaryIO, video: Video, clips: Sequence[PlannedClip], recipe: Recipe
) -> Iterator[tuple[PlannedClip, CutClip | str]]:
    """Each planned clip with what became of it, or with why it cannot be copied."""
    if not clips:
        return
    exact = recipe.mode == SMART
    with opened(file, video, recipe.limits, recipe.encoding.audio) as source:
        try:
            film = copyable(source, recipe.encoding, exact)
            from_start = _go_before(source, min(clip.span.start for clip in clips))
            source.stream.codec_context.reorder_depth = film.delay
        except (Refused, BadUnits) as reason:
            yield from ((clip, str(reason)) for clip in clips)
            return
        sections = Sections(
            source.clock,
            source.limits,
            film.header,
            film.watch,
            strictly=exact,
            from_start=from_start,
        )
        for clip, outcome in CopyPass(source, film, recipe.folder).run(clips, sections):
            yield clip, outcome if isinstance(outcome, str) else outcome.noting(**source.facts)


def _go_before(source: OpenSource, start: float) -> bool:
    """Go to where a clip from ``start`` on may begin, and before its sound; whether that is the
    film's beginning. Where it is snapped to a key frame, its sound begins there, too.
    """
    from_start = seek_before(source, start)
    if from_start or source.listener is None:
        return from_start
    key = first_key_shown(source, start)
    # seek_before takes a container for one at its beginning where it has nowhere to go.
    rewind_again(source)
    return seek_before(source, heard_from(source, start if key is None else float(key)))
