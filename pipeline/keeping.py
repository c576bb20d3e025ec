"""What a run leaves of itself: its document ``runs/<when>/summary.json``, profile and failures."""

import errno
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from finecut.io.errors import RunError
from finecut.io.records import Summary, to_json
from finecut.pipeline.options import Options, default_of, option_fields
from finecut.pipeline.planning import Plan
from finecut.pipeline.profiling import Profile, collapsed, flame, steps_table
from finecut.transforms.find.lists import failures_in
from finecut.transforms.write.documents import Document, serialise
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
        "balanced": not s.imbalances(),
        "imbalances": s.imbalances(),
        "videos": {
            "found": s.videos_found,
            "done": s.videos_done,
            "empty": s.videos_empty,
            "failed": s.videos_failed,
            "skipped": s.videos_skipped,
            "set_aside": s.videos_set_aside,
            "failed_by": dict(s.failed_by),
        },
        "clips": {
            "planned": s.shots_planned,
            "kept": s.shots_kept,
            "rejected": s.shots_rejected,
            "failed": s.shots_failed,
            "rejected_by": dict(s.rejected_by),
            "marked": dict(s.marked),
            "num_marked": s.num_marked,
            "transcoded": dict(s.transcoded),
            "vectors": dict(s.vectors),
            "captions": dict(s.captions),
            "bytes": s.clip_bytes,
            "frames": s.frames,
        },
        "film_seconds": {
            "found": s.seconds_found,
            "planned": s.seconds_planned,
            "cut": s.seconds_cut,
            "kept": s.seconds_kept,
            "rejected_by": dict(s.seconds_rejected),
            "failed": max(0.0, s.seconds_planned - s.seconds_cut),
            "skipped": s.seconds_skipped,
        },
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
    _keep(steps, path, serialise(document))
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
        _keep(steps, steps.writing.layout.run_profile(run, name), text.encode())


def list_failures(steps: Plan, lines: Sequence[str]) -> None:
    """Write the list, or remove it if there is nothing on it."""
    data = "".join(f"{line}\n" for line in sorted(lines)).encode()
    _keep(steps, steps.failures_path, data or None)


def listed_before(steps: Plan) -> dict[str, list[str]]:
    """What an earlier run listed as failed, by name: it stays until it was tried again."""
    listed = defaultdict(list)
    for failure in failures_in(steps.failures_path):
        listed[failure.source.name].append(to_json(failure))
    return listed


def _keep(steps: Plan, path: str, data: bytes | None) -> None:
    """Write this file, or remove it."""
    own = steps.writing.shelf
    try:
        own.remove(path) if data is None else own.write(path, data)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "Make room" if full else "Check what is in the way there, and who may write"
        raise RunError(
            f"{path} could not be written ({error.strerror or error}). {what}, and run the same "
            "command again; everything finished stays finished."
        ) from error
