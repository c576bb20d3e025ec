"""The address of a server: where it is, which model is meant, and what must never be shown.

    http://user:password@host:8000/v1?token=abc#Qwen/Qwen2.5-VL-7B-Instruct
    ╰─┬─╯  ╰─────┬─────╯ ╰──────┬───╯ ╰───┬───╯ ╰────────────┬────────────╯
   http(s)    hidden          shown     hidden        the model's name

Errors and documents speak of the shown part only. What a server says is quoted in errors too, and a
server may repeat what it was sent: the hidden parts are struck out of quotations.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from finecut.transforms.models.weights import WeightsMissing

#: Where a key is looked for when none is given, in this order.
KEYS: Final = ("FINECUT_API_KEY", "OPENAI_API_KEY")
STRUCK: Final = "***"
#: Shorter values of a query are versions and switches, and striking them out garbles the rest.
SECRET_LETTERS: Final = 4
QUOTED_LETTERS: Final = 200
EXAMPLE: Final = "http://host:8000/v1 or http://host:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct"


class EndpointError(WeightsMissing):
    """A server gave no usable answer; the message says what happened, why, and what helps."""


class EndpointDown(EndpointError):
    """It could not be reached, was too slow, or said that it could not now."""


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
    def read(cls, url: str, key: str | None = None) -> Address:
        """The address in a url; without a key, the user in the url or the environment gives one."""
        split, port = _split(url)
        authorization, secrets = _authorization(split, key)
        values = [part.partition("=")[2] for part in split.query.split("&")]
        values += [value for _, value in parse_qsl(split.query)]
        secrets += [split.query, *(value for value in values if len(value) >= SECRET_LETTERS)]
        tls = split.scheme == "https"
        return cls(
            tls=tls,
            host=split.hostname or "",
            port=port or (443 if tls else 80),
            path=split.path.rstrip("/"),
            model=unquote(split.fragment).strip() or None,
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

    def quoted(self, said: bytes | str, most: int = QUOTED_LETTERS) -> str:
        """The beginning of what the server said, on one line and without secrets."""
        text = said[: 1 << 16].decode("utf-8", "replace") if isinstance(said, bytes) else said
        for secret in self.secrets:
            text = text.replace(secret, STRUCK)
        text = "".join(c if c.isprintable() else " " for c in text)
        text = " ".join(text.split())
        return text if len(text) <= most else f"{text[: most - 1]}…"


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The parts of a url. What it was is not said in errors: there may be a password in it."""
    place = url.partition("#")[0]
    if not place.lower().startswith(("http://", "https://")):
        scheme = f"begins with {place.split('://')[0]!r}" if "://" in place else "has no scheme"
        raise EndpointRefused(
            f"the url of the server (--…-endpoint) {scheme}, and only http:// and https:// are "
            f"spoken here. Give it like {EXAMPLE}."
        )
    if not place.isascii() or not place.isprintable() or " " in place:
        raise EndpointRefused(
            "the url of the server (--…-endpoint) holds spaces, control characters or letters "
            "beyond ASCII. Usually something was pasted with it; write such letters as %20 and "
            "the like."
        )
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        split, port = SplitResult("", "", "", "", ""), None
    if not split.hostname or port == 0:
        raise EndpointRefused(
            "the url of the server (--…-endpoint) names no host, or a port that is no number from "
            f"1 to 65535. Give it like {EXAMPLE}."
        )
    return split, port


def _authorization(split: SplitResult, key: str | None) -> tuple[str | None, list[str]]:
    """The header that says who asks, and what must not be seen of it and of the url."""
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
            f"the key {origin} holds spaces, line ends or letters beyond ASCII, and cannot be "
            "sent. Usually more was copied than the key itself; copy it again."
        )
    return f"Bearer {key}", [*secrets, key]
