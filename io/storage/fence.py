"""The fence: what a command may touch ends where the folder ends that it was given.

A link inside an output may lead anywhere: following it would read, list, overwrite or remove what
somebody else owns. So a command says once which folders it works in, and within::

    with standing(Fence(("/data/out",))):
        ...                   # nothing below /data/out is followed to outside of it

a path that leads out of its folder is as good as missing for reading, is left out of listings
(with a word, once), and refused for writing and removing (:class:`LeadsOutside`). The folder
itself may be a link: it is resolved once. What lies below no fence is followed as ever, and so is
what lies in a folder that is ``free``: inputs, even where they lie in an output.

Local paths only: a store has no links.

And halting: a run that is given up writes nothing more and begins no work, wherever its threads
are. A run is known by its staging folder, which no other has. Others in this process go on.
"""

import errno
import logging
import os
import posixpath
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LOG = logging.getLogger("finecut")

#: Folders whose real places are remembered at the same time.
REMEMBERED: Final = 10_000

_SPECIAL: Final = ("", ".", "..")


class LeadsOutside(FileNotFoundError):
    """A path that leads out of the folder that it lies in. For reading, there is nothing."""

    def __init__(self, path: str, root: str) -> None:
        super().__init__(
            errno.ENOENT,
            f"{path} is a link, or is behind a link, that leads out of {root}; finecut touches "
            "nothing there. Remove the link, or replace it by what it points to",
            path,
        )

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[FileNotFoundError], tuple[object, ...]]:
        return FileNotFoundError, (self.errno, self.strerror, self.filename)


@dataclass(frozen=True)
class Fence:
    """Folders that are not left, and those that are followed as ever. Where it arrives with work to
    be done, it stands as long as that work is there.
    """

    roots: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, (self.roots, self.free)


def _arrived(roots: tuple[str, ...], free: tuple[str, ...]) -> Fence:
    fence = Fence(roots, free)
    if roots:
        stands = _STANDING.put_up(Fence(roots, free))
        weakref.finalize(fence, _STANDING.take_down, stands).atexit = False
    return fence


#: Where there is none.
NO_FENCE: Final = Fence()


class _Standing:
    """The fences of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: Each with what tells it from an equal one.
        self.fences: dict[object, Fence] = {}
        self.logged: set[str] = set()
        self._places: dict[str, str | None] = {}
        self._one_fell = False

    def put_up(self, fence: Fence) -> object:
        stands = object()
        with self.lock:
            new = fence not in [*self.fences.values()]
            self.fences[stands] = fence
            if new:
                self.renew()
        return stands

    def take_down(self, stands: object) -> None:
        # Without the lock: whoever holds it may be the one who collects what nobody needs any more.
        del self.fences[stands]
        self._one_fell = True

    @property
    def places(self) -> dict[str, str | None]:
        """Each folder of every fence, and where it really is; nothing for those that are free."""
        if self._one_fell:
            with self.lock:
                self._one_fell = False
                self.renew()
        return self._places

    def renew(self) -> None:
        """Find out again where the folders are. With the lock."""
        fences = [*self.fences.values()]
        free = {folder: None for fence in fences for folder in fence.free if _is_local(folder)}
        roots = [folder for fence in fences for folder in fence.roots if _is_local(folder)]
        self._places = {**free, **{folder: os.path.realpath(folder) for folder in roots}}
        _remembered.cache_clear()


_STANDING: Final = _Standing()


def look_again() -> None:
    """Forget where folders were, for a command that goes on while others move them."""
    with _STANDING.lock:
        _STANDING.renew()


@contextmanager
def standing(fence: Fence) -> Iterator[None]:
    """Within, nothing below the fence's folders is followed to outside of them."""
    stands = _STANDING.put_up(fence)
    _STANDING.logged.clear()
    try:
        yield
    finally:
        _STANDING.take_down(stands)


def _is_local(path: str) -> bool:
    return "://" not in path


def fence_around(path: str) -> str | None:
    """The fenced folder that this path lies in, if it lies in one: the deepest that is known."""
    places = _STANDING.places
    found = max(
        (folder for folder in places if path == folder or path.startswith(f"{folder}/")),
        key=len,
        default=None,
    )
    return None if found is None or places[found] is None else found


def leads_outside(path: str) -> bool:
    """Whether this path leaves the fenced folder that it lies in; logged once, if so."""
    if not _STANDING.places:
        return False
    root = fence_around(path)
    if root is None or path == root or is_within(real_place(path), _known_place(root)):
        return False
    if _is_new(path):
        LOG.error("left alone: %s is a link that leads out of %s", _shown(path), _shown(root))
    return True


def refuse_outside(path: str) -> None:
    """Raise :class:`LeadsOutside` for what is not to be read."""
    if leads_outside(path):
        raise LeadsOutside(path, fence_around(path) or "")


def refuse_behind_link(path: str, root: str) -> None:
    """Raise :class:`LeadsOutside` if the folder of a path is not really in ``root``.

    For writing and removing: a last part that is a link is then replaced or removed itself.
    """
    if not is_within(_known_place(posixpath.dirname(path)), _known_place(root)):
        raise LeadsOutside(path, root)


def is_straight(path: str, root: str) -> bool:
    """Whether no link lies between a folder and one below it, or on that one's place."""
    below = path.removeprefix(root).strip("/")
    return real_place(path) == posixpath.join(_known_place(root), below).rstrip("/")


def is_within(real: str, real_root: str) -> bool:
    """Whether a resolved path is a resolved folder, or lies in it.

    >>> is_within("/data/out/clips", "/data/out"), is_within("/data/output", "/data/out")
    (True, False)
    """
    return real == real_root or real.startswith(f"{real_root.rstrip('/')}/")


def is_plain_name(name: object) -> bool:
    """Whether a name that was read from a note stays below the folder that it is joined to.

    >>> is_plain_name("480p/00000"), is_plain_name("../x"), is_plain_name("/x"), is_plain_name(7)
    (True, False, False, False)
    """
    return (
        isinstance(name, str)
        and not any(part in _SPECIAL for part in name.split("/"))
        and all(ord(letter) >= ord(" ") and letter not in "\\\x7f" for letter in name)
    )


def plain_names(names: Iterable[object], note: str) -> list[str]:
    """Those of a note's names that stay below their folder; others are logged and left alone."""
    plain: list[str] = []
    for name in names:
        if isinstance(name, str) and is_plain_name(name):
            plain.append(name)
        else:
            shown = _shown(str(name)[:80])
            if _is_new(f"{note} {shown}"):
                LOG.error(
                    "%s names %s, which finecut never writes: it is left alone", _shown(note), shown
                )
    return plain


def _is_new(message: str) -> bool:
    """Whether this was not logged since the last command began."""
    with _STANDING.lock:
        new = message not in _STANDING.logged
        _STANDING.logged.add(message)
    return new


def real_place(path: str) -> str:
    """The path with all links resolved; its folder is asked for once."""
    folder, name = posixpath.split(path)
    if name in _SPECIAL or not folder:
        return os.path.realpath(path)
    place = posixpath.join(_known_place(folder), name)
    return os.path.realpath(place) if os.path.islink(place) else place  # noqa: PTH114


def _known_place(folder: str) -> str:
    # Nobody says when to forget it, where no command is at work.
    return _remembered(folder) if _STANDING.places else os.path.realpath(folder)


@lru_cache(maxsize=REMEMBERED)
def _remembered(folder: str) -> str:
    return folder if folder == "/" else real_place(folder)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class _Halted:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: set[str] = set()
        #: What to do when a run is halted.
        self.then: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)


_HERE = _Halted()


def _in_a_copy() -> None:
    """A lock that another thread held when this process was copied is never let go here."""
    _HERE.lock, _HERE.then = threading.Lock(), defaultdict(list)


os.register_at_fork(after_in_child=_in_a_copy)


def halt(run: str) -> None:
    """From now on, and for good; from any thread."""
    with _HERE.lock:
        _HERE.runs.add(run)
        then = list(_HERE.then[run])
    for do in then:
        do()


def is_halted(run: str) -> bool:
    return run in _HERE.runs


@contextmanager
def when_halted(run: str, do: Callable[[], object]) -> Iterator[None]:
    """Within, ``do`` is done when the run is halted; at once, if it was before."""
    with _HERE.lock:
        _HERE.then[run].append(do)
        late = run in _HERE.runs
    try:
        if late:
            do()
        yield
    finally:
        # In a copy of the process nothing waits.
        with _HERE.lock, suppress(ValueError):
            _HERE.then[run].remove(do)
