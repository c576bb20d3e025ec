"""Probing: what a file is, asked in a child process, which imports no Beam."""

from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits
from finecut.io.media.source import probe
from finecut.io.records import Source, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LeadsOutside


def probe_source(source: Source, limits: Limits = USUAL_LIMITS) -> Video:
    """What this file is."""
    if not shelf.is_remote(source.uri) and "\\x" in source.uri and not shelf.exists(source.uri):
        raise FilmError(
            f"the file name {source.relative!r} contains bytes that are not UTF-8, so documents "
            "cannot contain it. Rename the file."
        )
    if not shelf.is_file(source.uri) and shelf.exists(source.uri):
        raise FilmError(
            f"{source.relative!r} is a folder, pipe or device. Leave it out, or copy its content "
            "into a file."
        )
    try:
        with shelf.open_source(source.uri) as file:
            return probe(file, source, shelf.size_of(source.uri), limits)
    except LeadsOutside:
        raise
    except FileNotFoundError as error:
        raise FilmError(
            "the file does not exist. Usually its path in the list is wrong, or it was moved or "
            "deleted: correct the list, or put the file back."
        ) from error
