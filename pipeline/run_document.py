"""What a run did, as a document: ``runs/<when>/summary.json``."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from finecut.io.records import Summary
from finecut.pipeline.options import Options, default_of, option_fields
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
    told: dict[str, dict[str, float]] = {}
    for name, value in sorted(stats.items()):
        step, slash, what = name.partition("/")
        if slash:
            key, number = ("seconds", value / 1e6) if what == "microseconds" else (what, value)
            told.setdefault(step, {})[key] = number
    return told


def versions() -> dict[str, str]:
    """What ran."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
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
