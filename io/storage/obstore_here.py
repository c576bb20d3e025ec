"""obstore, as this process can use it.

Its requests run on threads of its own. A copy of a process (``fork``) has the library but not the
threads, and whoever asks it there waits for ever. PyTorch's data loader makes such copies of a
process that has read from the store before. So a copy of a process that has used it loads the
library once more, under another name of its file (40 ms); one that only imported it need not.
"""

import importlib
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import obstore

PACKAGE: Final = "obstore"
LIBRARY: Final = f"{PACKAGE}._obstore"
#: Where it is installed.
FILE: Final = str(sys.modules[LIBRARY].__file__)


class _Here:
    lock = threading.Lock()
    #: The process that has the threads.
    user: int | None = None
    library: Any = obstore


def _in_a_copy() -> None:
    """A lock that another thread held when this process was copied is never let go here."""
    _Here.lock = threading.Lock()


os.register_at_fork(after_in_child=_in_a_copy)


def library() -> Any:
    """The module ``obstore``, whose functions answer in this process."""
    here = os.getpid()
    if _Here.user != here:
        with _Here.lock:
            if _Here.user not in (None, here):
                _Here.library = _loaded_again()
            _Here.user = here
    return _Here.library


def _loaded_again() -> Any:
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    with _copy() as file:
        loader = ExtensionFileLoader(LIBRARY, file)
        spec = importlib.util.spec_from_file_location(LIBRARY, file, loader=loader)
        assert spec is not None
        sys.modules[LIBRARY] = importlib.util.module_from_spec(spec)
        loader.exec_module(sys.modules[LIBRARY])
    return importlib.import_module(PACKAGE)


@contextmanager
def _copy() -> Iterator[str]:
    """A copy of the file, in memory where that can be: temporary files may not be executable."""
    if hasattr(os, "memfd_create"):
        with Path(FILE).open("rb") as there, os.fdopen(os.memfd_create(PACKAGE), "wb") as here:
            shutil.copyfileobj(there, here, 1 << 20)
            here.flush()
            yield f"/proc/self/fd/{here.fileno()}"
    else:
        with NamedTemporaryFile(suffix=".so") as part:
            shutil.copyfile(FILE, part.name)
            yield part.name
