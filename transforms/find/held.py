"""Videos that lie on web servers, and in archives: what is asked about them before the work.

An archive stands for the videos in it, as a folder does: ``shard-000.tar`` for
``shard-000.tar/a/b.mp4``. One that cannot be read to its end is a video that fails, beside those
that were found in it.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from finecut.io.process.threads import in_order
from finecut.io.records import Source
from finecut.io.storage import addresses
from finecut.io.storage import files as shelf
from finecut.io.storage.archives.members import WRONG, Address, address_of, archive_of
from finecut.io.storage.web import urls
from finecut.transforms.find.lists import InputError

#: Archives that are read at the same time.
READERS: Final = 8


def with_members(
    sources: Iterable[Source], wanted: Callable[[str], bool], access: urls.Access
) -> Iterator[Source]:
    """The sources, as this run may open them; in place of an archive the videos in it."""
    several = [replace(each, uri=addresses.permitted(each.uri, access)) for each in sources]
    archives = [each for each in several if archive_of(each.uri)]
    several = [*_looked_for_again(several, {archive_of(each.uri) for each in archives})]
    opened = in_order(partial(_members, wanted=wanted, access=access), archives, READERS)
    for source in several:
        yield from next(opened) if archive_of(source.uri) else [source]


def _looked_for_again(
    sources: Iterable[Source], archives: Container[Address | None]
) -> Iterator[Source]:
    """The sources, those without a known place whose address says what was wrong with them when
    they failed: their archive may have been repaired. Where it is among the sources, it has them.
    """
    for source in sources:
        address = address_of(source.uri)
        if address is None or not address.place.startswith(WRONG):
            yield source
        elif address._replace(member="", place="") not in archives:
            yield replace(source, uri=str(address._replace(place="")))


def _members(source: Source, wanted: Callable[[str], bool], access: urls.Access) -> list[Source]:
    return [_member(source, *one) for one in shelf.videos_in(source.uri, wanted, access)]


def _member(archive: Source, uri: str, path: str) -> Source:
    """A video in an archive; without a path it is the archive that cannot be read."""
    if not path:
        return replace(archive, uri=uri)
    relative = urls.shortened(f"{archive.relative}/{path}")
    return Source(uri, f"{archive.name}/{path}", relative, metadata=archive.metadata)


def check_url(spec: str, url: str) -> None:
    """Refuse what names no file, and servers and files that are not there."""
    shown = addresses.public(spec)
    try:
        if urls.parsed(url).asked.endswith("/"):
            raise InputError(
                f"input {shown!r} ends like a folder, and web servers do not say what lies in "
                "one. Give the URL of a video or an archive, or a list of URLs."
            )
        shelf.greet(url)
    except urls.BadUrl as error:
        raise InputError(f"input {shown!r}: {error}") from error
    except OSError as error:
        raise InputError(f"input {shown!r} cannot be read: {error.strerror or error}") from error


def check_urls(files: Iterable[str], listed: str) -> None:
    """Refuse what a list names and no server could have."""
    for file in files:
        url = addresses.container_of(file)
        try:
            if urls.is_web(url):
                urls.parsed(url)
        except urls.BadUrl as error:
            named = addresses.public(file)[:80]
            raise InputError(
                f"the list {addresses.public(listed)} names {named!r}: {error}"
            ) from error
