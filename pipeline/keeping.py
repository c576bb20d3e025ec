"""What a run leaves of itself: its document ``runs/<when>/summary.json``, profile and failures."""

import errno
import platform
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from finecut.io.errors import RunError
from finecut.io.summary import Summary
from finecut.pipeline.options import Options, default_of, option_fields
from finecut.pipeline.planning import Plan
from finecut.pipeline.profiling import Profile, collapsed, flame, steps_table
from finecut.transforms.beam.lines import as_lines
from finecut.transforms.find.lists import pieces_of, still_listed
from finecut.transforms.write.documents import Document, serialise, summary_document
from finecut.transforms.write.secrets import redacted
from finecut.transforms.write.writing import Writing

#: Packages whose versions a run depends on; those that are installed are named.
PACKAGES = (
    "finecut",
    "apache-beam",
    "av",
    "numpy",
    "pyarrow",
    "onnxruntime",
    "torch",
    "transformers",
    "vllm",
)


def run_name(started: float, staging: str) -> str:
    """What a run is called: when it began, and what tells it from one that began just then.

    >>> run_name(0.0, "/out/.staging/1f3a5b7c9d")
    '19700101T000000Z-1f3a5b7c'
    """
    when = datetime.fromtimestamp(started, UTC)
    return f"{when:%Y%m%dT%H%M%SZ}-{staging.rsplit('/', 1)[-1][:8]}"


def run_document(
    options: Options,
    summary: Summary,
    seconds: float,
    stats: Mapping[str, int],
    started: float,
    writing: Writing,
) -> dict[str, Any]:
    """All that is known of a run that came to its end."""
    s = summary
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        **summary_document(s),
        "speed": {
            "times_real_time": round(s.seconds_cut / max(seconds, 1e-3), 3),
            "video_hours_per_hour": round(s.seconds_found / max(seconds, 1e-3), 3),
        },
        "steps": steps(stats),
        "failures": [asdict(failure) for failure in s.failures],
        "num_failures": s.num_failures,
        "models": dict(s.models),
        "versions": versions(),
        "options": given(options),
        "configuration": {"digest": writing.configuration, **writing.facts},
    }


def steps(stats: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Items, seconds and bytes of every step, summed over its workers."""
    told: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, value in sorted(stats.items()):
        step, slash, what = name.partition("/")
        if slash:
            told[step] |= {"seconds": value / 1e6} if what == "microseconds" else {what: value}
    return told


def versions() -> dict[str, str]:
    """What ran."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def given(options: Options) -> dict[str, Any]:
    """The options that were given, without secrets in addresses."""
    return {
        f.name: _plain(getattr(options, f.name))
        for f in option_fields()
        if getattr(options, f.name) != default_of(f)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def write_document(steps: Plan, document: Document, started: float) -> str:
    """Keep what the run did; the path of the document."""
    path = steps.writing.layout.run_summary(run_name(started, steps.writing.shelf.staging))
    _keep(path, partial(steps.writing.shelf.write, path, serialise(document)))
    return path


def write_profile(steps: Plan, seen: Profile, started: float) -> None:
    """Where the time went, beside what the run did."""
    run = run_name(started, steps.writing.shelf.staging)
    texts = {
        "steps.txt": steps_table(seen),
        "stacks.txt": collapsed(seen),
        "flame.svg": flame(seen),
    }
    for name, text in texts.items():
        path = steps.writing.layout.run_profile(run, name)
        _keep(path, partial(steps.writing.shelf.write, path, text.encode()))


def list_failures(steps: Plan, lines: Sequence[str], tried: Container[str]) -> None:
    """Bring the list up to date, or remove it if there is nothing on it.

    What is listed of other videos, by earlier runs or by those beside this one, stays until they
    are tried again.
    """
    # Of a job on a cluster, it may lie in several files.
    for path in {steps.failures_path: None} | dict.fromkeys(pieces_of(steps.failures_path)):
        new = lines if path == steps.failures_path else ()
        _keep(path, partial(steps.writing.shelf.update, path, partial(_listed, path, new, tried)))


def _listed(path: str, lines: Sequence[str], tried: Container[str], there: bytes) -> bytes:
    return as_lines([*lines, *still_listed(there, path, tried)])


def _keep(path: str, write: Callable[[], object]) -> None:
    """Write this file; a sentence, if that is not possible."""
    try:
        write()
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "Make room" if full else "Check what is in the way there, and who may write"
        raise RunError(
            f"{path} could not be written ({error.strerror or error}). {what}, and run the same "
            "command again; everything finished stays finished."
        ) from error
