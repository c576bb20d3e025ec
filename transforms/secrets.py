"""Secrets: what may stand in a path or an error and must not stand in a list of failures.

https://me:hunter2@host/a.mp4?X-Goog-Signature=9f0c…  →  https://…@host/a.mp4?X-Goog-Signature=…
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "…"

#: Names of parameters and headers whose values are secret, wherever in the name they stand.
_SECRET: Final = (
    r"[\w.-]*(?:signature|credential|token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|"
    r"accesskeyid|googleaccessid|authorization|security)[\w.-]*|sig|key|pwd|auth"
)
_RULES: Final = (
    # https://user:password@host, and https://token@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # Authorization: Bearer abc
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # ?sig=abc, "token": "abc", password=abc
    (
        re.compile(rf"\b({_SECRET})(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;]+", re.IGNORECASE),
        rf"\1\2{HIDDEN}",
    ),
)


def redacted(text: str) -> str:
    """The text without passwords, tokens and signatures.

    >>> redacted("GET https://me:hunter2@host/a.mp4?part=1&sig=9f0c failed")
    'GET https://…@host/a.mp4?part=1&sig=… failed'
    """
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return text
