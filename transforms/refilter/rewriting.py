"""Rewriting: documents of clips and chunks, told otherwise without anything being made again. And
yields: what rules let through, in clips and seconds, now and then; added up over all videos.

What a document says that nobody here knows stays where it stands, so a document that is rewritten
is the one that curation would have written.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from finecut.io.dataset.output import Entry
from finecut.io.layout import Layout
from finecut.io.records import Failure, Scores
from finecut.transforms.embed.one_model import vector_key
from finecut.transforms.filter.comparing import SAMENESS, Rule
from finecut.transforms.registry import FAMILIES, HEADS, ON_CLIPS, ON_FRAMES
from finecut.transforms.steps.preview import Preview
from finecut.transforms.write.documents import Document

#: Steps that see kept clips only, when all rules have been applied, by what documents call their
#: errors.
AFTERWARDS: Final = frozenset(step.marks() for step in ON_CLIPS)
#: What follows in a clip's document where the rule that rejected it stands.
FOLLOWING: Final = ("errors", "error_messages", "models", "windows", "valid")
VECTOR: Final = vector_key("")
CAPTIONS: Final = "_caption"
#: What a chunk's document says of each kept clip.
TEXTS: Final = ("all_windows", "all_windows_enhanced_caption")


@dataclass(frozen=True)
class Stage:
    """Rules that are spoken together, after their scores were found."""

    #: The step that finds the scores, of clips that are still kept; nothing: measured in the cut.
    family: str
    rules: tuple[Rule, ...]
    #: The scores that a custom step gives; of others it is known.
    scores: tuple[str, ...] | None = None

    def gives(self, score: str) -> bool:
        return FAMILIES.get(score) == self.family if self.scores is None else score in self.scores


def has_file(document: Mapping[str, Any]) -> bool:
    """Whether anything could be encoded."""
    return "num_bytes" in document


def was_seen(entry: Entry, stage: Stage) -> bool:
    """Whether a step has looked for these scores, although it may have found none."""
    return (
        entry.kept
        or any(map(stage.gives, entry.scores))
        or stage.family in (entry.document.get("errors") or ())
    )


def with_vectors(entry: Entry) -> list[str]:
    """The embedders that a clip has a vector of."""
    models = (entry.document.get("models") or {}) if entry.kept else {}
    return [name.removesuffix(VECTOR) for name in models if name.endswith(VECTOR)]


def clip_rewritten(
    entry: Entry, rejected_by: str | None, unseen: Iterable[Stage], layout: Layout
) -> Entry:
    """The clip, kept or rejected by this rule, as if nobody had ever looked for what is unseen."""
    kept, stages = rejected_by is None, tuple(unseen)
    families = {stage.family for stage in stages}
    said = {key: value for key, value in entry.document.items() if key != "filtered_by"}
    _forget_scores(said, stages)
    errors = {name for name in said.get("errors") or () if name in families}
    models = {name for name in said.get("models") or {} if _found_by(name) in families}
    if not kept:
        errors |= AFTERWARDS
        models |= {n for n in said.get("models") or {} if n.endswith((VECTOR, CAPTIONS))}
        said["windows"] = [
            {key: window[key] for key in ("start_frame", "end_frame")} for window in said["windows"]
        ]
        said = _with_reason(said, rejected_by)
    _forget(said, "errors", errors)
    _forget(said, "error_messages", errors)
    _forget(said, "models", models)
    said["clip_location"] = _moved(entry, kept, layout)
    said["valid"] = kept and has_file(said) and not said.get("errors")
    path = entry.path if entry.is_packed else layout.clip(entry.id, kept)
    return replace(entry, kept=kept, path=path, document=said)


def _found_by(model: str) -> str | None:
    """The step whose model, or one of whose models, documents call this."""
    return next((step for step in ON_FRAMES if f"{model}_".startswith(f"{step}_")), None)


def _forget_scores(said: Document, unseen: Sequence[Stage]) -> None:
    def is_unseen(score: str) -> bool:
        return any(stage.gives(score) for stage in unseen)

    for key, held in HEADS.items():
        if any(map(is_unseen, held)):
            said.pop(key, None)
    _forget(said, "scores", set(filter(is_unseen, said.get("scores") or {})))


def _forget(said: Document, key: str, names: Iterable[str]) -> None:
    """Take these names out of a list or table, and the whole of it where nothing is left."""
    if key not in said:
        return
    names, held = {*names}, said[key]
    if isinstance(held, dict):
        said[key] = {name: value for name, value in held.items() if name not in names}
    else:
        said[key] = [name for name in held if name not in names]
    if not said[key]:
        del said[key]


def _with_reason(said: Document, rejected_by: str | None) -> Document:
    items = list(said.items())
    place = next(place for place, (key, _) in enumerate(items) if key in FOLLOWING)
    return dict([*items[:place], ("filtered_by", rejected_by), *items[place:]])


def _moved(entry: Entry, kept: bool, layout: Layout) -> str:
    """Where the document says the clip lies, which may be another root than the present one."""
    said = str(entry.document["clip_location"])
    before = layout.clip(entry.id, entry.kept).removeprefix(layout.root)
    if not said.endswith(before):
        raise ValueError(f"{said} does not end in {before}")
    return said.removesuffix(before) + layout.clip(entry.id, kept).removeprefix(layout.root)


def chunk_rewritten(document: Document, entries: Sequence[Entry], previews: bool) -> Document:
    """The chunk's document when these are its clips, in the order in which they were planned."""
    kept = [entry for entry in entries if entry.kept]
    rejected = [entry for entry in entries if not entry.kept]
    lengths = [entry.span[1] - entry.span[0] for entry in kept + rejected]
    told: dict[str, Any] = {
        "num_clips_filtered_by_motion": _rejected_by("motion", rejected),
        "num_clips_filtered_by_aesthetic": _rejected_by("aesthetic", rejected),
        "num_clips_passed": len(kept),
        "num_clips_transcoded": sum(has_file(entry.document) for entry in entries),
        "num_clips_with_embeddings": sum(bool(with_vectors(entry)) for entry in kept),
        "num_clips_with_caption": sum(_is_captioned(entry) for entry in kept),
        "num_clips_with_webp": sum(previews and has_previews(entry) for entry in kept),
        "total_clip_duration": float(sum(lengths)),
        "max_clip_duration": max(lengths, default=0.0),
        "clips": [entry.id for entry in kept],
        "filtered_clips": [entry.id for entry in rejected],
    }
    texts = {key: {entry.id: document[key].get(entry.id, {}) for entry in kept} for key in TEXTS}
    return {**document, **told, **texts}


def has_previews(entry: Entry) -> bool:
    """Whether a kept clip has previews, where they are made at all."""
    said = entry.document
    return bool(said["windows"]) and Preview.marks() not in (said.get("errors") or ())


def _is_captioned(entry: Entry) -> bool:
    return any(
        key.endswith(CAPTIONS) and not key.endswith(f"_enhanced{CAPTIONS}")
        for window in entry.document["windows"]
        for key in window
    )


def _rejected_by(rule: str, rejected: Iterable[Entry]) -> int:
    return sum(str(entry.document.get("filtered_by")).startswith(rule) for entry in rejected)


#: What kept clips are counted under, where others are counted under the rule that rejects them.
KEPT: Final = ""
#: Clips whose scores are remembered, to say what other limits would let through. The first by their
#: ids, which are as good as drawn by lot, and the same ones each time.
SAMPLE: Final = 2000
#: Videos that are named one by one; all of them are counted.
NAMED: Final = 1000
#: Parts of the clips at which a curve is shown.
PARTS: Final = (0.9, 0.75, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class Amount:
    """So many clips, how long they are together, and how large."""

    clips: int = 0
    seconds: float = 0.0
    num_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.clips + other.clips,
            self.seconds + other.seconds,
            self.num_bytes + other.num_bytes,
        )


@dataclass(frozen=True, order=True)
class Untouched:
    """A video that was left as it is, and why."""

    video: str
    why: str
    clips: int


@dataclass(frozen=True)
class Yields:
    """What comes of videos that are judged anew. Sums do not depend on what is added first."""

    #: By what is done to them.
    videos: Mapping[str, int] = field(default_factory=dict)
    #: What is kept, and what each rule rejects, before and after.
    now: Mapping[str, Amount] = field(default_factory=dict)
    then: Mapping[str, Amount] = field(default_factory=dict)
    #: Clips that lose something only models can make again, by what that is.
    losing: Mapping[str, int] = field(default_factory=dict)
    #: The first few by name.
    untouched: tuple[Untouched, ...] = ()
    clips_untouched: int = 0
    failures: tuple[Failure, ...] = ()
    num_failures: int = 0
    clips_failed: int = 0
    #: Clips that are on a list; and those of them that go for a clip that goes by a rule.
    on_lists: int = 0
    bereft: int = 0
    #: Scores that rules speak of, of some clips.
    sample: Mapping[str, Scores] = field(default_factory=dict)
    #: Of fields of sources that rules speak of: clips without them; and how many have which fields.
    lacking: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, int] = field(default_factory=dict)

    @property
    def clips(self) -> int:
        """All of them, whatever becomes of them."""
        return (
            sum(amount.clips for amount in self.then.values())
            + self.clips_untouched
            + self.clips_failed
        )

    def trimmed(self) -> "Yields":
        """The same, no larger than it has to be."""
        return replace(
            self,
            untouched=tuple(sorted(self.untouched)[:NAMED]),
            failures=tuple(sorted(self.failures, key=lambda f: f.source.name)[:NAMED]),
            sample={id: self.sample[id] for id in sorted(self.sample)[:SAMPLE]},
        )


def merged(many: Iterable[Yields]) -> Yields:
    """One record of what several say."""
    total = Yields()
    for one in many:
        total = Yields(
            **{f.name: _together(getattr(total, f.name), getattr(one, f.name)) for f in fields(one)}
        ).trimmed()
    return total


def _together(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping):
        return one + other
    shared = [name for name in one if name in other and not isinstance(one[name], Mapping)]
    return {**one, **other, **{name: one[name] + other[name] for name in shared}}


def curve(sample: Mapping[str, Scores], rule: Rule) -> list[tuple[float, float]]:
    """Limits of this rule, and which part of the clips it alone would let through at each; of a
    rule on labels there are none.

    >>> clips = {str(n): {"sharpness": n / 10} for n in range(10)}
    >>> curve(clips, Rule("sharp", "sharpness", ">=", 0.3))[:2]
    [(0.1, 0.9), (0.2, 0.8)]
    """
    found = (scores.get(rule.score) for scores in sample.values())
    values = sorted(value for value in found if isinstance(value, int | float))
    if not values or rule.comparison in SAMENESS or isinstance(rule.limit, str):
        return []
    limits = dict.fromkeys(_limit(values, part, rule) for part in PARTS)
    return [(limit, _part(values, replace(rule, limit=limit))) for limit in limits]


def _limit(values: Sequence[float], part: float, rule: Rule) -> float:
    """Where about this part of the values is let through."""
    through = max(1, round(part * len(values)))
    return values[-through] if rule.comparison[0] == ">" else values[through - 1]


def _part(values: Sequence[float], rule: Rule) -> float:
    side = bisect.bisect_left if rule.comparison in (">=", "<") else bisect.bisect_right
    below = side(values, float(rule.limit))
    return (len(values) - below if rule.comparison[0] == ">" else below) / len(values)
