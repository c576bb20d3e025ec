"""Archives as programs make them, and as nobody should."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def tar_of(
    path: Path, members: Mapping[str, bytes], form: int = tarfile.GNU_FORMAT, written: int = 5
) -> Path:
    """A tar of these files."""
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members.items():
            add(archive, name, data, written)
    return path


def zip_of(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip of these files, as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes, written: int = 5) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), written
    archive.addfile(member, io.BytesIO(data))


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A header of a tar whose size is written as it is given."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = size.ljust(12, b"\0"), kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def flagged(data: bytes, name: bytes, flags: int) -> bytes:
    """A zip in whose directory this member has these flags."""
    entry = data.rindex(name) - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    return data[: entry + 8] + struct.pack("<H", flags) + data[entry + 10 :]


def patched(data: bytes, name: bytes, place: int, value: bytes) -> bytes:
    """A zip with these bytes at this place of this member's entry in the directory."""
    entry = data.rindex(name) - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    return data[: entry + place] + value + data[entry + place + len(value) :]
