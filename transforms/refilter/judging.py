"""Judging: which rule rejects a clip of a finished output, by what was measured of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from finecut.io.dataset.output import Entry
from finecut.io.layout import Layout
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.filter.clips import DUPLICATE, Dropping, ids_of
from finecut.transforms.filter.comparing import read_rule, verdict
from finecut.transforms.refilter.rewriting import Stage, has_file, was_seen
from finecut.transforms.registry import FAMILIES
from finecut.transforms.verify.checks.shapes import Shape, faults
from finecut.transforms.write.documents import Document
from finecut.transforms.write.writing import Writing

DISAGREE: Final = (
    "its documents contradict each other, or are from another version (finecut verify says what "
    "is wrong)"
)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a clip."""

    rejected_by: str | None
    #: Those that do not look at it any more, because it is rejected before.
    unseen: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Refiltering:
    """How clips are judged, and of which videos that can be done."""

    #: Where they lie, and the configuration they will have.
    writing: Writing
    stages: tuple[Stage, ...]
    dropping: Dropping | None = None
    #: Configurations that differ from the new one in rules only.
    known: frozenset[str] = frozenset()
    #: What kept clips have, and rejected ones have not.
    previews: bool = False
    #: Each in one word, and whether only clips with windows have it.
    made: tuple[tuple[str, bool], ...] = ()
    #: Clips may overlap in any order.
    unordered: bool = False

    @property
    def layout(self) -> Layout:
        return self.writing.layout

    @property
    def drops(self) -> frozenset[str]:
        """Clips on the lists of what is left out."""
        return frozenset() if self.dropping is None else ids_of(self.dropping)


class OutOfReach(Exception):
    """A video that cannot be refiltered; the message says why."""


def read_document(path: str, must: Mapping[str, Shape]) -> Document | None:
    """What a document says, or ``None`` if it is missing; a bad one puts its video out of reach."""
    try:
        said = read_json(path)
    except BadDocument as error:
        raise OutOfReach(f"{error} (see finecut verify)") from error
    for fault, should in () if said is None else faults(said, must):
        raise OutOfReach(f"{path} {fault}, but {should} (see finecut verify)")
    return said


def judged_anew(entry: Entry, stages: Sequence[Stage], drops: frozenset[str]) -> Verdict:
    """As curation judges: clips on a list first, then rule by rule in the order of the steps."""
    if not has_file(entry.document):
        return Verdict(entry.document.get("filtered_by"))
    _refuse_rejected_by_step(entry, stages)
    looking = [stage for stage in stages if stage.family]
    if entry.id in drops:
        return Verdict(DUPLICATE, tuple(looking))
    scores = entry.scores
    for stage in stages:
        if stage.family:
            looking.remove(stage)
            if not was_seen(entry, stage):
                raise OutOfReach(
                    f"{stage.family} was not measured, because the clip was already rejected"
                )
        rejected_by = verdict(scores, stage.rules)
        if rejected_by is not None:
            return Verdict(rejected_by, tuple(looking))
    return Verdict(None)


def _refuse_rejected_by_step(entry: Entry, stages: Sequence[Stage]) -> None:
    """A custom step may reject clips by itself, and nobody else knows why it does."""
    custom = [stage.family for stage in stages if stage.scores is not None]
    reason = entry.document.get("filtered_by")
    if not custom or entry.kept or reason in (DUPLICATE, *FAMILIES.values()):
        return
    if read_rule(str(reason)) is None:
        raise OutOfReach(
            f"rejected by {reason}, which is not a rule; a custom step may have set it "
            f"({' or '.join(custom)})"
        )


def missing(entry: Entry, refiltering: Refiltering) -> list[str]:
    """What a clip that was rejected would need to be kept, and has not."""
    windows = bool(entry.document.get("windows"))
    return [what for what, of_windows in refiltering.made if windows or not of_windows]


def verdicts_on(entries: Iterable[Entry], refiltering: Refiltering) -> dict[str, Verdict]:
    """What becomes of each clip, if that can be said of all of them."""
    drops = refiltering.drops
    verdicts: dict[str, Verdict] = {}
    reasons: Counter[str] = Counter()
    for entry in entries:
        try:
            verdicts[entry.id] = judged_anew(entry, refiltering.stages, drops)
            wanting = missing(entry, refiltering)
            if not entry.kept and verdicts[entry.id].rejected_by is None and wanting:
                raise OutOfReach(f"would be kept, but has no {' and no '.join(wanting)} yet")
        except OutOfReach as error:
            reasons[str(error)] += 1
    if reasons:
        raise OutOfReach(
            "; ".join(f"of {number} of its clips: {why}" for why, number in reasons.items())
        )
    return verdicts
