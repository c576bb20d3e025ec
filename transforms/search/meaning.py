"""Meaning: captions that say the same in other words, by the vectors of a model of sentences.

Each caption becomes a vector while it is searched, and none is kept: that takes a model's time for
every caption there is.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.transforms.beam.metrics import count

#: Texts that the model is asked about together; of like lengths, so that few are filled up.
AT_ONCE: Final = 64
#: Counts captions, for progress.
READ: Final = "search/captions"

Vectors = NDArray[np.float32]


class Sentences(Protocol):
    """What turns texts into vectors of length 1."""

    def vectors(self, texts: Sequence[str]) -> Vectors: ...


def likeness(table: pa.Table, wanted: Vectors, model: Sentences) -> NDArray[np.float64]:
    """The cosine of each row's caption with what is wanted; 0 without a caption."""
    captions = table["caption"].combine_chunks().dictionary_encode()
    found = np.zeros(len(captions.dictionary))
    for places, texts in _together(captions.dictionary):
        count(READ, len(texts))
        found[places] = np.round(model.vectors(texts).astype(np.float64) @ wanted, 6)
    which = pc.fill_null(captions.indices, len(found)).to_numpy(zero_copy_only=False)
    return np.append(found, 0.0)[which]


def _together(texts: pa.Array) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
    order = np.argsort(pc.utf8_length(texts).to_numpy(zero_copy_only=False), kind="stable")
    for first in range(0, len(order), AT_ONCE):
        places = order[first : first + AT_ONCE]
        yield places, texts.take(pa.array(places)).to_pylist()
