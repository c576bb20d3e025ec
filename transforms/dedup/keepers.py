"""Keepers: for which clip, by the groups that ``finecut dedup`` wrote, each duplicate is to go.

Where that clip goes as well, by a rule, nothing is left of the group.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.layout import GROUPS, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.tables.drops import DropsError
from finecut.io.tables.parquet import from_parquet


def keepers_of(lists: Iterable[str]) -> dict[str, str]:
    """Duplicates, and the clip that each is to go for; of lists that are no such folder, none."""
    return {id: keeper for path in lists if path for id, keeper in _rows(shelf.absolute(path))}


def _rows(folder: str) -> Iterable[tuple[str, str]]:
    path = f"{folder}/{GROUPS}"
    if not shelf.exists(path):
        return
    try:
        table = from_parquet(shelf.read(path), columns=["id", "kept", "kept_id"])
    except (pa.ArrowException, OSError) as error:
        raise DropsError(
            f"{path} is not a table of groups ({error}): usually a copy was cut short. Run "
            "finecut dedup again"
        ) from error
    gone = table.filter(pc.invert(table["kept"]))
    for id, keeper in zip(gone["id"].to_pylist(), gone["kept_id"].to_pylist(), strict=True):
        # Files are looked for by these names.
        if is_clip_id(id) and is_clip_id(keeper):
            yield id, keeper


def bereft_words(number: int) -> list[str]:
    """What to say of duplicates whose keepers go as well, if there are any."""
    if not number:
        return []
    were = "was" if number == 1 else "were"
    return [
        f"{number} of the duplicates {were} left out although the clip that should stay in their "
        "place is left out, too: first refilter with your rules, then run finecut dedup again"
    ]
