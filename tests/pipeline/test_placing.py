"""What is asked of a cluster's machines: on the right steps of the graph, and said by describe."""

from __future__ import annotations

import re
from typing import Any

import apache_beam as beam
import pytest

from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.curate import Describe
from finecut.pipeline.curation import curate
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan

ACCELERATOR = "beam:resources:accelerator:v1"
CPUS = "beam:resources:cpu_count:v1"
DRIVER = b"install-nvidia-driver:5xx"
L4 = b"type:nvidia-l4;count:1;" + DRIVER
#: The steps that work on films and clips, and those that only read and write documents.
WORK = ("SplitVideos", "CutClips", "LookAtClips", "WriteClips")
SERVER = "http://host/v1"
REST = ("FindVideos", "ProbeVideos", "Summarise", "WriteFailures")


def options(**changes: Any) -> Options:
    given: dict[str, Any] = {"runner": "DataflowRunner", "splitting_algorithm": "content"}
    return Options(input=("gs://films",), output="gs://out", **given | changes)


def hints_in_proto(options: Options) -> dict[str, dict[str, bytes]]:
    """Name of each step that works itself → its hints, from the graph a runner is given."""
    # What a pipeline is for is told by its own runner: this one is never run.
    pipeline = beam.Pipeline("FnApiRunner" if options.is_local else "PortableRunner")
    curate(pipeline, options)
    proto = pipeline.to_runner_api()
    leaves = {
        step.unique_name: step.environment_id
        for step in proto.components.transforms.values()
        if not step.subtransforms and step.environment_id
    }
    environments = proto.components.environments
    return {name: dict(environments[i].resource_hints) for name, i in leaves.items()}


def of(step: str, found: dict[str, dict[str, bytes]]) -> list[dict[str, bytes]]:
    hints = [hints for name, hints in found.items() if name.split("/")[0] == step]
    assert hints, f"no step called {step} in {sorted(found)}"
    return hints


def test_nothing_is_asked_for_what_cpus_do() -> None:
    assert not any(hints_in_proto(options()).values())


def test_a_captioner_asks_for_a_gpu_where_the_work_is_done() -> None:
    found = hints_in_proto(options(generate_captions=True))
    # All of them, so that no machine of another kind is started, and nothing is handed over.
    for step in (*WORK, *REST):
        assert all(hints == {ACCELERATOR: L4} for hints in of(step, found)), step


def test_an_override_reaches_the_graph() -> None:
    wanted = ("caption:cpus=6,gpu_memory_gb=14", "cut:cpus=3")
    changes = {"resources": wanted, "accelerator": "nvidia-tesla-t4"}
    found = hints_in_proto(options(generate_captions=True, **changes))
    t4 = b"type:nvidia-tesla-t4;count:1;install-nvidia-driver:5xx"
    for step in WORK:
        assert all(hints == {ACCELERATOR: t4, CPUS: b"6"} for hints in of(step, found)), step


def test_on_this_machine_nothing_is_asked_for() -> None:
    found = hints_in_proto(options(runner="local", generate_captions=True))
    assert not any(found.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resources": ("caption:gpus=1",)}, "no step called caption runs"),
        (
            {"generate_captions": True, "resources": ("caption:gpu_memory_gb=30",)},
            "30 GB of GPU memory are requested, but the device has 24 GB",
        ),
        (
            {"generate_captions": True, "enhance_captions": True},
            "enhance does not fit: 36 GB of GPU memory are requested, but the device has 24 GB",
        ),
        (
            {
                "generate_captions": True,
                "captioning_algorithm": "org/captioner",
                "aesthetic_filter": "enable",
            },
            "aesthetic 25 % and caption 100 %; that is 125 % of its memory. Leave a step out",
        ),
        (
            {"generate_captions": True, "resources": ("caption:gpus=2",)},
            "a model here uses one GPU",
        ),
        ({"resources": ("split:nvdecs=1",)}, "only the step cut decodes on a GPU"),
    ],
)
def test_what_cannot_be_had_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=re.escape(words)):
        plan(options(**changes))


def test_captions_and_their_enhancement_fit_a_large_gpu() -> None:
    place = plan(
        options(generate_captions=True, enhance_captions=True, accelerator="nvidia-a100-80gb")
    ).placing
    assert place.worker.gpu_memory_gb == 56
    assert place.copies == 1


def test_the_shot_detector_is_counted_where_there_is_a_gpu() -> None:
    """Alone it does well on CPUs; beside others it takes the GPU, too."""
    alone = plan(options(splitting_algorithm="transnetv2")).placing
    assert not alone.worker.needs_gpu
    with pytest.raises(OptionError, match="split 42 %"):
        plan(options(splitting_algorithm="transnetv2", generate_captions=True))


def test_models_share_a_gpu() -> None:
    """Two copies of both: 0.2 and 0.25 of the same device."""
    wanted = ("caption:gpu_memory_gb=6", "aesthetic:gpus=0.2")
    place = plan(
        options(generate_captions=True, aesthetic_filter="score-only", resources=wanted)
    ).placing
    assert place.copies == 2
    assert place.copies_of("caption") == (True, 2)
    assert place.copies_of("embed") == (False, 1)


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({"accelerator": "nvidia-a100-80gb"}, [0.25, 0.45]),
        ({"accelerator": "nvidia-a100-80gb", "resources": ("enhance:gpus=0.5",)}, [0.25, 0.5]),
        ({"runner": "local"}, [0.5, 0.5]),
        ({"runner": "local", "enhance_captions": False}, [None]),
        ({"captioning_algorithm": "endpoint", "captioning_endpoint": SERVER}, [None, 0.45]),
    ],
)
def test_each_model_is_loaded_into_its_share_of_the_gpu(
    changes: dict[str, Any], shares: list[float | None]
) -> None:
    wanted = {"generate_captions": True, "enhance_captions": True}
    steps = plan(options(**wanted | {"accelerator": "nvidia-h100-80gb"} | changes))
    captioning: Any = steps.works["caption"]
    enhancing: Any = steps.works.get("enhance")
    loaders = [captioning.load_model] + ([enhancing.load_model] if enhancing else [])
    told = [getattr(loader, "keywords", {}).get("share") for loader in loaders]
    assert told == shares


def test_describe_says_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", "gs://films", "--output", "gs://out", "--runner", "DataflowRunner"]
    wanted = ["--generate-captions", "--resources", "caption:gpu_memory_gb=8,cpus=4"]
    assert main(["describe", *arguments, *wanted]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "caption needs 4 CPUs, 8 GB of GPU memory (34% of one GPU)" in said
    assert f"hints accelerator {L4.decode()}, cpu_count 4, on every step that" in said
    assert "one GPU of 24 GB holds 2 copies of each model" in said
    assert "qwen2.5 captions each window once, from 2 frames per second" in said
    assert f"CutClips PlannedChunk → Clip, failures: Failure [accelerator {L4.decode()}" in said


def test_describe_refuses_what_cannot_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", "gs://films", "--output", "gs://out", "--runner", "DataflowRunner"]
    with pytest.raises(SystemExit) as stopped:
        main(["describe", *arguments, "--resources", "caption:gpus=1"])
    assert stopped.value.code == 2
    assert "no step called caption" in capsys.readouterr().err


def test_two_pools_where_they_are_wanted() -> None:
    """Films are read without a GPU, clips are looked at with one, and handed over between."""
    wanted = options(generate_captions=True, right_fitting=True, resources=("cut:cpus=3",))
    found = hints_in_proto(wanted)
    for step in ("SplitVideos", "CutClips"):
        assert all(hints == {CPUS: b"3"} for hints in of(step, found)), step
    looking = {ACCELERATOR: b"type:nvidia-l4;count:1;machine_type:g2-standard-8;" + DRIVER}
    for step in ("TakeOver", "LookAtClips", "WriteClips"):
        assert all(hints == looking for hints in of(step, found)), step
    for step in ("JudgeClips", "HandOver", *REST):
        assert all(hints == {CPUS: b"3"} for hints in of(step, found)), step
    steps = plan(wanted)
    assert steps.cutting.looking.sheet is None
    captioning: Any = steps.works["caption"]
    assert captioning.looking.sheet is not None
    said = described_with(right_fitting=True, generate_captions=True)
    assert "none, on every step that detects scenes or cuts" in said
    assert "install-nvidia-driver:5xx, on every step that processes clips" in said


def test_machines_with_a_gpu_are_of_the_type_that_is_asked_for() -> None:
    def accelerator(**changes: Any) -> bytes:
        changed = {"generate_captions": True, "right_fitting": True, **changes}
        found = hints_in_proto(options(**changed))
        [told] = {hints[ACCELERATOR] for hints in of("WriteClips", found)}
        return told

    assert b";machine_type:g2-standard-24;" in accelerator(accelerator_machine="g2-standard-24")
    assert b";machine_type:a2-highgpu-1g;" in accelerator(accelerator="nvidia-tesla-a100")
    # Of a GPU that is not known here, the runner may choose.
    assert b"machine_type" not in accelerator(accelerator="nvidia-new")
    with pytest.raises(OptionError, match="--accelerator-machine does nothing without --right-fit"):
        options(accelerator_machine="g2-standard-24").check()


def described_with(**changes: Any) -> str:
    return Describe(options(**changes)).run()
