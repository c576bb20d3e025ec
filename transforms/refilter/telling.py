"""What comes of clips that are judged anew, in numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache

from finecut.io.dataset.output import Entry
from finecut.io.held import OF_SOURCE
from finecut.io.tables.drops import keepers_of
from finecut.transforms.filter.clips import Dropping
from finecut.transforms.refilter.judging import OutOfReach, Refiltering, judged_anew, read_clips
from finecut.transforms.refilter.rewriting import KEPT, Amount, Yields, with_vectors


def told_of(
    entries: Sequence[Entry], after: Mapping[str, Entry], refiltering: Refiltering, bereft: int
) -> Yields:
    """What comes of clips; ``bereft`` of them go for a clip that goes as well."""
    rules = {rule.score: rule for stage in refiltering.stages for rule in stage.rules}
    of_source = [name for name, rule in rules.items() if rule.of_source]
    known = {entry.id: entry.known for entry in entries if of_source}
    lost = [entry for entry in entries if entry.kept and not after[entry.id].kept]
    losing = {
        "vectors": sum(bool(with_vectors(entry)) for entry in lost),
        "captions": sum(bool(entry.captions) for entry in lost),
    }
    losing |= {f"{what}s": len(lost) for what, _ in refiltering.made if f"{what}s" not in losing}
    return Yields(
        on_lists=sum(entry.id in refiltering.drops for entry in entries),
        bereft=bereft,
        now=_amounts(entries),
        then=_amounts(after.values()),
        losing={what: number for what, number in losing.items() if number},
        sample={
            entry.id: {name: value for name, value in entry.known.items() if name in rules}
            for entry in entries
        },
        lacking={
            name: number
            for name in of_source
            if (number := sum(name not in said for said in known.values()))
        },
        fields=dict(
            Counter(name for said in known.values() for name in said if name.startswith(OF_SOURCE))
        ),
    ).trimmed()


@cache
def keepers_in(dropping: Dropping) -> Mapping[str, str]:
    """Read once in a process."""
    return keepers_of(dropping.lists)


def keeper_of(entry: Entry, refiltering: Refiltering) -> str | None:
    """The clip that one that is on a list, and would be kept otherwise, goes for."""
    dropping = refiltering.dropping
    if dropping is None or entry.id not in refiltering.drops:
        return None
    keeper = keepers_in(dropping).get(entry.id)
    return None if keeper is None or not stays(entry, refiltering, frozenset()) else keeper


def is_bereft(entry: Entry, refiltering: Refiltering) -> bool:
    """Whether a clip that would be kept goes for one that goes as well, as documents say."""
    keeper = keeper_of(entry, refiltering)
    if keeper is None:
        return False
    try:
        [other] = read_clips([keeper], entry.chunk, refiltering.writing)
    except OutOfReach:
        return True
    return not stays(other, refiltering, refiltering.drops)


def stays(entry: Entry, refiltering: Refiltering, drops: Set[str]) -> bool:
    """Whether a clip is kept, as far as rules go."""
    try:
        return judged_anew(entry, refiltering.stages, drops).rejected_by is None
    except OutOfReach:
        return False


def _amounts(entries: Iterable[Entry]) -> dict[str, Amount]:
    amounts: dict[str, Amount] = {}
    for entry in entries:
        start, end = entry.span
        name = entry.document.get("filtered_by") or KEPT
        size = int(entry.document.get("num_bytes") or 0)
        amounts[name] = amounts.get(name, Amount()) + Amount(1, end - start, size)
    return amounts
