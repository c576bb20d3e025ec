"""Numbers of things, in words."""


def count_of(number: float, noun: str, plural: str = "") -> str:
    """So many of them, in the singular or the plural.

    >>> count_of(1, "clip"), count_of(0, "clip"), count_of(12_000, "copy", "copies")
    ('1 clip', '0 clips', '12000 copies')
    """
    return f"{number:.0f} {noun if number == 1 else plural or f'{noun}s'}"
