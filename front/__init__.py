"""Turn a folder or bucket of videos into a training-ready set of clips, on Apache Beam.

From beginning to end, on this machine::

    from finecut import Options, run

    ran = run(Options(input=("videos",), output="dataset", clip_length=5))
    print(ran.summary)

As part of a pipeline of your own, on whatever runner it has::

    import apache_beam as beam
    from finecut import Options, curate

    with beam.Pipeline() as pipeline:
        curated = curate(pipeline, Options(input=("videos",), output="dataset"))
        curated.clips | beam.Map(lambda clip: clip.scores)

And what was curated, read back where models are trained (needs no Beam)::

    from finecut import ClipDataset

    dataset = ClipDataset("dataset", frames=16, size=(224, 224))

Each name is imported when it is first used, so ``import finecut`` itself costs next to nothing.
The command does the same: ``finecut --help``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finecut.io.dataset import ClipDataset, batches, table
    from finecut.io.records import Clip
    from finecut.pipeline.curation import Curated, curate
    from finecut.pipeline.options import OptionError, Options
    from finecut.pipeline.running import Ran, run
    from finecut.transforms.models.resources import Resources
    from finecut.transforms.step import EachClip

    __version__: str

#: Each public name, and the module that has it.
_HOMES = {
    "Clip": "finecut.io.records",
    "ClipDataset": "finecut.io.dataset",
    "Curated": "finecut.pipeline.curation",
    "EachClip": "finecut.transforms.step",
    "OptionError": "finecut.pipeline.options",
    "Options": "finecut.pipeline.options",
    "Ran": "finecut.pipeline.running",
    "Resources": "finecut.transforms.models.resources",
    "batches": "finecut.io.dataset",
    "curate": "finecut.pipeline.curation",
    "run": "finecut.pipeline.running",
    "table": "finecut.io.dataset",
}

__all__ = [
    "Clip",
    "ClipDataset",
    "Curated",
    "EachClip",
    "OptionError",
    "Options",
    "Ran",
    "Resources",
    "__version__",
    "batches",
    "curate",
    "run",
    "table",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("finecut")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
