"""Numbers of things, and of bytes, in words."""


def count_of(number: float, noun: str, plural: str = "") -> str:
    """So many of them, in the singular or the plural.

    >>> count_of(1, "clip"), count_of(0, "clip"), count_of(12_000, "copy", "copies")
    ('1 clip', '0 clips', '12000 copies')
    """
    return f"{number:.0f} {noun if number == 1 else plural or f'{noun}s'}"


def in_bytes(size: float) -> str:
    """A number of bytes, as people read it.

    >>> in_bytes(999), in_bytes(1_234_567), in_bytes(5e12)
    ('999 B', '1.2 MB', '5000.0 GB')
    """
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
