"""What every check is told: where the output lies, what lies in it, and how closely to look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from finecut.io.layout import Layout, clip_path_is_sharded
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.process.children import ChildLimits
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import NO_FENCE, Fence

T = TypeVar("T")
R = TypeVar("R")

#: Reads of one chunk that wait together.
TOGETHER: Final = 8


@dataclass(frozen=True)
class Verifying:
    """One verification. Paths in findings are below ``layout.root``."""

    layout: Layout
    #: Decode nothing.
    quick: bool = False
    #: What one clip may ask for.
    film: Limits = USUAL_LIMITS
    #: What the child that decodes it may take; ``None``: decode here.
    limits: ChildLimits | None = None
    #: A dry run wrote no documents of clips, ``--no-upload-clips`` no files.
    has_metas: bool = True
    has_clips: bool = True
    has_previews: bool = True
    #: The output's folders.
    folders: frozenset[str] = frozenset()
    #: Videos that are being worked on, by their paths below the input.
    open_videos: frozenset[str] = frozenset()
    #: Folders of vectors (``ce1_embd``), and what the note of each says.
    vectors: tuple[str, ...] = ()
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: What is not left by any link.
    fence: Fence = NO_FENCE

    @property
    def root(self) -> str:
        return self.layout.root.rstrip("/")

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """As ``map``; side by side where reading means waiting for a network."""
        if not shelf.is_remote(self.layout.root):
            yield from map(work, items)
            return
        with ThreadPoolExecutor(TOGETHER, thread_name_prefix="finecut-verify") as pool:
            yield from pool.map(work, items)

    def below(self, path: str) -> str:
        """The path as findings name it."""
        return path.removeprefix(f"{self.root}/")

    def clip(self, id: str, kept: bool, location: str) -> str:
        """Where a clip lies, in an output that is sharded as its document's location is."""
        layout = replace(self.layout, shard_prefix=clip_path_is_sharded(location))
        return layout.clip(id, kept)
