"""Documents that anybody may have left: read, and held against the keys that they must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from finecut.io.storage.json_documents import BadDocument, parsed
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.findings import Finding, KindName
from finecut.transforms.verify.checks.shapes import Shape, faults

Document = Mapping[str, Any]


class Wanted(NamedTuple):
    """What a file should be, and the kind of finding if it is not."""

    should: str
    shapes: Mapping[str, Shape] = {}
    kind: KindName = "document-broken"


CLIP: Final = Wanted("should be a document of a clip", shapes.CLIP)
CHUNK: Final = Wanted("should be a document of a chunk", shapes.CHUNK)
VIDEO: Final = Wanted("should be a document of a video", shapes.VIDEO)


def document_in(data: bytes, path: str, wanted: Wanted) -> tuple[Document, list[Finding]]:
    """The document that these bytes are (empty if they are none), and what is wrong with it."""
    try:
        document = parsed(data)
    except BadDocument as broken:
        return {}, [Finding(wanted.kind, path, str(broken), wanted.should)]
    return document, [
        Finding(wanted.kind, path, fault, should)
        for fault, should in faults(document, wanted.shapes)
    ]
