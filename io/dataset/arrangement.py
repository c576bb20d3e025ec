"""How a dataset is arranged: as files, or packed. It is decided once.

.finecut/layout.json    {"layout": "packed", "version": 1}    there is none in a dataset of files
"""

import json
from dataclasses import replace
from typing import Final

from finecut.io.errors import UserError
from finecut.io.layout import ARRANGEMENTS, FILES, PACKED, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.storage.publishing import Shelf

#: Counts up when packs lie in another way than they used to.
VERSION: Final = 1


class OtherArrangement(UserError, ValueError):
    """A dataset is arranged otherwise than is asked for, or as nobody here knows."""


class PackedDataset(UserError, ValueError):
    """A packed dataset was given to somebody who works on files."""


def refuse_packed(layout: Layout) -> None:
    """Raise :class:`PackedDataset` if clips lie in packs, for those who look for files."""
    if layout.packed:
        raise PackedDataset(
            f"{layout.root} is packed (--layout packed), and this command works on files: make "
            f"files of it with finecut unpack {layout.root} --output FOLDER, and give that folder"
        )


def arrangement_of(root: str) -> str:
    """How the dataset that lies there is arranged; as files, if none does."""
    layout = Layout(root)
    try:
        said = read_json(layout.arrangement())
    except BadDocument as error:
        raise OtherArrangement(
            f"{layout.arrangement()} {error}, so it is unknown whether clips lie in packs. Usually "
            "a copy was cut short: copy it again from where the dataset was made"
        ) from error
    if said is None:
        return FILES
    named, version = said.get("layout"), said.get("version")
    if named not in ARRANGEMENTS or version not in (None, VERSION):
        raise OtherArrangement(
            f"{layout.arrangement()} names the layout {named!r}, version {version}, which this "
            "finecut does not know. Usually the dataset was written by a later version: install "
            "that one"
        )
    return str(named)


def found(layout: Layout) -> Layout:
    """The layout as the dataset that lies there is arranged."""
    return replace(layout, packed=arrangement_of(layout.root) == PACKED)


def arranged(layout: Layout, wanted: str | None) -> Layout:
    """The layout for somebody who is about to write, and wants this arrangement, or whichever there
    is; or :class:`OtherArrangement`.
    """
    there = arrangement_of(layout.root)
    if wanted is None:
        return replace(layout, packed=there == PACKED)
    if wanted != there and (there == PACKED or _is_begun(layout)):
        raise OtherArrangement(
            f"{layout.root} is a dataset with the layout {there}, which is decided when a dataset "
            f"is begun: give --layout {there} to go on with it, or write to another folder "
            + ("(finecut unpack makes files of it)" if there == PACKED else "")
        )
    return replace(layout, packed=wanted == PACKED)


def _is_begun(layout: Layout) -> bool:
    places = (layout.processed_clip_chunks(), layout.processed_videos(), layout.open_videos())
    return any(map(shelf.exists, places))


def decide(layout: Layout, own: Shelf) -> None:
    """Note how a dataset is arranged, before anything else is written there."""
    if layout.packed and arrangement_of(layout.root) != PACKED:
        said = {"layout": PACKED, "version": VERSION}
        own.write(layout.arrangement(), json.dumps(said, indent=4).encode())
