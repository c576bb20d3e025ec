"""Files that steps made of clips: whether each is there that was made, and whole.

Which clips have such a file no document says. The clips of one chunk were made together, so where
one of them has it, all that are kept have it, but those that say that the step broke down.
Previews are looked at more closely, by :mod:`~.clips`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from finecut.io.layout import PREVIEWS, TABLES, VECTORS, Artefact
from finecut.io.storage import files as shelf
from finecut.transforms.registry import ON_CLIPS
from finecut.transforms.step_base import StepOnClips
from finecut.transforms.verify.checks.clips import Clip
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.verifying import Verifying

#: Those that have a check of their own.
OTHERS: Final = (PREVIEWS, VECTORS, TABLES)
CHECKED: Final[tuple[tuple[Artefact, type[StepOnClips[Any]]], ...]] = tuple(
    (artefact, step) for step in ON_CLIPS for artefact in step.artefacts if artefact not in OTHERS
)


def check_artefacts(clips: Sequence[Clip], verifying: Verifying) -> Iterator[Finding]:
    """Of the clips of one chunk; what belongs to a clip is added to its claims."""
    for artefact, step in CHECKED:
        owned = [
            (clip, path)
            for clip in clips
            if clip.kept and clip.document
            for path in artefact.paths(clip.document)
        ]
        for clip, path in owned:
            clip.claims.append(path)
        if artefact.folder not in verifying.folders:
            continue
        read = verifying.each(shelf.read_if_there, [verifying.layout.below(p) for _, p in owned])
        missing = []
        for (clip, path), data in zip(owned, read, strict=True):
            if data is None:
                missing += [] if _broke_down(clip, step) else [path]
                continue
            clip.count(f"{step.gives}s")
            if damage := step.damage(data):
                should = f"should be a whole {artefact.suffix.lstrip('.')}"
                yield Finding("artefact-broken", path, damage, should)
        for path in missing if len(missing) < len(owned) else ():
            should = "other clips of its chunk have theirs"
            yield Finding("artefact-missing", path, "is missing", should)


def _broke_down(clip: Clip, step: type[StepOnClips[Any]]) -> bool:
    return not clip.has_file or step.marks() in (clip.document.get("errors") or ())
