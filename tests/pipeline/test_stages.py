"""What a cluster does together, and where it deals things out anew: nowhere else."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from fused import Stage, stages_of

from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.pipeline.streaming import listen

MODELS: dict[str, Any] = {"generate_captions": True, "generate_previews": True}
FILTERS: dict[str, Any] = {"motion_filter": "enable", "text_filter": "enable"}
STREAM: dict[str, Any] = {"subscription": "projects/project-1/subscriptions/films"}

#: From the inputs to the dealing of chunks, where no scenes are detected.
FIXED_SHUFFLES = {"FindVideos/Share out", "Decided", "ShareOutChunks/Deal"}
#: Where they are: long videos are watched in segments, which are put together.
WATCHED_SHUFFLES = {"ShareOutVideos/Deal", "SplitVideos/Wait for the video"}
#: What closes chunks that were torn apart, and sums up.
END = {
    "WriteClips/CloseTornChunks",
    "WriteClips/CloseVideos",
    "Summarise/Add up",
    "WriteFailures/Groups",
    "WriteFailures/Files",
    "CompactCatalogue/Share out documents",
    "CompactCatalogue/Share out buckets",
}


def graph(**choices: Any) -> Any:
    given = {"input": ("gs://b/films",), "output": "gs://b/out", "runner": "DataflowRunner"}
    options = Options(**{**given, **choices})
    # A runner that asks nobody, and is none of this machine.
    pipeline = beam.Pipeline("PortableRunner")
    if options.streams:
        listen(pipeline, options, plan(options.check()))
    else:
        curate(pipeline, options)
    return pipeline.to_runner_api()


def shuffles(proto: Any) -> set[str]:
    return {
        "/".join(step.unique_name.split("/")[:2]).removesuffix("/ReshufflePerKey")
        for step in proto.components.transforms.values()
        if step.spec.urn == "beam:transform:group_by_key:v1"
    }


def doing(stages: list[Stage], step: str) -> Stage:
    """The stage that does the first part of this step."""
    return next(stage for stage in stages if step in stage.parts)


@pytest.mark.parametrize(
    "choices",
    [
        {"no_generate_embeddings": True},
        {**FILTERS, "accelerator": "nvidia-tesla-t4"},
        {**MODELS, **FILTERS, "splitting_algorithm": "content"},
        {"transcode": "copy", **MODELS},
    ],
    ids=["cut", "filters", "everything", "copy"],
)
def test_what_is_cut_in_a_bundle_is_written_in_it(choices: dict[str, Any]) -> None:
    """One stage from the cut to the writers, on one kind of machine; so chunks are closed there."""
    proto = graph(**choices)
    stages = stages_of(proto)
    cutting = doing(stages, "CutClips")
    assert "WriteClips" in cutting.parts
    assert cutting.parts[0] == "CutClips"
    assert len({stage.hints for stage in stages}) == 1
    watched = WATCHED_SHUFFLES if "splitting_algorithm" in choices else set[str]()
    assert shuffles(proto) == FIXED_SHUFFLES | watched | END
    if "splitting_algorithm" not in choices:
        assert "SplitVideos" in doing(stages, "ProbeVideos").parts


def test_two_kinds_of_machines_have_one_border() -> None:
    proto = graph(right_fitting=True, **MODELS, **FILTERS)
    stages = stages_of(proto)
    cutting, looking = doing(stages, "CutClips"), doing(stages, "LookAtClips")
    # Who is rejected by what was measured is written before.
    # What a bundle that is done again has cut is found where it is cut.
    assert {"Recall", "CutClips", "JudgeClips", "HandOver"} == {*cutting.parts}
    assert {"TakeOver", "LookAtClips", "WriteClips"} == {*looking.parts}
    assert cutting.hints == (), "the runner's own machines"
    assert [b"machine_type:g2-standard-8" in hint for _, hint in looking.hints] == [True]
    writing = [stage for stage in stages if "WriteClips" in stage.parts]
    assert {stage.hints for stage in stages if stage not in writing} == {()}
    assert {stage.hints for stage in writing} == {looking.hints}
    assert shuffles(proto) == FIXED_SHUFFLES | END | {"HandOver/Deal"}


def test_a_stream_has_the_same_stage() -> None:
    proto = graph(**STREAM, **MODELS)
    stages = stages_of(proto)
    assert "WriteClips" in doing(stages, "CutClips").parts
    assert {"LookAtClips", "WriteClips"} <= {*doing(stages, "CutClips").parts}
    # Nothing waits for an end that never comes.
    assert shuffles(proto) == FIXED_SHUFFLES
