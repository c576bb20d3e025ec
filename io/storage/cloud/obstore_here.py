"""obstore, as this process can use it.

Its requests run on threads of its own. A copy of a process (``fork``) has the library but not the
threads, and whoever asks it there waits for ever. PyTorch's data loader makes such copies of a
process that has read from the store before. So a copy of a process that has used it loads the
library once more, under another name of its file (40 ms); one that only imported it need not.
"""

import importlib.util
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

# Where its functions are; the modules around it only pass them on.
from obstore import _obstore

#: Where it is installed.
FILE: Final = str(_obstore.__file__)


class _Here:
    lock = threading.Lock()
    #: The process that has the threads.
    user: int | None = None
    library: Any = _obstore


def _in_a_copy() -> None:
    """A lock that another thread held when this process was copied is never let go here."""
    _Here.lock = threading.Lock()


os.register_at_fork(after_in_child=_in_a_copy)


def library() -> Any:
    """obstore, whose functions answer in this process."""
    here = os.getpid()
    if _Here.user != here:
        with _Here.lock:
            if _Here.user not in (None, here):
                _Here.library = _loaded_again()
            _Here.user = here
    return _Here.library


def _loaded_again() -> Any:
    """Beside the one that is there, which stays what it is for whoever else uses it."""
    with _copy() as file:
        loader = ExtensionFileLoader("_obstore", file)
        spec = importlib.util.spec_from_file_location("_obstore", file, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    return module


@contextmanager
def _copy() -> Iterator[str]:
    """A copy of the file, in memory where that can be: temporary files may not be executable."""
    if hasattr(os, "memfd_create"):
        with Path(FILE).open("rb") as there, os.fdopen(os.memfd_create("obstore"), "wb") as here:
            shutil.copyfileobj(there, here, 1 << 20)
            here.flush()
            yield f"/proc/self/fd/{here.fileno()}"
    else:
        with NamedTemporaryFile(suffix=".so") as part:
            shutil.copyfile(FILE, part.name)
            yield part.name
