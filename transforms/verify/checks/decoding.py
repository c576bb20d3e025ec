"""Looking into files that may be damaged or hostile: in a child process, within limits.

What comes back is text and is checked: a decoder may have been taken over by its file.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, get_type_hints

from finecut.io.dataset.places import Place
from finecut.io.media.limits import FilmError, Limits, prepare_process
from finecut.io.media.validate import Moving, Watched, read_webp, watch_clip
from finecut.io.process.child import beat
from finecut.io.process.children import ChildDied, ChildLimits, preload, run_in_child
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import (
    has_outlasted,
    note_outlasted,
    outlasted_at,
    pass_on_outlasted,
)
from finecut.transforms.beam.guard import attempted
from finecut.transforms.verify.checks.findings import Verifying

preload(__name__)

#: A remote file up to this size is fetched once and looked at twice.
FETCHED_WHOLE: Final = 64 << 20
BLOCK: Final = 1 << 20
#: More pixels than a preview has: an eighth of what a film may have.
PREVIEW_PIXELS: Final = 8_388_608
TRIES: Final = 2
NONSENSE: Final = "the decoding process returned invalid data"
#: The address, in what a child says that did not get a file because its store stayed busy.
AWAY: Final = "away"


@dataclass(frozen=True)
class Found:
    """What a clip's file is: its bytes, and what they show."""

    num_bytes: int
    sha256: str
    #: Nothing if it was not decoded.
    watched: Watched | None = None
    #: Why it cannot be decoded.
    trouble: str = ""


class Trouble(Exception):
    """A file that cannot be decoded; the message says why."""


def clip_found(film: Place, digest: str | None, verifying: Verifying) -> Found | None:
    """What lies there, or ``None`` if nothing does.

    With the right digest the bytes are as they were written, so they are not decoded as closely:
    sound was copied from the source video, with whatever is wrong with it there.
    """
    trouble = ""
    if not verifying.quick:
        try:
            return _clip_in(_answer(_look, film, digest, verifying.film, limits=verifying.limits))
        except Trouble as error:
            trouble = str(error)
    answer = json.loads(next(_look(film)))
    _pass_on(answer)
    found = _clip_in(answer)
    return found and Found(found.num_bytes, found.sha256, None, trouble)


def preview_found(data: bytes, limits: ChildLimits | None) -> Moving:
    """What an animated WebP shows, or :class:`Trouble`."""
    answer = _answer(_show, data, limits=limits)
    if "trouble" in answer:
        raise Trouble(str(answer["trouble"]))
    return Moving(**_plain(answer, Moving))


# ── here ─────────────────────────────────────────────────────────────────────────────────────────


def _answer(
    work: Callable[..., Iterable[bytes]], *args: Any, limits: ChildLimits | None
) -> dict[str, Any]:
    """What the work says, made in a child where there are limits."""
    outcome = (
        attempted(lambda: list(work(*args)))
        if limits is None
        else _from_child(work, *args, limits=limits)
    )
    if isinstance(outcome, Exception):
        pass_on_outlasted(outcome)
        raise Trouble(_words(outcome)) from outcome
    with suppress(ValueError, IndexError):
        answer = json.loads(outcome[0])
        if isinstance(answer, dict):
            _pass_on(answer)
            return answer
    raise Trouble(NONSENSE)


def _pass_on(answer: Mapping[str, Any]) -> None:
    """Raise what the child could not get from a store."""
    if AWAY in answer:
        error = ConnectionError(str(answer.get("said", "")))
        note_outlasted(error, str(answer[AWAY]) or "a store")
        raise error


def _from_child(
    work: Callable[..., Iterable[bytes]], *args: Any, limits: ChildLimits, tries: int = TRIES
) -> list[bytes] | ChildDied:
    try:
        return list(run_in_child(work, *args, limits=limits))
    except ChildDied as died:
        # It may have been the machine's fault: what is the file's fault happens again.
        return died if tries == 1 else _from_child(work, *args, limits=limits, tries=tries - 1)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _clip_in(answer: dict[str, Any]) -> Found | None:
    if "missing" in answer:
        return None
    if type(answer.get("num_bytes")) is not int or not isinstance(answer.get("sha256"), str):
        raise Trouble(NONSENSE)
    watched = answer.get("watched")
    return Found(
        answer["num_bytes"],
        answer["sha256"],
        Watched(**_plain(watched, Watched)) if isinstance(watched, dict) else None,
        str(answer.get("trouble", "")),
    )


def _plain(answer: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The fields of a record, each of a plain type that it may have."""
    types = {int: (int,), float: (int, float), str: (str,)}
    wanted = {name: types[hint] for name, hint in get_type_hints(kind).items()}
    if set(answer) != set(wanted) or not all(type(answer[k]) in wanted[k] for k in wanted):
        raise Trouble(NONSENSE)
    return answer


# ── in the child ─────────────────────────────────────────────────────────────────────────────────


def _look(lying: Place, digest: str | None = None, film: Limits | None = None) -> Iterator[bytes]:
    """What lies there; without limits it is not decoded."""
    try:
        with _opened(lying) as source:
            size, sha256 = _hash(source)
            answer: dict[str, Any] = {"num_bytes": size, "sha256": sha256}
            if film is not None:
                answer |= _watch(source, film, closely=sha256 != digest)
    except (FileNotFoundError, IsADirectoryError):
        answer = {"missing": True}
    except OSError as error:
        if not has_outlasted(error):
            raise
        answer = {AWAY: outlasted_at(error), "said": str(error)}
    yield json.dumps(answer).encode()


def _watch(source: str | BinaryIO, film: Limits, closely: bool) -> dict[str, Any]:
    prepare_process()
    if not isinstance(source, str):
        source.seek(0)
    try:
        return {"watched": asdict(watch_clip(source, film, closely=closely))}
    except FilmError as error:
        if has_outlasted(error):
            return {AWAY: outlasted_at(error), "said": str(error)}
        return {"trouble": str(error)}


def _show(data: bytes) -> Iterator[bytes]:
    prepare_process()
    outcome = attempted(lambda: read_webp(data, PREVIEW_PIXELS))
    answer = {"trouble": _words(outcome)} if isinstance(outcome, Exception) else asdict(outcome)
    yield json.dumps(answer).encode()


@contextmanager
def _opened(lying: Place) -> Iterator[str | BinaryIO]:
    uri = lying.path
    if lying.offset is not None:
        yield io.BytesIO(b"".join(lying.pieces(BLOCK)))
        return
    if shelf.is_remote(uri) and shelf.size_of(uri) <= FETCHED_WHOLE:
        yield io.BytesIO(shelf.read(uri))
        return
    with shelf.open_source(uri) as source:
        yield source


def _hash(source: str | BinaryIO) -> tuple[int, str]:
    if isinstance(source, str):
        with Path(source).open("rb") as file:
            return _hash(file)
    size, digest = 0, hashlib.sha256()
    while block := source.read(BLOCK):
        size += len(block)
        digest.update(block)
        beat()
    return size, digest.hexdigest()
