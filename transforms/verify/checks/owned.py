"""What belongs to some of the clips, read again: files that documents promise, and rows.

Only of the clips of shares that do not balance (:mod:`finecut.transforms.verify.balance`); what is
wrong with their files was said before.
"""

from collections.abc import Container, Iterator
from dataclasses import replace

from finecut.io.layout import chunk_numbered
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.catalogue import told_in
from finecut.transforms.verify.checks.chunks import (
    LISTS,
    anything_in,
    checked,
    claim_artefacts,
    claim_of,
)
from finecut.transforms.verify.checks.clips import Chunk
from finecut.transforms.verify.checks.documents import document_in
from finecut.transforms.verify.checks.findings import Claim, Entry, Verifying, share_of
from finecut.transforms.verify.checks.packs import owned_in_pack
from finecut.transforms.verify.checks.vectors import claims_of_vectors


def owned_in_chunk(
    path: str, verifying: Verifying, shares: Container[str]
) -> Iterator[tuple[str, Entry]]:
    """What a chunk whose document lies there promises of clips of these shares, and of itself."""
    name = verifying.layout.inside(path)
    which = chunk_numbered(path.removeprefix(f"{verifying.layout.processed_clip_chunks()}/"))
    data = shelf.read_if_there(path) if which else None
    if which is None or data is None:
        return
    document, wrong = document_in(data, name, "a document of a chunk", shapes.CHUNK)
    if wrong or which[0] in verifying.open_videos:
        yield from _shared(each for each in anything_in(document, name) if isinstance(each, Claim))
        return
    if not verifying.has_metas:
        return
    # Whether the files are there was seen before, so none is looked at.
    chunk = Chunk(name, which[1], document)
    if verifying.layout.packed:
        for owned in owned_in_pack(chunk, which[0], verifying):
            if share_of(owned.owner) in shares:
                yield share_of(owned.owner), owned
        return
    only_documents = replace(verifying, quick=True, has_clips=False, folders=frozenset())
    listed = [(id, key == "clips") for key in LISTS for id in document[key]]
    for each in listed:
        if share_of(each[0]) in shares:
            chunk.clips.append(checked(document["video"], only_documents, each))
    claim_artefacts(chunk.clips)
    yield from _shared(claim_of(clip, chunk) for clip in chunk.clips)
    if verifying.has_catalogue:
        yield from told_in(chunk, which[0], verifying)
    yield from _shared(claims_of_vectors(chunk, verifying))


def _shared(claims: Iterator[Claim]) -> Iterator[tuple[str, Entry]]:
    return ((share_of(claim.owner), claim) for claim in claims)
