"""Clips for torch. The only module outside of ``transforms/models`` that imports it: it belongs to
the loop that trains, not to the pipeline.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace
from numbers import Integral
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from finecut.io.dataset.clips import (
    ERROR,
    SKIP,
    ClipError,
    Clips,
    Order,
    Sample,
    ShortClip,
    Wish,
    wished,
)
from finecut.io.dataset.order import Places, Share
from finecut.io.dataset.sources import Drop, Keep, open_source
from finecut.io.media.frames.training_frames import Pictures

log = logging.getLogger(__name__)

#: What all processes see: the epoch, whether workers read, and how many clips each of them skipped.
EPOCH, WORKERS_READ, SKIPPED = 0, 1, 2
#: Nobody said which epoch it is.
UNSAID = -1
MOST_WORKERS = 1024


class ClipDataset(IterableDataset):
    """Clips with their captions and vectors, dealt to the workers of a ``DataLoader`` and to the
    ranks of ``torch.distributed``: each clip is read exactly once in an epoch.

    ``root``                      the output of ``finecut curate``, or a folder of shards; a bucket
                                  is one as well
    ``frames``, ``fps``, ``size`` which frames, and how large: see :class:`Pictures`; of a clip that
                                  is not cut down, every frame comes at full size
    ``short``                     what becomes of a clip that has fewer than ``frames`` (with
                                  ``fps``, in the time that they take): an ``error``; ``skip``, it
                                  is left out as with ``on_error``; or ``pad``, its last frame comes
                                  again, and ``mask`` says which frames are its own
    ``decode=False``              the bytes of the clip's file as ``bytes`` instead of ``frames``
    ``channels_first``            frames of shape T×C×H×W instead of T×H×W×C
    ``caption``                   whose (``qwen_caption``); otherwise the first there is, or no text
    ``vectors``                   whose (``efficientnet-lite0``), as ``vector``
    ``metadata=True``             what is known of the source video, as ``metadata``: a dictionary
                                  with the fields that there are, so batches want a ``collate_fn``
    ``shuffle``, ``seed``         the order follows from the ids, the seed and the epoch alone;
                                  otherwise clips come as they are listed there
    ``drop``                      lists of clips to leave out, as ``finecut dedup`` writes them, or
                                  ids themselves
    ``keep``                      what says of an :class:`Entry` whether it is read; asked of every
                                  clip once, here, so every document is read once
    ``rejected``                  whether rejected clips come as well
    ``rank``, ``world``           this process among all; otherwise as ``torch.distributed`` or the
                                  environment (``RANK``, ``WORLD_SIZE``) say
    ``even``                      every rank has the same number of clips: of the last few, fewer
                                  than there are ranks, none is read in this epoch
    ``on_error``                  what becomes of a clip that cannot be given: ``raise`` or ``skip``
                                  (left out, it keeps its place in the epoch: ``len`` and positions
                                  count it)

    Each clip is a dictionary: ``id``, ``source``, ``span`` (start and end in the source, in
    seconds), ``scores``, ``caption``, and as wished ``frames`` (uint8, RGB) with ``seconds`` (when
    each of them is shown; and, with ``short="pad"``, ``mask``, bool), ``bytes``, ``vector``
    (float32).

    The position is to be had by ``state_dict``; with workers, torchdata's ``StatefulDataLoader``
    asks each of them.
    """

    def __init__(
        self,
        root: str,
        *,
        frames: int | None = None,
        fps: float | None = None,
        size: int | tuple[int, int] | None = None,
        short: str = ERROR,
        decode: bool = True,
        channels_first: bool = False,
        caption: str | None = None,
        vectors: str | None = None,
        metadata: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        drop: Drop = (),
        keep: Keep | None = None,
        rejected: bool = False,
        rank: int | None = None,
        world: int | None = None,
        even: bool = False,
        on_error: str = "raise",
        threads: int = 1,
    ) -> None:
        super().__init__()
        pictures = wished(frames, fps, size, short, on_error=on_error)
        if not decode and (pictures != Pictures() or channels_first):
            raise ValueError(
                "frames, fps, size and channels_first apply to decoded pictures, but "
                "decode=False asks for the bytes of the files: leave out one or the other"
            )
        self._given = rank is not None
        self._share = _share_of(rank, world)
        self._channels_first = channels_first
        #: What is left out, and not raised.
        self._skips: tuple[type[ClipError], ...] = (ShortClip,) if short == SKIP else ()
        if on_error == SKIP:
            self._skips = (ClipError,)
        self._clips = Clips(
            open_source(root, drop, keep, rejected=rejected, skips=on_error == SKIP),
            Wish(pictures if decode else None, caption, vectors, metadata, threads=threads),
            Order(shuffle, seed, even),
        )
        self._digest = f"{self._clips.source.listing.digest} {seed if shuffle else 'in order'}"
        self._shared = torch.zeros(SKIPPED + MOST_WORKERS, dtype=torch.int64)
        self._shared[EPOCH] = UNSAID
        self._shared.share_memory_()
        #: How far this process has come, once it has begun.
        self._position: dict[str, Any] | None = None
        #: A position to go on from, and the process that was told so.
        self._told: tuple[dict[str, Any], int] | None = None

    def __len__(self) -> int:
        """How many clips this rank reads in an epoch."""
        return self._clips.size_of_part(self._share)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins: the next iteration is shuffled for it, also in workers that go
        on from the last one.
        """
        if epoch < 0:
            raise ValueError(f"epoch={epoch} is impossible: epochs count from 0")
        self._shared[EPOCH] = epoch

    @property
    def skipped(self) -> int:
        """How many clips were left out, so far, by this process and its workers."""
        return int(self._shared[SKIPPED:].sum())

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        if not self._given and _distributed() not in (None, self._share):
            raise RuntimeError(
                "torch.distributed was initialised after this dataset was created, so every rank "
                "would read the same clips: create the dataset afterwards, or give rank= and "
                "world="
            )
        self._shared[WORKERS_READ] = int(worker is not None)
        share = self._share
        if worker:
            share = replace(share, worker=worker.id, workers=worker.num_workers)
        epoch, done = self._begin(share)
        part = self._clips.part(epoch, share)
        self._position = _position(epoch, share, min(done, len(part)), len(part))
        return self._walk(part, self._position)

    def state_dict(self) -> dict[str, Any]:
        """How far this process has come, to go on from there in another one."""
        if get_worker_info() is None and self._shared[WORKERS_READ]:
            raise RuntimeError(
                "the workers of a DataLoader read this dataset, and only they know how far they "
                "are: use torchdata's StatefulDataLoader and its state_dict()"
            )
        if self._told is not None:
            return dict(self._told[0])
        at = self._position or _position(self._epoch, self._share, 0, len(self))
        return {"clips": self._digest, **at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there with the next iteration."""
        if not _is_position(state):
            raise ValueError(
                f"{state!r} is not a valid position: give what state_dict() returned, unchanged, "
                "or start the epoch again"
            )
        if state["clips"] != self._digest:
            raise ValueError(
                "this position was saved for other clips or another seed, so the remaining clips "
                "are unknown. Usually the output has changed since, or drop=, keep= or seed= are "
                "different: start the epoch again"
            )
        self._told = (dict(state), os.getpid())

    @property
    def _epoch(self) -> int:
        return max(0, int(self._shared[EPOCH]))

    def _begin(self, share: Share) -> tuple[int, int]:
        """Which epoch is to be read, and how much of it was read before."""
        told, self._told = self._told, None
        if told is None:
            return self._epoch, 0
        state, process = told
        noted = Share(*state["share"])
        if process != os.getpid() or noted != share:
            raise RuntimeError(
                f"the position was saved by {noted}, but this is {share}. Each worker continues "
                "from its own position: use torchdata's StatefulDataLoader with the same number "
                "of workers and ranks as before"
            )
        epoch, over = int(state["epoch"]), state["done"] >= state["of"]
        said = int(self._shared[EPOCH])
        if said in (UNSAID, epoch):
            return epoch, int(state["done"])
        if over:
            return said, 0
        raise RuntimeError(
            f"the position was saved in epoch {epoch}, but set_epoch({said}) was called before "
            f"that epoch was over. Call set_epoch({epoch}), or load no position"
        )

    def _walk(self, part: Places, position: dict[str, Any]) -> Iterator[Sample]:
        worker = position["share"][2] % MOST_WORKERS
        for number in part[position["done"] :]:
            sample = None
            try:
                sample = self._in_torch(self._clips.sample(int(number)))
            except self._skips as error:
                self._shared[SKIPPED + worker] += 1
                log.warning("skipped: %s", error)
            position["done"] += 1
            if sample is not None:
                yield sample

    def _in_torch(self, sample: Sample) -> Sample:
        arrays = sample.keys() & {"frames", "seconds", "mask"}
        tensors = {name: torch.from_numpy(sample[name]) for name in arrays}
        if self._channels_first:
            tensors["frames"] = tensors["frames"].permute(0, 3, 1, 2).contiguous()
        if "vector" in sample:
            # A copy: Arrow's arrays must not be written to.
            tensors["vector"] = torch.tensor(sample["vector"])
        return sample | tensors


def _position(epoch: int, share: Share, done: int, of: int) -> dict[str, Any]:
    """How far a reader has come: how many clips of its part were read, of how many."""
    return {"epoch": epoch, "share": [*astuple(share)], "done": done, "of": of}


def _is_position(state: Any) -> bool:
    """Whether this is of the form that ``state_dict`` gives, with numbers that can be."""
    if not isinstance(state, Mapping) or not {"clips", "epoch", "share", "done", "of"} <= set(
        state
    ):
        return False
    share = state["share"]
    if not isinstance(share, Sequence) or len(share) != len(fields(Share)):
        return False
    numbers = (state["epoch"], state["done"], state["of"], *share)
    return all(isinstance(number, Integral) and int(number) >= 0 for number in numbers) and bool(
        share[0] < share[1] and share[2] < share[3] and state["done"] <= state["of"]
    )


def _share_of(rank: int | None, world: int | None) -> Share:
    if (rank is None) != (world is None):
        raise ValueError(f"rank={rank} and world={world}: give both or neither")
    if rank is not None and world is not None:
        return Share(rank, world)
    # What torchrun says, to who did not ask torch.distributed to begin.
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _distributed() or Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return _distributed() or Share()


def _distributed() -> Share | None:
    spread = torch.distributed
    if not (spread.is_available() and spread.is_initialized()):
        return None
    return Share(spread.get_rank(), spread.get_world_size())
