"""Curating in a pipeline of somebody else, whose runner decides how work is handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from finecut.pipeline.curation import curate
from finecut.pipeline.engine import runner_of
from finecut.pipeline.options import OptionError, Options

#: Where the local runner's work is brought together under one key, to be dealt.
DEALER = "ShareOutChunks/Together"


def steps_in(kind: str, folder: Path, **given: Any) -> set[str]:
    """The names of all steps that ``curate`` adds to a pipeline with such a runner; none is run."""
    pipeline = beam.Pipeline(kind)
    curate(pipeline, Options(input=(str(folder),), output=str(folder / "output"), **given))
    transforms = pipeline.to_runner_api().components.transforms.values()
    return {transform.unique_name for transform in transforms}


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner", "PrismRunner"])
def test_a_runner_on_this_machine_is_dealt_the_work(runner: str, tmp_path: Path) -> None:
    assert runner_of(beam.Pipeline(runner)) == "local"
    assert DEALER in steps_in(runner, tmp_path)
    assert DEALER in steps_in(runner, tmp_path, runner="DataflowRunner"), "the pipeline decides"


def test_a_cluster_takes_the_work_as_its_workers_become_free(tmp_path: Path) -> None:
    assert runner_of(beam.Pipeline("PortableRunner")) == "PortableRunner"
    assert DEALER not in steps_in("PortableRunner", tmp_path)


def test_what_the_pipelines_runner_cannot_do_is_refused(tmp_path: Path) -> None:
    """Not what the runner in the options could not."""
    steps_in("PortableRunner", tmp_path, accelerator="nvidia-tesla-t4")
    with pytest.raises(OptionError, match="accelerator does nothing without a cluster"):
        steps_in("FnApiRunner", tmp_path, accelerator="nvidia-tesla-t4", runner="PortableRunner")
