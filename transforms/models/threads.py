"""Threads of torch: one for each worker."""

from __future__ import annotations

import sys


def work_alone() -> None:
    """Tell torch, if a model has just been loaded with it, that its calls take one thread each.

    Sums come out in another order with other numbers of threads, so a score would depend on the
    machine; and calls of several workers that all take all cores wait for each other.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
