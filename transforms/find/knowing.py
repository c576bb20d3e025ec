"""What is known of each video: what lists say of it, failures remember, and files beside it hold.

Field by field: a list goes before what failures remember, and that before the file beside a video;
of several rows, and of several inputs, the later one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from finecut.io.records import Metadata, Source
from finecut.io.storage import files as shelf
from finecut.transforms.find.beside import told_beside
from finecut.transforms.find.metadata import plain

#: What lists say, by the paths that they name.
Listed = Iterable[tuple[str, Metadata]]


def with_metadata(sources: Sequence[Source], listed: Listed, beside: bool) -> list[Source]:
    """The sources with what is said of them."""
    uris = [source.uri for source in sources]
    files = told_beside(uris) if beside else {}
    said: dict[str, list[Metadata]] = {
        source.uri: [told for told in (files.get(source.uri), source.metadata) if told]
        for source in sources
    }

    @cache
    def linked() -> dict[str, str]:
        return {shelf.identity(uri): uri for uri in uris}

    for path, told in listed:
        # A list may name the file by another link than the one that it was taken by.
        uri = path if path in said else linked().get(shelf.identity(path))
        if uri is not None:
            said[uri].append(told)
    return [_with(source, said[source.uri]) for source in sources]


def _with(source: Source, said: Sequence[Metadata]) -> Source:
    if len(said) > 1:
        # What is small enough by itself need not be so together.
        said = [plain({name: value for told in said for name, value in told.items()}).said]
    return replace(source, metadata=said[0]) if said else source
