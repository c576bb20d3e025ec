"""Channels of sound: which places AAC holds, and where sound of another place is heard instead.

    film    FL FR FC LFE BL BR FLC FRC SL SR TFL …      24 channels of a cinema
    AAC     FL FR FC LFE BL BR         SL SR            8 at the most, in these places
            FLC is heard in FL, TFL as well; a place behind (BC) is heard on both sides of it

All facts about layouts stand here. Nothing here reads planes of a frame one by one: PyAV counts
them wrongly from seven or eight channels on, so samples travel interleaved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

#: What AAC holds, by number of channels, and in which order their samples lie.
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
#: The format of samples that travel: all channels of one moment side by side.
INTERLEAVED = "flt"
#: Up to this many channels, those without places have the usual ones, as players assume, too.
MOST_USUAL = 8

#: Places that a smaller layout hears as the place they are nearest to.
_NEAREST = {
    "FLC": "FL",
    "FRC": "FR",
    "TFL": "FL",
    "TFR": "FR",
    "TFC": "FC",
    "BFL": "FL",
    "BFR": "FR",
    "BFC": "FC",
    "TBL": "BL",
    "TBR": "BR",
    "TBC": "BC",
    "TSL": "SL",
    "TSR": "SR",
    "SDL": "SL",
    "SDR": "SR",
    "SSL": "SL",
    "SSR": "SR",
    "TTL": "BL",
    "TTR": "BR",
    "DL": "FL",
    "DR": "FR",
    "LFE2": "LFE",
}
#: Where the others are heard: the first row that the layout has. Without a row for deep sounds
#: alone (LFE) they are left out, as players do.
_INSTEAD: dict[str, tuple[tuple[str, ...], ...]] = {
    "FL": (("FC",),),
    "FR": (("FC",),),
    "FC": (("FL", "FR"),),
    "BL": (("SL",), ("BC",), ("FL",), ("FC",)),
    "BR": (("SR",), ("BC",), ("FR",), ("FC",)),
    "SL": (("BL",), ("BC",), ("FL",), ("FC",)),
    "SR": (("BR",), ("BC",), ("FR",), ("FC",)),
    "BC": (("BL", "BR"), ("FL", "FR"), ("FC",)),
    "TC": (("FL", "FR", "BL", "BR"), ("FL", "FR"), ("FC",)),
    "WL": (("FL", "SL"), ("FL", "BL"), ("FL",), ("FC",)),
    "WR": (("FR", "SR"), ("FR", "BR"), ("FR",), ("FC",)),
    "LFE": (),
}
_KNOWN = frozenset({*_NEAREST, *_INSTEAD})
#: Channels of a sphere of sound: the first is what is heard from everywhere, the others only say
#: from which side more of it comes.
_SPHERE, _FROM_EVERYWHERE = "AMBI", "AMBI0"


@dataclass(frozen=True)
class Mixing:
    """How sound of one layout becomes sound of another."""

    #: What is made, as AAC knows it.
    layout: str
    #: A row for each channel that is made, a column for each that is there; ``None``: as they are.
    matrix: Samples | None = None
    #: What was lost, in a few words; empty: nothing.
    note: str = ""

    def __call__(self, samples: Samples) -> Samples:
        return samples if self.matrix is None else self.matrix @ samples


def places_of(layout: av.AudioLayout) -> tuple[str, ...] | None:
    """The places of its channels; ``None`` where nobody says what they are.

    >>> places_of(av.AudioLayout("3.0"))
    ('FL', 'FR', 'FC')
    >>> places_of(av.AudioLayout("16 channels")) is None
    True
    """
    places = tuple(channel.name for channel in layout.channels)
    if _SPHERE in "".join(places) or _KNOWN.issuperset(places):
        return places
    if len(places) <= MOST_USUAL:
        return tuple(channel.name for channel in av.AudioLayout(f"{len(places)}c").channels)
    return None


def aac_layout(layout: av.AudioLayout) -> str:
    """The smallest layout of AAC in which nothing of this one is lost, or the nearest to it.

    >>> aac_layout(av.AudioLayout("7.0")), aac_layout(av.AudioLayout("octagonal"))
    ('7.1', '7.1')
    """
    places = places_of(layout)
    if places is None or _SPHERE in "".join(places):
        return AAC_LAYOUTS[1]
    for channels, name in AAC_LAYOUTS.items():
        if channels >= len(places) and _keeps_all(matrix(places, _aac_places(name))):
            return name
    return AAC_LAYOUTS[max(number for number in AAC_LAYOUTS if number <= max(1, len(places)))]


def mixing(layout: av.AudioLayout, wanted: str) -> Mixing:
    """How sound of this layout becomes sound of the wanted one, which is one of AAC's."""
    places = places_of(layout)
    if places is None:
        count = layout.nb_channels
        rows = np.full((len(_aac_places(wanted)), count), 1 / count, np.float32)
        note = f"{count} channels with no layout"
        return Mixing(wanted, rows, f"mixed down from {note}, to {wanted}")
    rows = matrix(places, _aac_places(wanted))
    if rows.shape[0] == rows.shape[1] and np.array_equal(rows, np.eye(len(rows))):
        return Mixing(wanted)
    if _keeps_all(rows):
        return Mixing(wanted, rows)
    note = f"mixed down from {len(places)} channels ({layout.name}) to {wanted}"
    return Mixing(wanted, rows, note)


def matrix(places: Sequence[str], wanted: Sequence[str]) -> Samples:
    """How loud each of these places is in each wanted one; together never louder than the film.

    >>> matrix(("FL", "FR"), ("FC",)).tolist()
    [[0.5, 0.5]]
    """
    rows = np.zeros((len(wanted), len(places)), np.float32)
    for column, place in enumerate(places):
        heard = heard_in(place, wanted)
        for other in heard:
            rows[wanted.index(other), column] = 1 / math.sqrt(len(heard))
    loudest = float(rows.sum(axis=1).max())
    return rows / np.float32(max(1.0, loudest))


def heard_in(place: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Where sound of this place is heard when there are only the wanted ones.

    >>> heard_in("TBC", ("FL", "FR", "FC", "LFE", "BL", "BR"))
    ('BL', 'BR')
    """
    if place == _FROM_EVERYWHERE:
        place = "FC"
    if place in wanted:
        return (place,)
    if place in _NEAREST:
        return heard_in(_NEAREST[place], wanted)
    rows = _INSTEAD.get(place, ())
    return next((row for row in rows if all(other in wanted for other in row)), ())


def _keeps_all(rows: Samples) -> bool:
    """Whether each channel could be separated from the others again."""
    rank = int(np.linalg.matrix_rank(rows))
    return rank == int(rows.shape[1])


def _aac_places(name: str) -> tuple[str, ...]:
    return tuple(channel.name for channel in av.AudioLayout(name).channels)


# ── samples in and out of frames ─────────────────────────────────────────────────────────────────


def samples_of(frame: av.AudioFrame) -> npt.NDArray[Any]:
    """The samples of a frame, a row for each channel, whatever their number and format."""
    if frame.format.is_planar:
        [frame] = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate).resample(
            frame
        )
    interleaved: npt.NDArray[Any] = frame.to_ndarray()
    return interleaved.reshape(-1, frame.layout.nb_channels).T


def frame_of(samples: Samples, layout: str) -> av.AudioFrame:
    """The other way: a frame of interleaved samples, of a row for each channel."""
    interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
    return av.AudioFrame.from_ndarray(interleaved, format=INTERLEAVED, layout=layout)
