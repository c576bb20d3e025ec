"""Rejected: clips that the dataset has rejected as duplicates, which have no vectors any more."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import pyarrow as pa

from finecut.io.dataset.output import Entry, NoDataset, Output, clips_named, read_document
from finecut.io.layout import GROUPS, Layout, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.tables.parquet import to_parquet
from finecut.transforms.dedup.folder import KEEPERS, Deduping, table_at
from finecut.transforms.dedup.graph import GROUP_SCHEMA
from finecut.transforms.filter.clips import DUPLICATE
from finecut.transforms.verify.checks.shapes import CHUNK, misfit

KEEPER_SCHEMA: Final = pa.schema([("id", pa.string()), ("kept_id", pa.string())])
#: Documents that are read side by side.
READERS: Final = 16


class Carried(NamedTuple):
    """Clips that were rejected as duplicates."""

    #: They would come back if they left the list.
    ids: list[str]
    #: They should: a rule has rejected the clips that they went for since.
    released: list[str]


class Documents:
    """A dataset's documents; what cannot be used is left out, and named in ``troubles``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.troubles: list[str] = []

    def rejected(self) -> dict[str, str]:
        """The rejected clips, and by what each was rejected."""
        if not shelf.exists(self.layout.processed_clip_chunks()):
            return {}
        with ThreadPoolExecutor(READERS) as readers:
            chunks = readers.map(self._rejected_in, Output(self.layout).chunks())
            found = [id for part in chunks for id in part]
            clips = readers.map(self._of_clip, found)
            reasons = [str(said.get("filtered_by") or "") for said in clips]
        return dict(zip(found, reasons, strict=True))

    def seconds(self, clips: list[str]) -> float:
        """How long these clips are together."""
        with ThreadPoolExecutor(READERS) as readers:
            return round(sum(readers.map(self._length, clips)), 3)

    def _rejected_in(self, chunk: str) -> list[str]:
        try:
            said = read_document(chunk)
            if (wrong := misfit(chunk, said, CHUNK)) is not None:
                self.troubles.append(wrong)
            return [id for id, kept in clips_named(said, chunk) if not kept]
        except NoDataset as error:
            self.troubles.append(str(error))
            return []

    def _length(self, clip: str) -> float:
        said = self._of_clip(clip)
        if "duration_span" not in said:
            return 0.0
        try:
            start, end = Entry(clip, kept=True, path="", chunk="", document=said).span
        except NoDataset as error:
            self.troubles.append(str(error))
            return 0.0
        return end - start

    def _of_clip(self, clip: str) -> Mapping[str, Any]:
        """What is known of a clip; nothing of one without a document."""
        try:
            # Tables of other programs may have ids that lead elsewhere.
            return (read_json(self.layout.meta(clip)) if is_clip_id(clip) else None) or {}
        except BadDocument as error:
            self.troubles.append(str(error))
            return {}


def carried(deduping: Deduping, documents: Documents, removed: set[str]) -> Carried:
    """The clips that the dataset has rejected as duplicates, whichever list they were on."""
    rejected = documents.rejected()
    keepers = _known_keepers(deduping, documents.layout)
    clips = sorted(id for id, by in rejected.items() if by == DUPLICATE and id not in removed)
    # Before the groups that say so are replaced.
    _write_keepers(deduping, {id: keepers[id] for id in clips if id in keepers})
    stay = [id for id in clips if still_goes(id, keepers, rejected)]
    return Carried(stay, sorted({*clips} - {*stay}))


def still_goes(clip: str, keepers: Mapping[str, str], rejected: Mapping[str, str]) -> bool:
    """Whether the clip that this one went for is kept, or goes for one that is, as far as known.

    >>> still_goes("b", {"b": "a"}, {"b": "duplicate"})
    True
    >>> still_goes("b", {"b": "a"}, {"b": "duplicate", "a": "motion"})
    False
    """
    met = set()
    while clip in keepers and clip not in met:
        met.add(clip)
        clip = keepers[clip]
        if clip not in rejected:
            return True
        if rejected[clip] != DUPLICATE:
            return False
    return clip not in met  # in a circle nobody stays


def _known_keepers(deduping: Deduping, layout: Layout) -> dict[str, str]:
    """Which clips others went for, as earlier runs noted; the one in this folder counts most."""
    found: dict[str, str] = {}
    for root in (layout.dedup(), deduping.clustering.own.root):
        for name, schema in ((KEEPERS, KEEPER_SCHEMA), (GROUPS, GROUP_SCHEMA)):
            table = table_at(f"{root}/{name}", schema) or schema.empty_table()
            columns = (table.column(key).to_pylist() for key in ("id", "kept_id"))
            found |= {id: keeper for id, keeper in zip(*columns, strict=True) if id != keeper}
    return found


def _write_keepers(deduping: Deduping, known: Mapping[str, str]) -> None:
    own, path = deduping.clustering.own, deduping.path(KEEPERS)
    if not known:
        own.remove(path)
        return
    table = pa.table({"id": [*known], "kept_id": [*known.values()]}, schema=KEEPER_SCHEMA)
    own.write(path, to_parquet(table))
