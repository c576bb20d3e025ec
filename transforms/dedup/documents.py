"""Documents: what the dataset says of its clips: which were rejected as duplicates, and how long
they are.

The catalogue says so in a few columns. Where there is none, documents do: those of chunks which
clips were rejected, those of rejected clips why, and those of removed clips how long they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.dataset.output import Entry, clips_named, read_document
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout, is_clip_id
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.catalogue.fields import REJECTED
from finecut.transforms.catalogue.reading import Slice, rows_in
from finecut.transforms.filter.clips import DUPLICATE
from finecut.transforms.verify.checks.shapes import CHUNK, misfit

#: Documents that are read side by side.
READERS: Final = 16
#: What is asked of the catalogue.
COLUMNS: Final = ("id", "verdict", "reason", "start", "end")
#: What is known of a clip. No length: its document says it.
FACTS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("rejected", pa.bool_()),
        ("duplicate", pa.bool_()),
        ("seconds", pa.float64()),
    ]
)


def facts_in(piece: Slice, layout: Layout) -> tuple[pa.Table, tuple[str, ...]]:
    """What the dataset says of a slice of its clips, and what could not be read."""
    if piece.bucket is None:
        documents = Documents(layout)
        return documents.facts(piece.documents), documents.said()
    rows = rows_in(piece, layout, COLUMNS)
    rows = rows.filter(pc.is_valid(rows["id"]))
    rejected = pc.equal(rows["verdict"], REJECTED)
    duplicate = pc.and_(rejected, pc.fill_null(pc.equal(rows["reason"], DUPLICATE), False))
    # A document without a span has no length, either.
    seconds = pc.fill_null(pc.subtract(rows["end"], rows["start"]), 0.0)
    return pa.table([rows["id"], rejected, duplicate, seconds], schema=FACTS), ()


class Documents:
    """A dataset's documents; what cannot be used is left out, and named in ``troubles``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.troubles: list[str] = []

    def said(self) -> tuple[str, ...]:
        """What could not be used, each once."""
        return tuple(sorted({*self.troubles}))

    def facts(self, chunks: Sequence[str]) -> pa.Table:
        """What the documents of these chunks say; only of clips that were rejected."""
        with ThreadPoolExecutor(READERS) as readers:
            found = [id for part in readers.map(self._rejected_in, chunks) for id in part]
            reasons = [said.get("filtered_by") for said in readers.map(self._of_clip, found)]
        columns = [
            pa.array(found, pa.string()),
            pa.array([True] * len(found), pa.bool_()),
            pa.array([reason == DUPLICATE for reason in reasons], pa.bool_()),
            pa.nulls(len(found), pa.float64()),
        ]
        return pa.table(columns, schema=FACTS)

    def lengths(self, clips: Sequence[str], known: NDArray[np.float64]) -> Iterator[float]:
        """How long these clips are, as far as that is not known; nothing of those that are no
        clips of the dataset.
        """
        unknown = np.isnan(known)
        yield from known[~unknown].tolist()
        if not unknown.any() or is_complete(self.layout):
            return
        with ThreadPoolExecutor(READERS) as readers:
            yield from readers.map(self._length, np.array(clips, object)[unknown].tolist())

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
