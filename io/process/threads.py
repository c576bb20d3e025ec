"""Work that waits for disks and networks, done by several threads side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, each: int = 1
) -> Iterator[R]:
    """What ``work`` gives for each item, in their order.

    ``threads`` work ahead of whoever reads this, but never by more than ``each`` items a thread.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="finecut")
    ahead: deque[Future[R]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads * each:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
