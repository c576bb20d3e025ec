"""Models behind a server that speaks as OpenAI's does: vLLM and many others.

    worker ─▶ 8 threads ─┐
    worker ─▶ 8 threads ─┼─▶ http://host:8000/v1#name ─▶ one model on one GPU, batching by itself
    worker ─▶ 8 threads ─┘

Workers need no GPU, no weights and no torch; they send pictures and get words or numbers. Which
model is meant stands behind a ``#`` in the url; without it the server is asked, and has to serve
exactly one. ``FINECUT_API_KEY`` (or ``OPENAI_API_KEY``) in the environment is the key, if the
server wants one; see :mod:`~.endpoint.address` for what is never shown, and :mod:`~.endpoint.line`
for how often and how long a server is asked.

Frames travel as JPEG pictures, each in a part of its own (``image_url``), in the order of time, and
the words after them. That is what all such servers take. vLLM also takes the frames of a film in
one part (``video_url`` with ``data:video/jpeg``), but what becomes of it depends on its version and
model: Qwen3-VL fails on it in vLLM 0.11, and when the frames were shown is either lost or said in
fields that other servers refuse. The price is that a model is shown pictures, and not told that
they are a film unless the words say so. Older vLLM takes one picture a question, unless it is
started with ``--limit-mm-per-prompt``.

An embedder is asked with a chat as well (``messages``), as vLLM wants it: one chat, one vector,
made of all its pictures, by the chat template of the served model. Servers that only know ``input``
take words there, or make a vector of every picture: they are refused, since how to make one vector
of several is the model's business.

A question that fails is a :class:`~finecut.transforms.asking.Trouble` among the answers of the
others. Each thread asks one question and waits, so an answer belongs to the question it was given
to; the id goes along as ``X-Request-Id``, for the server's log. (The field ``user`` is for
people, and a server need not know it.) Temperature is 0; a server that batches may still answer
otherwise next time, because sums come out in another order.
"""

from __future__ import annotations

import base64
import io
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.asking import (
    BLOCKED,
    EMPTY,
    OK,
    TRUNCATED,
    Answer,
    Frame,
    Question,
    Said,
    Trouble,
    Vector,
)
from finecut.transforms.guard import attempted
from finecut.transforms.models.endpoint.address import (
    Address,
    EndpointDown,
    EndpointError,
    EndpointGarbled,
    EndpointRefused,
)
from finecut.transforms.models.endpoint.line import Line, Pause

__all__ = [
    "EndpointCaptioner",
    "EndpointDown",
    "EndpointEmbedder",
    "EndpointError",
    "EndpointGarbled",
    "EndpointRefused",
    "EndpointWriter",
    "require_endpoint",
]

#: Questions that are under way at the same time, of one loaded model.
PARALLEL: Final = 8
#: Of a JPEG: small, and nothing a model sees is lost.
QUALITY: Final = 85
#: Seconds for a server to say which models it has, before a run.
CHECK_SECONDS: Final = 10.0
NAMES: Final = 10
NAME_LETTERS: Final = 200


def require_endpoint(
    url: str, key: str | None = None, timeout: float = CHECK_SECONDS, pause: Pause = time.sleep
) -> ModelUsed:
    """Raise unless the server answers and has the model; says which it is."""
    line = Line(Address.read(url, key), timeout, retries=1, pause=pause)
    return ModelUsed(_model(line, certain=True))


class _Endpoint:
    """What the three have in common: threads that ask, and a name."""

    #: More than anybody asks: the server batches, and frames are encoded when their turn comes.
    at_once = sys.maxsize

    def __init__(self, line: Line, model: str, parallel: int) -> None:
        self.used = ModelUsed(model)
        self._line, self._model = line, model
        self._learning = threading.Lock()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="finecut-ask")

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """An answer to each, in their order; what fails is a ``Trouble``."""
        return list(self._threads.map(self._tried, questions))

    def _tried(self, question: Question) -> Answer:
        outcome = attempted(lambda: self._answered(question))
        if isinstance(outcome, Exception):
            said = str(outcome) or repr(outcome)
            return Trouble(question.id, type(outcome).__name__, said)
        return outcome

    def _answered(self, question: Question) -> Answer:
        raise NotImplementedError

    def _garbled(self, what: str, reply: Mapping[str, Any]) -> EndpointGarbled:
        said = self._line.address.quoted(str(dict(reply)))
        return EndpointGarbled(
            f"{self._line.address} answered {what}: {said!r}. Usually it speaks another dialect "
            "than OpenAI's, or serves a model that is made for something else."
        )


class EndpointCaptioner(_Endpoint):
    """Says in words what pictures show."""

    def __init__(self, line: Line, model: str, parallel: int, max_tokens: int) -> None:
        super().__init__(line, model, parallel)
        self._max_tokens = max_tokens

    @classmethod
    def load(
        cls,
        url: str,
        max_tokens: int,
        timeout: float,
        key: str | None = None,
        parallel: int = PARALLEL,
        pause: Pause = time.sleep,
    ) -> EndpointCaptioner:
        """The model at a url, which has ``timeout`` seconds for each question."""
        line = Line(Address.read(url, key), timeout, pause=pause)
        return cls(line, _model(line), parallel, max_tokens)

    def _frames(self, question: Question) -> Sequence[Frame]:
        return question.frames

    def _answered(self, question: Question) -> Said:
        asked = {
            "model": self._model,
            "messages": messages(question.system, self._frames(question), question.text),
            "temperature": 0,
            "max_tokens": self._max_tokens,
        }
        reply = self._line.post("/chat/completions", asked, question.id)
        choice = _first(reply, "choices")
        message = choice.get("message")
        if not isinstance(message, dict):
            raise self._garbled("without a message", reply)
        text, reason = message.get("content"), choice.get("finish_reason")
        if not isinstance(text, str | None) or reason in ("abort", "error"):
            raise self._garbled("no words", reply)
        self._learn(reply.get("system_fingerprint"))
        blocked = bool(message.get("refusal")) or reason == "content_filter"
        text = "" if blocked else text or ""
        return Said(question.id, text, _status(text, reason, blocked), *_tokens(reply.get("usage")))

    def _learn(self, fingerprint: object) -> None:
        """What the server calls the state it is in, if it says so, is the model's revision."""
        if _is_name(fingerprint):
            with self._learning:
                self.used = replace(self.used, revision=fingerprint)


class EndpointWriter(EndpointCaptioner):
    """Says more in words about words; frames are not shown to it."""

    def _frames(self, question: Question) -> Sequence[Frame]:
        return ()


class EndpointEmbedder(_Endpoint):
    """Says in numbers what pictures show: one vector for all of a question's."""

    #: Of a clip, and their shorter side.
    frames = 8
    side = 336

    @classmethod
    def load(
        cls,
        url: str,
        timeout: float,
        key: str | None = None,
        parallel: int = PARALLEL,
        pause: Pause = time.sleep,
    ) -> EndpointEmbedder:
        """The model at a url, which has ``timeout`` seconds for each question."""
        line = Line(Address.read(url, key), timeout, pause=pause)
        return cls(line, _model(line), parallel)

    def _answered(self, question: Question) -> Vector:
        asked = {
            "model": self._model,
            "messages": messages(question.system, question.frames, question.text),
            "encoding_format": "float",
        }
        reply = self._line.post("/embeddings", asked, question.id)
        vectors = reply.get("data")
        if isinstance(vectors, list) and len(vectors) > 1:
            raise self._garbled(f"{len(vectors)} vectors to one question", reply)
        numbers = _numbers(_first(reply, "data").get("embedding"))
        if numbers is None or not numbers.size:
            raise self._garbled("no vector", reply)
        self._check(numbers.size)
        return Vector(question.id, numbers)

    def _check(self, dimension: int) -> None:
        """All vectors have as many numbers as the first."""
        with self._learning:
            if self.used.dimension is None:
                self.used = replace(self.used, dimension=dimension)
            elif self.used.dimension != dimension:
                raise EndpointGarbled(
                    f"{self._line.address} answered a vector of {dimension} numbers, and one of "
                    f"{self.used.dimension} before. Usually another model was started under the "
                    "same name; vectors of different models cannot be compared."
                )


# ── which model ──────────────────────────────────────────────────────────────────────────────────


def _model(line: Line, certain: bool = False) -> str:
    """The name of the model that is meant; ``certain``: the server was asked whether it has it."""
    named, address = line.address.model, line.address
    if named is not None and not certain:
        return named
    names = _served(line)
    if named is not None:
        if names and named not in names:
            raise EndpointRefused(
                f"{address} serves no model {named!r}, but {_listed(names)}. Usually the name is "
                "mistyped, or the server was started with another --served-model-name: write one "
                "of these behind the #."
            )
        return named
    if len(names) != 1:
        serves = f"{len(names)} models, {_listed(names)}" if names else "no models that it names"
        raise EndpointRefused(
            f"{address} serves {serves}, and which one is meant is not said. Write its name behind "
            f"the url: {address}#{names[0] if names else 'name'}"
        )
    return names[0]


def _served(line: Line) -> list[str]:
    """The names a server lists."""
    listed = line.get("/models").get("data")
    entries = listed if isinstance(listed, list) else []
    names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [name for name in names if _is_name(name)]


def _is_name(said: object) -> TypeGuard[str]:
    """Whether a server said something that may stand in documents as a name."""
    return isinstance(said, str) and 0 < len(said) <= NAME_LETTERS and said.isprintable()


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(repr(name) for name in names[:NAMES])
    return some if len(names) <= NAMES else f"{some} and {len(names) - NAMES} more"


# ── what is asked, and what is answered ──────────────────────────────────────────────────────────


def messages(system: str, frames: Sequence[Frame], text: str) -> list[dict[str, Any]]:
    """A chat of one question: pictures, then words; words alone go as plain text."""
    words = [{"type": "text", "text": text}] if text else []
    pictures = [{"type": "image_url", "image_url": {"url": picture(frame)}} for frame in frames]
    asked: Any = [*pictures, *words] if pictures else text
    told = [{"role": "system", "content": system}] if system else []
    return [*told, {"role": "user", "content": asked}]


def picture(frame: Frame) -> str:
    """A frame as a url that holds it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _first(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The first thing in one of the reply's lists, or nothing."""
    listed = reply.get(name)
    first = listed[0] if isinstance(listed, list) and listed else None
    return first if isinstance(first, dict) else {}


def _status(text: str, reason: object, blocked: bool) -> str:
    if blocked:
        return BLOCKED
    if not text.strip():
        return EMPTY
    return TRUNCATED if reason == "length" else OK


def _tokens(usage: object) -> tuple[int | None, int | None]:
    """How many went in and came out, if it is said."""
    said = usage if isinstance(usage, dict) else {}
    given, written = (said.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return _count(given), _count(written)


def _count(number: object) -> int | None:
    return number if type(number) is int and number >= 0 else None


def _numbers(embedding: object) -> NDArray[np.float32] | None:
    """A vector as a list or as the base64 of its float32; ``None`` if it is neither.

    What is no number (NaN, or too large for float32) stays in it, and whoever asked refuses it.
    """
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype("f4")
        if isinstance(embedding, list) and all(type(n) in (int, float) for n in embedding):
            with np.errstate(over="ignore"):
                return np.array(embedding, np.float64).astype(np.float32)
    except (ValueError, OverflowError):
        return None
    return None
