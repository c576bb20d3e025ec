"""The address of a server: where it is, which model is meant, and what must never be shown.

    http://user:password@host:8000/v1?token=abc#Qwen/Qwen2.5-VL-7B-Instruct
    ╰─┬─╯  ╰─────┬─────╯ ╰──────┬───╯ ╰───┬───╯ ╰────────────┬────────────╯
   http(s)    hidden          shown     hidden        the model's name

Errors and documents speak of the shown part only. What a server says is quoted in errors too, and a
server may repeat what it was sent: the hidden parts are struck out of quotations.

A password with a ``#``, ``/`` or ``?`` in it ends the host too early, and the rest of it would be
shown as a path or a name. So an ``@`` behind the host is refused; one that is meant is written
``%40``.

Nothing here looks for a server, and nothing heavy is imported: options are checked with it.
"""

import base64
import json
import os
import re
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from finecut.transforms.models.weights.naming import WeightsMissing

#: Where a key is looked for when none is given, in this order.
KEYS: Final = ("FINECUT_API_KEY", "OPENAI_API_KEY")
STRUCK: Final = "***"
#: Shorter values of a query are versions and switches, and striking them out garbles the rest.
SECRET_LETTERS: Final = 4
QUOTED_LETTERS: Final = 200
#: A longer name is not one.
NAME_LETTERS: Final = 200
EXAMPLE: Final = "http://host:8000/v1 or http://host:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct"


class EndpointError(WeightsMissing):
    """A server gave no usable answer; the message says what happened, why, and what helps."""


class EndpointDown(EndpointError):
    """It could not be reached, was too slow, or could not answer now."""


class EndpointRefused(EndpointError):
    """It understood, and does not want to; asking again would change nothing."""


class EndpointGarbled(EndpointError):
    """It answered something that is no answer."""


@dataclass(frozen=True)
class Address:
    """One server, as its url says."""

    tls: bool
    host: str
    port: int
    path: str
    #: The name behind the ``#``, if there is one.
    model: str | None
    query: str = field(default="", repr=False)
    #: What is sent as the header of this name.
    authorization: str | None = field(default=None, repr=False)
    #: What is struck out of quotations, the longest first.
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, url: str, key: str | None = None) -> Self:
        """The address in a url; without a key, the user in the url or the environment gives one."""
        split = _split(url)
        authorization, secrets = _authorization(split, key)
        values = [part.partition("=")[2] for part in split.query.split("&")]
        values += [value for _, value in parse_qsl(split.query)]
        secrets += [split.query, *(value for value in values if len(value) >= SECRET_LETTERS)]
        tls = split.scheme == "https"
        return cls(
            tls=tls,
            host=split.hostname or "",
            port=split.port or (443 if tls else 80),
            path=split.path.rstrip("/"),
            model=_name(url) or None,
            query=split.query,
            authorization=authorization,
            secrets=tuple(sorted({s for s in secrets if s}, key=lambda s: (-len(s), s))),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.tls else 80)
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{host}{'' if usual else f':{self.port}'}{self.path}"

    def target(self, path: str) -> str:
        """What stands in the first line of a request."""
        return f"{self.path}{path}" + (f"?{self.query}" if self.query else "")

    def struck(self, text: str) -> str:
        """The same without secrets, as they are and as JSON writes them."""
        for secret in self.secrets:
            for written in (secret, json.dumps(secret)[1:-1]):
                text = text.replace(written, STRUCK)
        return text

    def quoted(self, content: bytes | str, most: int = QUOTED_LETTERS) -> str:
        """The beginning of what the server answered, on one line and without secrets."""
        text = (
            content[: 1 << 16].decode("utf-8", "replace") if isinstance(content, bytes) else content
        )
        plain = "".join(c if c.isprintable() else " " for c in self.struck(text))
        text = " ".join(plain.split())
        return text if len(text) <= most else f"{text[: most - 1]}…"


def check_address(url: str, what: str = "the URL of the server") -> str | None:
    """What is wrong with a url, as a sentence about ``what``; ``None`` when nothing is.

    There may be a password in the url, so nothing of it is repeated but how it begins.

    >>> check_address("host:8000/v1", "--captioning-endpoint").partition(",")[0]
    '--captioning-endpoint has no scheme'
    """
    place, hash_, _ = url.partition("#")
    name, supported = _name(url), place.lower().startswith(("http://", "https://"))
    scheme = re.match(r"[a-z][a-z0-9+.-]*(?=://)", place, re.IGNORECASE)
    begins = f"begins with {scheme[0]!r}" if scheme else "has no scheme"
    behind_host = re.sub(r"^[^:]*://[^/?#]*", "", url)
    faults = (
        (
            not supported,
            f"{begins}, but only http:// and https:// are supported. Give an address like "
            f"{EXAMPLE}.",
        ),
        (
            not place.isascii() or not place.isprintable() or " " in place,
            "contains spaces, control characters or non-ASCII letters. Usually something else "
            "was pasted along with it; encode such characters, for example a space as %20.",
        ),
        (
            "@" in behind_host,
            "contains an @ after its host. Usually a password in it contains a special "
            "character: encode # as %23, / as %2F, ? as %3F, and @ as %40.",
        ),
        (
            not _names_host(url),
            "has no host, or its port is not a number from 1 to 65535. Give an address like "
            f"{EXAMPLE}.",
        ),
        (
            hash_ and not name,
            "ends with a # but no name after it. Usually a variable in a script was empty: add "
            "the name of the model, or leave out the #.",
        ),
        (
            not name.isprintable() or len(name) > NAME_LETTERS,
            f"has a model name with control characters or more than {NAME_LETTERS} characters. "
            "Usually something else was pasted along with it; give the name under which the "
            "model is served.",
        ),
    )
    return next((f"{what} {why}" for wrong, why in faults if wrong), None)


def name_in(url: str) -> str:
    """The name of the model that a url says; nothing when it says none.

    >>> name_in("http://host:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct")
    'Qwen/Qwen2.5-VL-7B-Instruct'
    """
    _split(url)
    return _name(url)


def _name(url: str) -> str:
    return unquote(url.partition("#")[2]).strip()


def _split(url: str) -> SplitResult:
    """The parts of a url; raises when something is wrong with it."""
    if wrong := check_address(url, "the URL of the server (--…-endpoint)"):
        raise EndpointRefused(wrong)
    return urlsplit(url)


def _names_host(url: str) -> bool:
    try:
        split = urlsplit(url)
        return bool(split.hostname) and split.port != 0
    except ValueError:
        return False


def _authorization(split: SplitResult, key: str | None) -> tuple[str | None, list[str]]:
    """The header that authorizes a question, and what must not be seen of it and of the url."""
    password = split.password or ""
    pair = f"{unquote(split.username or '')}:{unquote(password)}"
    coded = base64.b64encode(pair.encode()).decode()
    secrets = [] if split.username is None else [pair, coded, password, unquote(password)]
    if key is None and split.username is not None:
        return f"Basic {coded}", secrets
    origin = "that was given"
    if key is None:
        name = next((name for name in KEYS if os.environ.get(name, "").strip()), KEYS[0])
        origin, key = f"in {name}", os.environ.get(name, "")
    key = key.strip()
    if not key:
        return None, secrets
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EndpointRefused(
            f"the key {origin} contains spaces, line breaks or non-ASCII letters, and cannot be "
            "sent. Usually more than the key was copied; copy it again."
        )
    return f"Bearer {key}", [*secrets, key]
