"""The page's data: columns in scripts, which it loads when it needs them."""

from __future__ import annotations

import hashlib
from typing import Any

from finecut.io.storage.publishing import Shelf
from finecut.transforms.report.columns import script

#: The folder of the page's data.
DATA = "data"


class Chunks:
    """Chunks on their way to the shelf, each under a name that says what is in it."""

    def __init__(self, own: Shelf, folder: str) -> None:
        self.own, self.folder = own, folder
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, columns: dict[str, Any]) -> None:
        names = self.names.setdefault(kind, [])
        data = script(kind, len(names), columns)
        digest = hashlib.sha256(data).hexdigest()[:12]
        name = f"{kind}-{len(names):04d}.{digest}.js"
        names.append(name)
        self.own.write(f"{self.folder}/{DATA}/{name}", data)
