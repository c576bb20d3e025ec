"""Keeping: rules speak about clips that were measured; who is rejected says by which rule."""

from collections.abc import Iterable, Sequence

import apache_beam as beam

from finecut.io.records import Clip
from finecut.transforms.rules import Rule, verdict
from finecut.transforms.tally import LOG, count


def judged(clip: Clip, rules: Sequence[Rule]) -> Clip:
    """The clip, rejected by the first rule that does not hold; a rejected one stays rejected."""
    rejected_by = verdict(clip.scores, rules) if clip.kept else None
    if rejected_by is None:
        return clip
    count(f"rejected by {rejected_by}")
    LOG.info("rejected %s: %s", clip.id, rejected_by)
    return clip.replace(rejected_by=rejected_by)


class KeepClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, judged. Nothing is thrown away: both sorts are written."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        super().__init__()
        self.rules = tuple(rules)

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Judge" >> beam.Map(judged, self.rules).with_output_types(Clip)

    def display_data(self) -> dict[str, str]:
        return {"rules": ", ".join(rule.name for rule in self.rules)}
