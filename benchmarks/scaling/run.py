"""The run that would have made a painted output: without it, nobody knows what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.pipeline.keeping import run_document
from finecut.pipeline.options import Options
from finecut.pipeline.planning import digest_of, facts_of
from finecut.transforms.option import SCORE_ONLY
from finecut.transforms.registry import IN_CUT, ON_FRAMES
from finecut.transforms.write.documents import serialise
from finecut.transforms.write.writing import Writing
from scaling.plan import REJECTED, SECONDS, Plan
from scaling.rows import ALGORITHM, MODEL

#: When it would have begun, and what it is called.
STARTED, NAME = 1_767_225_600.0, "20260101T000000Z-00000000"
#: Other rules, by which no rejected clip is kept.
STRICTER: Final = ("motion>0.01", "sharpness>0.1")
MODELS: Final = {"embed": ALGORITHM, "caption": "qwen", "enhance": None}


def options_of(plan: Plan, folder: str) -> Options:
    """What it would have been given."""
    measured: dict[str, Any] = {f"{name}_filter": SCORE_ONLY for name in (*IN_CUT, *ON_FRAMES)}
    return Options(
        input=("/films",),
        output=folder,
        shard_prefix=True,
        clip_length=float(SECONDS),
        min_clip_length=float(SECONDS),
        chunk_seconds=SECONDS * plan.clips_of_chunk,
        keep=tuple(REJECTED),
        embedding_algorithm=ALGORITHM,
        generate_captions=True,
        **measured,
    )


def configuration_of(options: Options) -> str:
    return digest_of(options, facts_of(options, **MODELS))


def write_run(plan: Plan, layout: Layout, num_bytes: int) -> None:
    """Its document, in which all clips are accounted for."""
    options = options_of(plan, layout.root)
    writing = Writing(
        layout,
        Shelf(layout.root, layout.staging_of("painted")),
        configuration=configuration_of(options),
        facts=facts_of(options, **MODELS),
    )
    summary = summary_of(plan, num_bytes)
    document = run_document(
        options, summary, seconds=1.0, stats={}, started=STARTED, writing=writing
    )
    path = Path(layout.run_summary(NAME))
    path.parent.mkdir(parents=True)
    path.write_bytes(serialise(document))


def summary_of(plan: Plan, num_bytes: int) -> Summary:
    """Its counts, where each clip's file has so many bytes."""
    kept, *rejected = np.bincount(plan.reasons, minlength=1 + len(REJECTED)).tolist()
    seconds = float(plan.rows * SECONDS)
    by = dict(zip(REJECTED, rejected, strict=True))
    return Summary(
        videos_found=plan.videos,
        videos_done=plan.videos,
        shots_planned=plan.rows,
        shots_kept=kept,
        shots_rejected=sum(rejected),
        seconds_found=seconds,
        seconds_cut=seconds,
        seconds_planned=seconds,
        seconds_kept=float(kept * SECONDS),
        seconds_rejected={rule: float(number * SECONDS) for rule, number in by.items()},
        rejected_by=by,
        clip_bytes=plan.rows * num_bytes,
        vectors={ALGORITHM: kept},
        captions={"ok": kept},
        models={f"{ALGORITHM}_embedding": f"{MODEL.name}@{MODEL.revision}"},
    )
