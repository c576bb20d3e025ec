"""A runner that runs nothing: it keeps the graph (``--runner recording.Recording``)."""

from __future__ import annotations

from typing import Any, NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

RECORDING = "recording.Recording"
GRAPHS: list[beam.Pipeline] = []


class Recorded(Exception):
    """It is in GRAPHS now."""


class Recording(PipelineRunner):
    def run_pipeline(self, pipeline: Any, options: PipelineOptions) -> NoReturn:
        GRAPHS.append(pipeline)
        raise Recorded
