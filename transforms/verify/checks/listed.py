"""A chunk and the clips that it lists, as they are filled while they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.documents import Document
from finecut.transforms.verify.checks.findings import Finding


@dataclass
class Clip:
    """A clip that a chunk lists, and what was found of it."""

    id: str
    kept: bool
    #: Its document's path, below the root.
    name: str
    #: Empty if there is none that can be understood.
    document: Document = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    #: Files that belong to it, below the root; those that do not exist do no harm.
    claims: list[str] = field(default_factory=list)
    #: Windows that have a preview.
    previews: int = 0

    def say(self, kind: str, path: str, wrong: str, should: str) -> None:
        self.findings.append(Finding(kind, path, wrong, should))

    def count(self, what: str, number: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def has_file(self) -> bool:
        return shapes.FILE_FACTS.keys() <= self.document.keys()

    @property
    def windows(self) -> list[Mapping[str, Any]]:
        return list(self.document.get("windows", ()))


@dataclass
class Chunk:
    """A chunk whose document can be understood."""

    #: Its document's path, below the root.
    path: str
    #: As its name says.
    index: int
    document: Document
    clips: list[Clip] = field(default_factory=list)
    #: Ids of clips that have a vector of any kind.
    with_vectors: set[str] = field(default_factory=set)
    #: Rows of its tables.
    num_vectors: int = 0
