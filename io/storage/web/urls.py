"""URLs of web servers and members of archives, as text: how they are called, and what is secret.

    https://me:pw@Host:443/day%201/a.mp4?v=2&X-Amz-Signature=9f0c…#private
        asked for   https://host/day%201/a.mp4?v=2&X-Amz-Signature=9f0c…
        named       https://host/day%201/a.mp4?v=2
        as a path   https://host/day 1/a.mp4%3Fv=2

Documents are named by paths, which have to be legal, short enough and different for different
videos. So what no path may hold becomes ``%`` and two small digits, and what is too long ends with
a digest. A signature, a password or a token says who may read, not what: it is part of no name, so
that a URL that is signed anew names the same video.

What a run may do with a URL (:class:`Access`) stands behind ``#``, which no server ever sees. Only
finecut writes it there; what somebody else wrote there is dropped.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from finecut.io.layout import LONGEST_NAME

#: What all web servers together are, where a bucket is named.
WEB: Final = "https://"
#: What ``--max-download-mb`` is if nobody says otherwise.
MOST_MB: Final = 20_000
PORTS: Final = {"http": 80, "https": 443}
#: A path of documents is no longer; file systems allow 4,096 bytes from their root on.
LONGEST_PATH: Final = 1_000
#: Digits of digests, and how many bytes of a long name stay readable.
DIGITS: Final = 32
READABLE: Final = 150

_WEB: Final = re.compile(r"https?://", re.I)
#: What a part of a path may not hold, and what an escape begins with.
_ILLEGAL: Final = re.compile(r"[%/\\\x00-\x1f\x7f\ud800-\udfff]")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
#: Parameters that sign a URL: those of Amazon, Google and Alibaba by how they begin; those of
#: CloudFront and older ones where there is a signature; Azure's where there is one of its kind.
_SIGNING: Final = re.compile(r"x-(?:amz|goog|oss)-", re.I)
_WITH_SIGNATURE: Final = frozenset(
    {
        *("signature", "expires", "policy", "key-pair-id", "hash-algorithm"),
        *("awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "security-token"),
    }
)
_WITH_SIG: Final = frozenset(
    {
        *("sig", "sv", "ss", "srt", "sr", "sp", "se", "st", "spr", "sip", "sdd", "ses", "sks"),
        *("skoid", "sktid", "skt", "ske", "skv", "saoid", "suoid", "scid"),
    }
)
_TOKENS: Final = frozenset(
    {"token", "access_token", "auth_token", "api_key", "apikey", "hdnts", "hdnea", "hdntl"}
)


class BadUrl(ValueError):
    """What is no URL of a file; the message says why."""


class Access(NamedTuple):
    """What a run may do with URLs."""

    #: Connect to private, local and otherwise reserved addresses.
    private: bool = False
    #: The most bytes of one file.
    most: int = MOST_MB * 1_000_000


USUAL_ACCESS: Final = Access()


def is_web(uri: str) -> bool:
    return _WEB.match(uri) is not None


class Url(NamedTuple):
    """A URL in its parts, as they are asked for; of its path the parts between slashes."""

    scheme: str
    user: str
    host: str
    parts: tuple[str, ...]
    query: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def asked(self) -> str:
        """What a server is asked for, without credentials."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.origin}/{'/'.join(self.parts)}{query}"


def parsed(url: str) -> Url:
    """The parts of a URL, spelled as servers expect them."""
    try:
        said = urlsplit(url.strip())
        port, host = said.port, said.hostname or ""
        # Names in other alphabets have a spelling in this one.
        host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise BadUrl(f"it is not a URL ({error})") from error
    if not is_web(url) or not host or re.search(r"[\s<>\"\\^`{|}\x00-\x20]", host):
        raise BadUrl("it names no server: write https://host/path/video.mp4")
    scheme = said.scheme.lower()
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != PORTS[scheme]:
        host += f":{port}"
    return Url(
        scheme=scheme,
        user=said.netloc.rpartition("@")[0],
        host=host,
        parts=tuple(_without_dots(_spelled(said.path).split("/")[1:])),
        query=_spelled(said.query),
    )


def _spelled(text: str) -> str:
    """With what may not stand in a URL as escapes, and no escape broken."""
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(whole, safe="/%:@!$&'()*+,;=~?-._[]", errors="surrogatepass")


def _without_dots(parts: Iterable[str]) -> list[str]:
    """As every client resolves ``.`` and ``..`` before it asks."""
    straight: list[str] = []
    parts = [*parts]
    for place, part in enumerate(parts):
        said = unquote_to_bytes(part)
        if said == b".." and straight:
            straight.pop()
        if said not in (b".", b".."):
            straight.append(part)
        elif place == len(parts) - 1:
            straight.append("")  # what ends with a dot is a folder
    return straight


def name_of(url: str) -> str:
    """What a video of this URL is called in documents: a URL without who may read it."""
    said = parsed(url)
    path = "/".join(quote(unquote_to_bytes(part), safe=_SAFE) for part in said.parts)
    query = _unsigned(said.query)
    return f"{said.origin}/{path}" + (f"?{query}" if query else "")


_SAFE: Final = ":@!$&'()*+,;=~"


def path_of(url: str) -> str:
    """The URL as a path that documents can have, below ``https://``.

    >>> path_of("http://host/a%20b/c.mp4?v=1/2")
    'https://host/a b/c.mp4%3Fv=1%2f2'
    """
    said = parsed(url)
    parts = [unquote_to_bytes(part).decode(errors="surrogateescape") for part in said.parts]
    query = _unsigned(said.query)
    *folders, last = parts or [""]
    return f"https://{said.host}/{'/'.join([*map(escaped, folders), escaped(last, query)])}"


def escaped(part: str, query: str = "") -> str:
    """A part of a path, as a path may have it, and no other part has it.

    >>> escaped("..") , escaped("a%b"), escaped("film.mp4", "v=1")
    ('%2e%2e', 'a%25b', 'film.mp4%3Fv=1')
    """
    special = {"": "%-", ".": "%2e", "..": "%2e%2e"}
    text = special.get(part) or _ILLEGAL.sub(_as_escape, part)
    text += "%3F" + _ILLEGAL.sub(_as_escape, query) if query else ""
    if len(text.encode()) <= LONGEST_NAME:
        return text
    extension = posixpath.splitext(part)[1]
    extension = extension if extension.isascii() and extension[1:].isalnum() else ""
    head = text.encode()[:READABLE].decode(errors="ignore")
    return f"{head}%~{_digest(text)}{extension[:10]}"


def _as_escape(found: re.Match[str]) -> str:
    sign = found[0]
    # Bytes that are no text came in as such signs, each for one of them.
    coding = "surrogateescape" if "\udc80" <= sign <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02x}" for byte in sign.encode(errors=coding))


def shortened(relative: str) -> str:
    """A path of documents; one that is too long is a digest and its last part."""
    if len(relative.encode()) <= LONGEST_PATH:
        return relative
    return f"%~{_digest(relative)}/{relative.rpartition('/')[2]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def extension_of(path: str) -> str:
    """What the name of a file ends with, in small letters; a URL's without its query.

    >>> extension_of("https://host/film.MP4?v=1.txt"), extension_of("film.mp4?v=1.txt")
    ('.mp4', '.txt')
    """
    path = re.split(r"[?#]", path)[0] if is_web(path) else path
    return posixpath.splitext(path)[1].lower()


#: Archives whose members can be read where they lie.
ARCHIVES: Final = (".tar", ".zip")


def is_archive(path: str) -> bool:
    """Whether a path, or a URL, names an archive of videos.

    >>> is_archive("films/shard-000.TAR"), is_archive("https://host/a.zip?v=1")
    (True, True)
    """
    return extension_of(path) in ARCHIVES


# ── secrets, and what a run may do ───────────────────────────────────────────────────────────────


def _unsigned(query: str) -> str:
    """A query without what signs it, spelled in one way."""
    given = [each for each in query.split("&") if each]
    names = [each.partition("=")[0].lower() for each in given]
    secret = set(_TOKENS)
    if "signature" in names:
        secret |= _WITH_SIGNATURE
    if "sig" in names:
        secret |= _WITH_SIG
    signed = any(_SIGNING.match(name) and name.endswith("signature") for name in names)
    return "&".join(
        _ESCAPE.sub(_plain, each)
        for each, name in zip(given, names, strict=True)
        if name not in secret and not (signed and _SIGNING.match(name))
    )


def _plain(escape: re.Match[str]) -> str:
    """Letters, digits and a few signs need no escape; others have one spelling."""
    sign = chr(int(escape[0][1:], 16))
    return sign if re.fullmatch(r"[A-Za-z0-9._~-]", sign) else escape[0].upper()


def is_signed(url: str) -> bool:
    """Whether it says who may read it."""
    query = parsed(url).query
    return _unsigned(query).count("=") < query.count("=")


def public(url: str) -> str:
    """The URL as a list may have it: without credentials, signatures and permissions."""
    try:
        return name_of(url)
    except BadUrl:
        return re.sub(r"//[^/?]*@", "//", url).partition("?")[0]


def permitted(url: str, access: Access) -> str:
    """The URL with what this run may do with it, and without what somebody else wrote there."""
    given = ["private"] * access.private
    given += [f"most={access.most}"] * (access.most != USUAL_ACCESS.most)
    plain = url.partition("#")[0]
    return f"{plain}#{'&'.join(given)}" if given else plain


def access_of(url: str) -> Access:
    """What may be done with it.

    >>> access_of(permitted("https://host/a.mp4#t=3", Access(private=True)))
    Access(private=True, most=20000000000)
    """
    said = url.partition("#")[2].split("&")
    most = [int(each[5:]) for each in said if re.fullmatch(r"most=\d{1,18}", each)]
    return Access("private" in said, (most or [USUAL_ACCESS.most])[0])
