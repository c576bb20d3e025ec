"""What a run asks of a store, counted by kind: what stores send bills for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from finecut.io.media.testfilm.paint import paint
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

WRITES, READS, LISTS, DELETES = KINDS = ("writes", "reads", "lists", "deletes")
#: Method and target of each request.
Requests = Iterable[tuple[str, str]]


def of_google(requests: Requests, folder: str) -> Counter[str]:
    """Requests to Google's store by kind, but for those about videos in this folder.

    Copies are billed as writes, and looks at objects as reads.
    """
    return Counter(
        LISTS
        if method == "GET" and re.search(r"/o\?", target)
        else _kind(method, "/batch/" in target)
        for method, target in requests
        if f"/o/{folder}/" not in unquote(target) and f"prefix={folder}/" not in unquote(target)
    )


def of_s3(requests: Requests, folder: str) -> Counter[str]:
    """The same of requests to S3."""
    return Counter(
        LISTS if "list-type=2" in target else _kind(method, "delete" in urlsplit(target).query)
        for method, target in requests
        if f"/{folder}/" not in unquote(target) and f"prefix={folder}/" not in unquote(target)
    )


def _kind(method: str, many_are_removed: bool) -> str:
    if method == "DELETE" or many_are_removed:
        return DELETES
    return READS if method in ("GET", "HEAD") else WRITES


class Counting(NamedTuple):
    """A store of which the requests are counted."""

    root: str
    #: All requests by kind since the last time.
    counted: Callable[[], Counter[str]]

    def put(self, folder: Path) -> None:
        """Two films of the same kind, and one of them alone."""
        own = Shelf(self.root, f"{self.root}/.staging/films")
        for name in ("a", "b"):
            film = folder / f"{name}.mp4"
            paint(film, width=96, height=54, rate=10, seconds=8)
            own.write(f"{self.root}/films/two/{name}.mp4", film.read_bytes())
        own.write(f"{self.root}/films/one/a.mp4", (folder / "a.mp4").read_bytes())

    def asked(self, films: str, output: str, **chosen: Any) -> tuple[Summary, Counter[str]]:
        """What a run did, and what it asked of the store for it."""
        usual: dict[str, Any] = {"clip_length": 4.0, "min_clip_length": 0.5, "chunk_seconds": 8}
        usual |= {"workers": 1, "no_generate_embeddings": True}
        inputs, into = (f"{self.root}/films/{films}",), f"{self.root}/{output}"
        self.counted()
        summary = run(Options(input=inputs, output=into, **usual | chosen)).summary
        return summary, self.counted()


def for_each(more: Mapping[str, int], less: Mapping[str, int], number: int) -> dict[str, float]:
    """What one of so many that one run had more than the other cost, by kind."""
    return {kind: (more.get(kind, 0) - less.get(kind, 0)) / number for kind in KINDS}


#: Clips of one film that are as long as half of it, and as an eighth.
LONG, SHORT = 2, 8
#: Clips that the second has more.
MORE: Final = SHORT - LONG


def of_clips(store: Counting, output: str, **chosen: Any) -> dict[str, float]:
    """What a clip costs with these options."""
    few, asked = store.asked("one", f"{output}-long", **chosen)
    many, asked_more = store.asked("one", f"{output}-short", clip_length=1.0, **chosen)
    assert (few.shots_kept, many.shots_kept) == (LONG, SHORT)
    return for_each(asked_more, asked, MORE)
