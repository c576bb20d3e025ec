"""Looking into files that may be damaged or hostile: in a child process, within limits.

What comes back is text and is checked: a decoder may have been taken over by its file.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Final

from finecut.io.media.frames.webp import Moving, read_webp
from finecut.io.media.limits import FilmError, Limits
from finecut.io.media.memory import prepare_process
from finecut.io.media.validate import Watched, watch_clip
from finecut.io.process.child import beat
from finecut.io.process.children import ChildDied, ChildLimits, preload, run_in_child
from finecut.io.storage import files as shelf
from finecut.transforms.beam.guard import attempted

preload(__name__)

#: A remote file up to this size is fetched once and looked at twice.
FETCHED_WHOLE: Final = 64 << 20
BLOCK: Final = 1 << 20
#: More pixels than a preview has: an eighth of what a film may have.
PREVIEW_PIXELS: Final = 8_388_608
TRIES: Final = 2


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


def clip_found(
    uri: str, digest: str | None, film: Limits, limits: ChildLimits | None, quick: bool
) -> Found | None:
    """What lies there, or ``None`` if nothing does.

    With the right digest the bytes are as they were written, so it is not looked at as closely:
    sound was copied from the film, with whatever is wrong with it there.
    """
    if not quick:
        try:
            return _clip_in(_answer(_look, uri, digest, film, limits=limits))
        except Trouble as trouble:
            said = str(trouble)
    told = next(_hash_only(uri))
    found = _clip_in(json.loads(told))
    if found is None or quick:
        return found
    return Found(found.num_bytes, found.sha256, None, said)


def preview_found(data: bytes, limits: ChildLimits | None) -> Moving:
    """What an animated WebP shows, or :class:`Trouble`."""
    said = _answer(_show, data, limits=limits)
    if "trouble" in said:
        raise Trouble(str(said["trouble"]))
    return Moving(**_plain(said, Moving))


# ── here ─────────────────────────────────────────────────────────────────────────────────────────


def _answer(
    work: Callable[..., Iterable[bytes]], *args: Any, limits: ChildLimits | None
) -> dict[str, Any]:
    """What the work says, made in a child where there are limits."""
    if limits is None:
        outcome = attempted(lambda: list(work(*args)))
        if isinstance(outcome, Exception):
            raise Trouble(str(outcome) or type(outcome).__name__) from outcome
        return _mapping(outcome)
    for attempt in range(TRIES):
        try:
            return _mapping(list(run_in_child(work, *args, limits=limits)))
        except ChildDied as died:
            # It may have been the machine's fault: what is the file's fault happens again.
            if attempt == TRIES - 1:
                raise Trouble(str(died)) from died
    raise AssertionError("unreachable")


def _mapping(told: list[bytes]) -> dict[str, Any]:
    try:
        said = json.loads(told[0])
    except (ValueError, IndexError) as error:
        raise Trouble("what decodes it answered what makes no sense") from error
    if not isinstance(said, dict):
        raise Trouble("what decodes it answered what makes no sense")
    return said


def _clip_in(said: dict[str, Any]) -> Found | None:
    if "missing" in said:
        return None
    if type(said.get("num_bytes")) is not int or not isinstance(said.get("sha256"), str):
        raise Trouble("what decodes it answered what makes no sense")
    watched = said.get("watched")
    return Found(
        said["num_bytes"],
        said["sha256"],
        Watched(**_plain(watched, Watched)) if isinstance(watched, dict) else None,
        str(said.get("trouble", "")),
    )


def _plain(said: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The fields of a record, each of a plain type that it may have."""
    wanted: dict[str, tuple[type, ...]] = {
        field.name: {"int": (int,), "float": (int, float), "str": (str,)}[str(field.type)]
        for field in fields(kind)
    }
    if set(said) != set(wanted) or not all(type(said[k]) in wanted[k] for k in wanted):
        raise Trouble("what decodes it answered what makes no sense")
    return said


# ── in the child ─────────────────────────────────────────────────────────────────────────────────


def _look(uri: str, digest: str | None, film: Limits) -> Iterator[bytes]:
    prepare_process()
    try:
        with _opened(uri) as source:
            said: dict[str, Any] = dict(zip(("num_bytes", "sha256"), _hash(source), strict=True))
            if not isinstance(source, str):
                source.seek(0)
            try:
                seen = watch_clip(source, film, closely=said["sha256"] != digest)
                said["watched"] = asdict(seen)
            except FilmError as error:
                said["trouble"] = str(error)
    except (FileNotFoundError, IsADirectoryError):
        said = {"missing": True}
    yield json.dumps(said).encode()


def _hash_only(uri: str) -> Iterator[bytes]:
    try:
        with _opened(uri) as source:
            said: dict[str, Any] = dict(zip(("num_bytes", "sha256"), _hash(source), strict=True))
    except (FileNotFoundError, IsADirectoryError):
        said = {"missing": True}
    yield json.dumps(said).encode()


def _show(data: bytes) -> Iterator[bytes]:
    prepare_process()
    outcome = attempted(lambda: read_webp(data, PREVIEW_PIXELS))
    if isinstance(outcome, Exception):
        yield json.dumps({"trouble": str(outcome) or type(outcome).__name__}).encode()
    else:
        yield json.dumps(asdict(outcome)).encode()


@contextmanager
def _opened(uri: str) -> Iterator[str | BinaryIO]:
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
