"""What a run leaves of itself in its output: its document, its profile, its list of failures."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial

from finecut.io.errors import RunError
from finecut.io.records import to_json
from finecut.pipeline.planning import Plan
from finecut.pipeline.profiling import Profile, collapsed, flame, steps_table
from finecut.pipeline.run_document import run_name
from finecut.transforms.find.lists import failures_in
from finecut.transforms.write.documents import Document, serialise


def write_document(steps: Plan, document: Document, started: float) -> str:
    """Keep what the run did; the path of the document."""
    own, layout = steps.writing.shelf, steps.writing.layout
    path = layout.run_summary(run_name(started, own.staging))
    _keep(partial(own.write, path, serialise(document)), path)
    return path


def write_profile(steps: Plan, seen: Profile, started: float) -> None:
    """Where the time went, beside what the run did."""
    own, layout = steps.writing.shelf, steps.writing.layout
    run = run_name(started, own.staging)
    texts = {
        "steps.txt": steps_table(seen),
        "stacks.txt": collapsed(seen),
        "flame.svg": flame(seen),
    }
    for name, text in texts.items():
        path = layout.run_profile(run, name)
        _keep(partial(own.write, path, text.encode()), path)


def list_failures(steps: Plan, lines: Sequence[str]) -> None:
    """Write the list, or remove it if there is nothing on it."""
    own = steps.writing.shelf
    if lines:
        data = "".join(f"{line}\n" for line in sorted(lines)).encode()
        _keep(partial(own.write, steps.failures_path, data), steps.failures_path)
    else:
        _keep(partial(own.remove, steps.failures_path), steps.failures_path)


def listed_before(steps: Plan) -> dict[str, list[str]]:
    """What an earlier run listed as failed, by name: it stays until it was tried again."""
    listed: dict[str, list[str]] = {}
    for failure in failures_in(steps.failures_path):
        listed.setdefault(failure.source.name, []).append(to_json(failure))
    return listed


def _keep(write: Callable[[], object], path: str) -> None:
    try:
        write()
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "Make room" if full else "Check what is in the way there, and who may write"
        raise RunError(
            f"{path} could not be written ({error.strerror or error}). {what}, and run the same "
            "command again; everything finished stays finished."
        ) from error
