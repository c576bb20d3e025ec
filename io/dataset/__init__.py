"""What was curated, read back by those who train on it. Needs no Beam, and no network.

    from finecut.io.dataset import ClipDataset

    dataset = ClipDataset("dataset", frames=16, size=(224, 224), vectors="efficientnet-lite0")
    for epoch in range(3):
        dataset.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_size=8, num_workers=4):
            batch["frames"], batch["caption"], batch["id"]

What is read is the output of ``finecut curate``, or the shards that ``finecut shard`` made of it:

* :class:`ClipDataset` for torch, :func:`tf_dataset` for TensorFlow. Both deal every clip exactly
  once to processes and machines, in the same order for the same ``seed`` and ``epoch``.
* :func:`table` and :func:`batches` for pandas, Polars, DuckDB, :func:`tf_table` for TensorFlow: one
  row for each clip, without pictures.

Everything is imported when it is asked for, never before: torch or TensorFlow may be missing. A
clip that cannot be given is an error (:class:`ClipError`) with its id and path, unless
``on_error="skip"``; then it is logged, and :class:`ClipDataset` counts it. One that has fewer
frames than are wanted is a :class:`ShortClip`, and ``short=`` says what becomes of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finecut.io.dataset.clips import ClipError, ShortClip
    from finecut.io.dataset.for_tensorflow import tf_dataset, tf_table
    from finecut.io.dataset.for_torch import ClipDataset
    from finecut.io.dataset.places import NoDataset
    from finecut.io.dataset.tables import batches, table

__all__ = [
    "ClipDataset",
    "ClipError",
    "NoDataset",
    "ShortClip",
    "batches",
    "table",
    "tf_dataset",
    "tf_table",
]

_HOMES = {
    "ClipDataset": "finecut.io.dataset.for_torch",
    "ClipError": "finecut.io.dataset.clips",
    "NoDataset": "finecut.io.dataset.output",
    "ShortClip": "finecut.io.dataset.clips",
    "batches": "finecut.io.dataset.tables",
    "table": "finecut.io.dataset.tables",
    "tf_dataset": "finecut.io.dataset.for_tensorflow",
    "tf_table": "finecut.io.dataset.for_tensorflow",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
