"""Where the bytes of a clip lie, by its row in the catalogue: files, or parts of packs.

    film_of(row, layout).read()                       the clip
    dict(made_of(row, layout))["previews"]            where its (last) preview lies
    document_of(row, layout)                          its document

Whoever asks here need not care how a dataset is arranged.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from finecut.io.dataset.output import Output, read_document
from finecut.io.dataset.places import NoDataset, Place
from finecut.io.layout import Layout
from finecut.transforms.catalogue.fields import KEPT


def film_of(row: Mapping[str, Any], layout: Layout) -> Place | None:
    """Where the clip lies; nothing if it has no file. The row needs ``clip``, ``clip_offset`` and
    ``num_bytes``.
    """
    if row["clip"] is None:
        return None
    offset = row["clip_offset"]
    return Place(layout.below(row["clip"]), offset, None if offset is None else row["num_bytes"])


def made_of(row: Mapping[str, Any], layout: Layout) -> Iterator[tuple[str, Place]]:
    """Where each file lies that was made of it, by its kind. Vectors in packs are no files, but a
    column of a table (:meth:`Output.vectors`).
    """
    for each in row["artefacts"]:
        if each["offset"] is not None or not layout.packed:
            yield each["kind"], Place(layout.below(each["path"]), each["offset"], each["size"])


def document_of(row: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    """The clip's document, or :class:`NoDataset`. Of many clips of one chunk, ask
    :meth:`Output.entries`, which reads the table of a pack once.
    """
    if row["chunk"] is None:
        raise NoDataset(f"the clip {row['id']} failed, so it has no document")
    if not layout.packed:
        return read_document(layout.below(row["meta"]))
    return Output(layout).entry(row["id"], row["verdict"] == KEPT, row["chunk"]).document
