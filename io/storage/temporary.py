"""Temporary folders of this machine that do not outlive the process that made them.

    TMPDIR/finecut-work-1000/1f3a…/alive  locked by the process that works there (see ``staging``)
    TMPDIR/finecut-work-1000/77b0…/alive  not locked: its process was killed; swept by the next one

A folder of ``tempfile`` stays for ever when its process is killed. These lie together in one folder
that only their user can write to, so nobody else's are looked at, and nobody can plant any.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from finecut.io.storage.publishing import Shelf
from finecut.io.storage.scratch import own_folder
from finecut.io.storage.staging import alive, sweep_dead

#: Keeps the common folder: one that goes and comes again could be made by somebody else meanwhile.
KEEP: Final = "keep"
#: What the marks of these folders say they are for; they are never shared, so it is no more.
TEMPORARY: Final = "temporary"


@contextmanager
def temporary_folder(sweeping: bool = True) -> Iterator[str]:
    """A new folder for this process alone; when it is made, those of killed ones are swept.

    ``sweeping``: not where one is made for every clip, or whoever works here looks at all others.
    """
    own = _new()
    with alive(own, TEMPORARY):
        if sweeping:
            sweep_dead(own)
        inside = f"{own.staging}/work"
        Path(inside).mkdir()
        yield inside


def sweep_temporary() -> None:
    """Remove what killed processes of this user left; trouble with that is nobody's trouble."""
    with contextlib.suppress(OSError):
        sweep_dead(_new())


def _new() -> Shelf:
    place = own_folder(tempfile.gettempdir(), "finecut-work")
    (place / KEEP).touch()
    return Shelf(str(place), f"{place}/{uuid.uuid4().hex}")
