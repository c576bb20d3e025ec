"""What a comparison says to people, line by line."""

from collections.abc import Iterator
from typing import Any

from finecut.io.wording import count_of
from finecut.transforms.compare.counting import Comparison, Difference, Measured, Named

#: Clips that are named of each kind; files name more.
SHOWN = 3


def words_of(found: Comparison) -> Iterator[str]:
    both = found.matched_by_id + found.matched_by_place
    yield f"clips    {found.clips_a} in the first, {found.clips_b} in the other, {both} in both"
    if found.matched_by_place:
        yield (
            f"         {found.matched_by_place} of them have other ids, and are the same by the "
            "name of the video and the span"
        )
    yield from _only("the first", found.only_a)
    yield from _only("the other", found.only_b)
    for name, difference in sorted(found.changed.items()):
        yield f"changed  {name} of {count_of(difference.clips, 'clip')}"
        if name == "verdict":
            for (a, b), clips in sorted(found.verdicts.items()):
                yield f"           {a} → {b}: {clips}"
        for clip in difference.examples[:SHOWN]:
            yield f"           {label_of(clip)}: {short(clip['a'])} → {short(clip['b'])}"
    for name, measured in sorted(found.scores.items()):
        yield from _measured("score", name, measured)
    for name, measured in sorted(found.vectors.items()):
        yield from _measured("vectors", name, measured)
    yield "result   they differ" if found.differs else "result   they are the same"


def _only(where: str, difference: Difference) -> Iterator[str]:
    if difference.clips:
        yield f"only in  {where}: {count_of(difference.clips, 'clip')}"
    for clip in difference.examples[:SHOWN]:
        yield f"           {label_of(clip)}"


def _measured(kind: str, name: str, measured: Measured) -> Iterator[str]:
    yield f"{kind:<8} {name}: {summary_of(measured)}"
    if measured.differs:
        for _, _, clip in sorted(measured.furthest, reverse=True)[:SHOWN]:
            yield f"           {label_of(clip)}: {clip['difference']:.6g}"


def summary_of(measured: Measured) -> str:
    """Its numbers in one line."""
    said = [f"{measured.compared} compared", f"{measured.equal} equal"]
    if measured.equal < measured.compared:
        said += [f"largest difference {measured.largest:.6g}", f"mean {measured.mean:.6g}"]
    if measured.tolerance and measured.equal < measured.compared:
        said.append(f"{measured.within} within {measured.tolerance:g}")
    if measured.only_a:
        said.append(f"{measured.only_a} only in the first")
    if measured.only_b:
        said.append(f"{measured.only_b} only in the other")
    return ", ".join(said)


def label_of(clip: Named) -> str:
    """A clip as people find it."""
    start, end = (f"{s:.2f}" if s is not None else "?" for s in (clip["start"], clip["end"]))
    return f"{clip['video']} {start}–{end} s ({clip['id']})"


def short(value: Any, most: int = 60) -> str:
    """A value in few letters.

    >>> short([814889, None]), short([]), short("a long text", most=7), short(["a", ("b", 2)])
    ('814889', 'nothing', 'a long…', 'a, b 2')
    """
    text = _plain(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value if each is not None) or "nothing"
    if isinstance(value, tuple):
        return " ".join(str(each) for each in value if each is not None)
    return "nothing" if value in (None, {}) else str(value)
