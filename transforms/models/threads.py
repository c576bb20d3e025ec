"""Threads of torch: as many as leave every worker a core of its own."""

from __future__ import annotations

import sys


def share_cores(cores: int, workers: int) -> None:
    """Tell torch, if it is in use, how many threads each of its calls may take.

    Left alone, every worker's every call uses all cores, and they wait for each other: two workers
    on two cores took five times as long as with one thread each.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, cores // max(1, workers)))
