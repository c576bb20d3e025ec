"""Putting away: the sheet of a clip is dropped when nobody needs it any more.

Not in ``looking``, which children import: they do without Beam.
"""

import apache_beam as beam

from finecut.io.records import Clip
from finecut.transforms.measure.looking import Looking


def put_away(clip: Clip, looking: Looking) -> Clip:
    """The clip, after its sheet is gone: nobody needs it any more."""
    looking.scratch.drop(looking.name(clip.id))
    return clip


class PutAwaySheets(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, without sheets."""

    def __init__(self, looking: Looking) -> None:
        super().__init__()
        self.looking = looking

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Put away" >> beam.Map(put_away, self.looking).with_output_types(Clip)
