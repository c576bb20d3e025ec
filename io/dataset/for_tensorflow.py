"""Clips for TensorFlow, as ``tf.data`` pipelines.

    tf_dataset    numbers of clips ──Python, PyAV──▶ id, caption, vector, frames
                                   ──Python, Pillow──▶ preview
    tf_table      the table of all clips ──Arrow, tensorflow-io──▶ rows, without films

tensorflow-io reads Arrow's lists of floats. It reads no film and no animated WebP, so films are
decoded by PyAV, as for torch, and of a preview the first picture by Pillow. What it is given as
*serialised* Arrow it reads after it was freed (0.37.1 crashes on longer texts and on vectors), so
it gets Arrow's own memory, all of which has to be there: right for a table, and for nothing that is
read piece by piece.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_io.arrow import ArrowDataset

from finecut.io.dataset.clips import (
    ERROR,
    SKIP,
    ClipError,
    Clips,
    Order,
    ShortClip,
    Wish,
    wished,
)
from finecut.io.dataset.order import Places, Share
from finecut.io.dataset.output import Entry
from finecut.io.dataset.sources import Drop, Keep, open_source
from finecut.io.dataset.tables import table
from finecut.io.media.frames.training_frames import Pictures

log = logging.getLogger(__name__)

#: What elements carry on their way through the pipeline, and not out of it.
NUMBER, GIVEN = "number", "is given"
#: Tensors by name: their type, their shape, and what stands there for a clip that cannot be given.
Tensors = dict[str, tuple[tf.DType, Any, Any]]
#: What is known of a clip without its film.
TOLD: Final[Tensors] = {
    "id": (tf.string, [], b""),
    "source": (tf.string, [], b""),
    "start": (tf.float64, [], 0.0),
    "end": (tf.float64, [], 0.0),
    "caption": (tf.string, [], b""),
}
#: What stands in a table where nothing is known.
NOTHING: Final[Mapping[pa.DataType, Any]] = {
    pa.string(): "",
    pa.float64(): float("nan"),
    pa.int64(): -1,
    pa.bool_(): False,
}
Element = dict[str, Any]


def tf_dataset(
    root: str,
    *,
    frames: int | None = None,
    fps: float | None = None,
    size: int | tuple[int, int] | None = None,
    short: str = ERROR,
    decode: bool = True,
    previews: bool = False,
    caption: str | None = None,
    vectors: str | None = None,
    scores: Sequence[str] = (),
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    drop: Drop = (),
    keep: Keep | None = None,
    rejected: bool = False,
    rank: int = 0,
    world: int = 1,
    even: bool = False,
    on_error: str = "raise",
    threads: int = 1,
) -> tf.data.Dataset:
    """Clips as dictionaries of tensors, in the order in which :class:`ClipDataset` gives them for
    the same ``seed`` and ``epoch`` without workers. Arguments mean what they mean there.

    ``id``, ``source``, ``start``, ``end``, ``caption``; with ``decode`` ``frames`` (uint8, T×H×W×3)
    and ``seconds``, with ``short="pad"`` also ``mask`` (bool); with ``vectors`` ``vector``; with
    ``previews`` ``preview`` (uint8, H×W×3), the first picture of the first window's preview; each
    of ``scores`` by its name, NaN where it was not measured.
    """
    pictures = wished(frames, fps, size, short, on_error=on_error)
    if not decode and pictures != Pictures():
        raise ValueError(
            "frames, fps and size apply to decoded pictures, but decode=False asks for none: "
            "leave out one or the other"
        )
    clips = Clips(
        open_source(root, drop, keep, rejected=rejected, skips=on_error == SKIP),
        Wish(pictures if decode else None, caption, vectors, threads=threads),
        Order(shuffle, seed, even),
    )
    skips: tuple[type[ClipError], ...] = (ShortClip,) if short == SKIP else ()
    reader = _Reader(clips, scores, (ClipError,) if on_error == SKIP else skips)
    dataset = reader.told(clips.part(epoch, Share(rank, world)))
    if decode:
        shape = (frames, *(size if isinstance(size, tuple) else (None, None)), 3)
        dataset = reader.with_frames(dataset, shape)
    if previews:
        dataset = reader.with_previews(dataset)
    return dataset.map(lambda clip: _without(clip, NUMBER))


def tf_table(root: str, vectors: str | None = None) -> tf.data.Dataset:
    """The rows of :func:`table` as dictionaries of tensors, for work that needs no pictures.

    All of them are in memory. Where nothing is known, a text is empty, a number NaN (or -1, if it
    is a whole one), a vector has no numbers.
    """
    read = table(root, vectors)
    columns = {field.name: _filled(read[field.name], field.type) for field in read.schema}
    types = tuple(tf.dtypes.as_dtype(_numpy(field.type)) for field in read.schema)
    shapes = tuple(
        tf.TensorShape([None] if pa.types.is_list(field.type) else []) for field in read.schema
    )
    batches = pa.table(columns).combine_chunks().to_batches()
    empty = [pa.RecordBatch.from_pylist([], read.schema)]
    rows = ArrowDataset.from_record_batches(batches or empty, types, shapes)
    return rows.map(lambda *values: dict(zip(columns, values, strict=True)))


def _filled(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """tensorflow-io knows no nulls: it would read what happens to lie there."""
    if pa.types.is_list(kind):
        return pa.chunked_array([pa.array([v or [] for v in column.to_pylist()], kind)], kind)
    return column.fill_null(NOTHING[kind])


def _numpy(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return np.str_
    return (kind.value_type if pa.types.is_list(kind) else kind).to_pandas_dtype()


def _without(clip: Element, name: str) -> Element:
    return {key: clip[key] for key in clip if key != name}


class _Reader:
    """What runs inside of the pipeline, in threads of TensorFlow."""

    def __init__(
        self, clips: Clips, scores: Sequence[str], skips: tuple[type[ClipError], ...]
    ) -> None:
        self._clips, self._scores, self._skips = clips, tuple(scores), skips
        taken = {*TOLD, "frames", "seconds", "mask", "preview", "vector"} & set(scores)
        if taken:
            raise ValueError(f"there is no score called {', '.join(sorted(taken))}")

    def told(self, part: Places) -> tf.data.Dataset:
        """What is known of clips, without their films."""
        tensors = TOLD | {name: (tf.float64, [], float("nan")) for name in self._scores}
        if self._clips.wish.vectors is not None:
            tensors["vector"] = (tf.float32, [None], np.zeros(0, np.float32))

        def read(clips: Clips, entry: Entry, number: int) -> Element:
            told = clips.told(entry, number)
            start, end = told["span"]
            scores = {name: told["scores"].get(name, float("nan")) for name in self._scores}
            return {**told, "start": start, "end": end, **scores}

        return self._with(tf.data.Dataset.from_tensor_slices({NUMBER: part}), read, tensors)

    def with_frames(self, clips: tf.data.Dataset, shape: tuple[int | None, ...]) -> tf.data.Dataset:
        """With the frames of their films."""
        tensors: Tensors = {
            "frames": (tf.uint8, shape, np.zeros((0, 0, 0, 3), np.uint8)),
            "seconds": (tf.float64, shape[:1], np.zeros(0)),
        }
        if self._clips.wish.pictures is not None and self._clips.wish.pictures.pad:
            tensors["mask"] = (tf.bool, shape[:1], np.zeros(0, bool))
        return self._with(clips, Clips.shown, tensors)

    def with_previews(self, clips: tf.data.Dataset) -> tf.data.Dataset:
        """With the first picture of their previews."""

        def read(clips: Clips, entry: Entry, _: int) -> Element:
            return {"preview": clips.preview(entry)}

        nothing = np.zeros((0, 0, 3), np.uint8)
        return self._with(clips, read, {"preview": (tf.uint8, [None, None, 3], nothing)})

    def _with(
        self,
        clips: tf.data.Dataset,
        read: Callable[[Clips, Entry, int], Element],
        tensors: Tensors,
    ) -> tf.data.Dataset:
        """With what is read of each clip; clips that cannot be given are left out."""
        kinds = {name: kind for name, (kind, _, _) in tensors.items()}
        shapes = {name: shape for name, (_, shape, _) in tensors.items()}

        def attempt(number: np.int64) -> tuple[Any, ...]:
            try:
                found, given = read(self._clips, self._clips.entry(int(number)), int(number)), True
            except self._skips as error:
                log.warning("skipped: %s", error)
                found, given = {name: nothing for name, (_, _, nothing) in tensors.items()}, False
            return given, *(_as(kinds[name], found[name]) for name in kinds)

        def add(clip: Element) -> Element:
            given, *values = tf.numpy_function(attempt, [clip[NUMBER]], [tf.bool, *kinds.values()])
            return (
                clip | {GIVEN: tf.ensure_shape(given, [])} | dict(zip(kinds, values, strict=True))
            )

        def shaped(clip: Element) -> Element:
            known = {name: tf.ensure_shape(clip[name], shapes[name]) for name in kinds}
            return _without(clip, GIVEN) | known

        # In parallel, and in order all the same.
        return clips.map(add, tf.data.AUTOTUNE).filter(lambda clip: clip[GIVEN]).map(shaped)


def _as(kind: tf.DType, value: Any) -> Any:
    """As the type that was promised: numbers of Python are of none."""
    if kind == tf.string:
        return value.encode() if isinstance(value, str) else value
    return np.asarray(value, kind.as_numpy_dtype)
