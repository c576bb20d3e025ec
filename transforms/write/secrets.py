"""Secrets: what may stand in a path or an error and must not stand in a list of failures.

https://me:hunter2@host/a.mp4?X-Goog-Signature=9f0c…  →  https://…@host/a.mp4?X-Goog-Signature=…
"""

import os
import re
from dataclasses import replace
from typing import Final

from finecut.io.records import Failure
from finecut.io.storage.addresses import is_read_only, public

HIDDEN: Final = "…"

#: Where keys of servers are read from: their values are hidden wherever they stand.
VARIABLES: Final = ("FINECUT_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
SHORTEST: Final = 6

#: Names of parameters and headers whose values are secret, wherever in the name they stand.
_SECRET: Final = (
    r"[\w.-]*(?:signature|credential|token|secret|passw(?:or)?d|passphrase|api[_-]?key|"
    r"access[_-]?key|session[_-]?key|client[_-]?key|private[_-]?key|accesskeyid|googleaccessid|"
    r"security)[\w.-]*|sig|key|pwd|auth"
)
_RULES: Final = (
    # https://user:password@host, and https://token@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:'\"]*:[^\s'\"]*@", re.I), rf"\1{HIDDEN}@"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.I), rf"\1{HIDDEN}@"),
    # Authorization: Bearer abc
    (
        re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[=:]\s*)[^\n]+", re.I),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.I), rf"\1 {HIDDEN}"),
    # Keys that are known by how they begin.
    (re.compile(r"\b(?:sk|pk|rk|hf|gh[a-z]|xox[a-z]|glpat)[-_][\w-]{8,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\bya29\.[\w.-]+"), HIDDEN),
    # "token": "abc", then ?sig=abc and password=abc
    (re.compile(rf"\b({_SECRET})(['\"]?\s*[=:]\s*b?)(['\"]).*?\3", re.I), rf"\1\2\3{HIDDEN}\3"),
    (
        re.compile(rf"\b({_SECRET})(['\"]?\s*(?:[=:]|%3D)\s*)[^\s&'\";]+", re.I),
        rf"\1\2{HIDDEN}",
    ),
)


def redacted(text: str) -> str:
    """The text without passwords, tokens and signatures, as far as they are known for such.

    >>> redacted("GET https://me:hunter2@host/a.mp4?part=1&sig=9f0c failed")
    'GET https://…@host/a.mp4?part=1&sig=… failed'
    """
    for variable in VARIABLES:
        value = os.environ.get(variable, "")
        if len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return text


def told(failure: Failure) -> Failure:
    """The failure as it is listed: a URL without what lets somebody read it."""
    source = failure.source
    if not is_read_only(source.uri):
        return failure
    return replace(failure, source=replace(source, uri=public(source.uri)))
