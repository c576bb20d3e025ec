"""What takes more than one look at Google's store: copying an object, and removing several."""

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from google.api_core.exceptions import (
    BadRequest,
    MethodNotAllowed,
    MethodNotImplemented,
    NotFound,
    PreconditionFailed,
)
from google.cloud import storage

from finecut.io.storage.stores import LOOKS, replaced_again

#: Seconds that one request may be silent.
SILENCE: Final = 60
#: So many objects are removed in one request.
TOGETHER: Final = 100
GONE: Final = 404


def known(blob: storage.Blob) -> storage.Blob | None:
    """The same with what the store knows of it, or nothing if there is no such object."""
    try:
        blob.reload(timeout=SILENCE, retry=None)
    except NotFound:
        return None
    return blob


def copy(source: storage.Blob, target: storage.Blob, final: str) -> None:
    """The copy appears whole, and only in place of what was there when it was begun."""
    for _ in range(LOOKS):
        there = known(target.bucket.blob(target.name))
        if there is not None and (there.size, there.crc32c) == (source.size, source.crc32c):
            return  # an attempt was heard, and only its answer was lost
        # Unless somebody is faster: then it is looked at again.
        with contextlib.suppress(PreconditionFailed):
            _rewrite(source, target, 0 if there is None else there.generation)
            return
    raise replaced_again(final)


def _rewrite(source: storage.Blob, target: storage.Blob, generation: int) -> None:
    token = None
    while True:  # large objects are copied in parts, and appear with the last
        token, _, _ = target.rewrite(
            source,
            token=token,
            if_generation_match=generation,
            if_source_generation_match=source.generation,
            timeout=SILENCE,
            retry=None,
        )
        if token is None:
            return


def removed_together(client: Any, blobs: Sequence[storage.Blob]) -> bool:
    """Remove objects in one request; whether all are gone now."""
    if len(blobs) < 2:
        return False
    batch = client.batch(raise_exception=False)
    try:
        with batch:
            for blob in blobs:
                blob.delete(timeout=SILENCE, retry=None)
    except (BadRequest, MethodNotAllowed, MethodNotImplemented, NotFound, ValueError):
        return False  # a server that knows no such requests, or half an answer
    return all(answer.ok or answer.status_code == GONE for answer in batch._responses)
