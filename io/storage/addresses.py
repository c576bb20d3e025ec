"""Addresses of files that are read where they lie: their names, and what is secret in them.

Of a file on a disk or in a bucket all of these are its path.
"""

from finecut.io.storage.archives.members import address_of, path_within
from finecut.io.storage.stores import MEMBERS
from finecut.io.storage.web import urls


def is_read_only(uri: str) -> bool:
    """Whether videos can come from there, but nothing can go there."""
    return urls.is_web(uri) or uri.startswith(MEMBERS)


def path_of(uri: str) -> str:
    """The path by which documents are named: for most files, where they lie."""
    address = address_of(uri)
    if address is not None:
        archive = path_of(address.archive)
        return f"{archive}/{path_within(address.member)}" if address.member else archive
    try:
        return urls.path_of(uri) if urls.is_web(uri) else uri
    except urls.BadUrl:
        return uri


def name_of(uri: str) -> str:
    """What a file is called in documents: where it lies, without who may read it."""
    if address_of(uri) is not None:
        return path_of(uri)
    return urls.public(uri) if urls.is_web(uri) else uri


def public(uri: str) -> str:
    """The same uri as anybody may read it, in a list or a message."""
    address = address_of(uri)
    if address is not None:
        return str(address._replace(archive=public(address.archive)))
    return urls.public(uri) if urls.is_web(uri) else uri


def permitted(uri: str, access: urls.Access) -> str:
    """The uri with what this run may do with it."""
    address = address_of(uri)
    if address is not None:
        return str(address._replace(archive=permitted(address.archive, access)))
    return urls.permitted(uri, access) if urls.is_web(uri) else uri


def container_of(uri: str) -> str:
    """The file in which this one lies: the archive of a member; of others themselves."""
    address = address_of(uri)
    return uri if address is None else address.archive
