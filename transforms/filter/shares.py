"""Shares: rules that say how many of the clips pass, and not with which score. Standard library
only: what limit a share comes to, :mod:`finecut.transforms.refilter.shares` finds in a dataset.
"""

import re
from typing import Final, NamedTuple

_SHARE: Final = re.compile(r"\s*([\w.-]+)\s+(top|bottom)\s+(\d+(?:\.\d+)?)\s*%\s*")


class Share(NamedTuple):
    """The best clips by a score, or those with the least of it."""

    score: str
    top: bool
    percent: float


def read_share(text: str) -> Share | None:
    """The share that a text says, if it says one; or a ``ValueError``.

    >>> read_share("sharpness top 80%"), read_share("sharpness>=0.1")
    (Share(score='sharpness', top=True, percent=80.0), None)
    """
    found = _SHARE.fullmatch(text)
    if found is None:
        return None
    share = Share(found[1], found[2] == "top", float(found[3]))
    if not 0 < share.percent <= 100:
        raise ValueError(f"{text!r} is not a share: give more than 0 and at most 100 %")
    return share
