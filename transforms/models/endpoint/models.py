"""The models behind a server: what they are asked, and what is made of what they answer.

The manual is that of the package (:mod:`finecut.transforms.models.endpoint`).
"""

import base64
import io
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, Self, TypeGuard
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.beam.guard import attempted
from finecut.transforms.caption.asking import (
    BLOCKED,
    OK,
    Answer,
    Frame,
    Question,
    Said,
    Trouble,
    Vector,
)
from finecut.transforms.models.endpoint.address import (
    NAME_LETTERS,
    Address,
    EndpointGarbled,
    EndpointRefused,
)
from finecut.transforms.models.endpoint.line import Line, Pause
from finecut.transforms.models.words import answered, spread, turns

#: Questions that are under way at the same time, of one loaded model.
PARALLEL: Final = 8
#: Of a JPEG: small, and nothing a model sees is lost.
QUALITY: Final = 85
#: Shown to a captioner at most. What docs/models.md starts a server with has to agree.
PICTURES: Final = 64
#: The kind of a part of a message by which a model does not want to answer.
REFUSAL: Final = "refusal"
#: Seconds for a server to say which models it has, before a run.
CHECK_SECONDS: Final = 10.0
NAMES: Final = 10


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
    #: In which order questions are answered is the server's business.
    by_turns = False

    def __init__(self, line: Line, model: str, parallel: int) -> None:
        self.used = ModelUsed(model)
        self._line, self._model = line, model
        self._learning = threading.Lock()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="finecut-ask")

    @classmethod
    def load(
        cls,
        url: str,
        *,
        timeout: float,
        key: str | None = None,
        parallel: int = PARALLEL,
        pause: Pause = time.sleep,
        **more: Any,
    ) -> Self:
        """The model at a url, which has ``timeout`` seconds for each question."""
        line = Line(Address.read(url, key), timeout, pause=pause)
        return cls(line, _model(line), parallel, **more)

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """An answer to each, in their order; what fails is a ``Trouble``."""
        return list(self._threads.map(self._tried, questions))

    def _tried(self, question: Question) -> Answer:
        outcome = attempted(lambda: self._answered(question))
        if isinstance(outcome, Exception):
            return Trouble(question.id, type(outcome).__name__, str(outcome) or repr(outcome))
        return outcome

    def _answered(self, question: Question) -> Answer:
        raise NotImplementedError

    def _garbled(self, what: str, reply: Mapping[str, Any]) -> EndpointGarbled:
        quote = self._line.address.quoted(str(dict(reply)))
        return EndpointGarbled(
            f"{self._line.address} answered {what}: {quote!r}. Usually it does not follow "
            "OpenAI's protocol, or serves a model for another purpose."
        )


class EndpointCaptioner(_Endpoint):
    """Puts in words what pictures show."""

    #: It is shown no more of them.
    pictures = PICTURES

    def __init__(self, line: Line, model: str, parallel: int, max_tokens: int) -> None:
        super().__init__(line, model, parallel)
        self._max_tokens = max_tokens

    def _answered(self, question: Question) -> Said:
        frames = spread(question.frames, self.pictures)
        asked = {
            "model": self._model,
            "messages": messages(question.system, frames, question.text),
            "temperature": 0,
            "max_tokens": self._max_tokens,
        }
        reply = self._line.post("/chat/completions", asked, question.id)
        choice = _first(reply, "choices")
        message, reason = choice.get("message"), choice.get("finish_reason")
        if not isinstance(message, dict):
            raise self._garbled("without a message", reply)
        parts = _parts(message.get("content"))
        if parts is None or reason in ("abort", "error"):
            raise self._garbled("no words", reply)
        self._learn(reply.get("system_fingerprint"))
        tokens = _tokens(reply.get("usage"))
        if message.get("refusal") or REFUSAL in parts or reason == "content_filter":
            return Said(question.id, "", BLOCKED, *tokens)
        # A server may repeat what it was sent, its key included.
        text = self._line.address.struck(parts.get("text", ""))
        return answered(Said(question.id, text, OK, *tokens), ended=reason != "length")

    def _learn(self, fingerprint: object) -> None:
        """What the server calls the state it is in, if it says so, is the model's revision."""
        if isinstance(fingerprint, str) and _is_name(fingerprint):
            with self._learning:
                self.used = replace(self.used, revision=self._line.address.struck(fingerprint))


class EndpointWriter(EndpointCaptioner):
    """Puts more in words about words; frames are not shown to it."""

    pictures = 0


class EndpointEmbedder(_Endpoint):
    """Puts in numbers what pictures show: one vector for all of a question's."""

    #: Of a clip, and their shorter side.
    frames = 8
    side = 336

    def _answered(self, question: Question) -> Vector:
        asked = {
            "model": self._model,
            "messages": messages(question.system, question.frames, question.text),
            "encoding_format": "float",
        }
        reply = self._line.post("/embeddings", asked, question.id)
        if (count := len(_list(reply.get("data")))) > 1:
            raise self._garbled(f"{count} vectors for one question", reply)
        numbers = _numbers(_first(reply, "data").get("embedding"))
        if numbers is None or not numbers.size:
            raise self._garbled("no vector", reply)
        with self._learning:
            if self.used.dimension is None:
                self.used = replace(self.used, dimension=numbers.size)
            elif self.used.dimension != numbers.size:
                raise EndpointGarbled(
                    f"{self._line.address} answered with a vector of {numbers.size} numbers, after "
                    f"one of {self.used.dimension}. Usually another model was started under the "
                    "same name; vectors of different models cannot be compared."
                )
        return Vector(question.id, numbers)


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
                "mistyped, or the server was started with another --served-model-name: put one "
                "of these after the #."
            )
        return named
    if len(names) != 1:
        serves = f"{len(names)} models, {_listed(names)}" if names else "no models with names"
        raise EndpointRefused(
            f"{address} serves {serves}, and it is not clear which one to use. Add its name to "
            f"the URL: {address}#{quote(names[0], '/:') if names else 'name'}"
        )
    return names[0]


def _served(line: Line) -> list[str]:
    """The names a server lists."""
    listed = _list(line.get("/models").get("data"))
    names = [entry.get("id") for entry in listed if isinstance(entry, dict)]
    return [name for name in names if _is_name(name)]


def _is_name(name: object) -> TypeGuard[str]:
    """Whether what a server sent may stand in documents as a name."""
    return isinstance(name, str) and 0 < len(name) <= NAME_LETTERS and name.isprintable()


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(repr(name) for name in names[:NAMES])
    return some if len(names) <= NAMES else f"{some} and {len(names) - NAMES} more"


# ── what is asked, and what is answered ──────────────────────────────────────────────────────────


def messages(system: str, frames: Sequence[Frame], text: str) -> list[dict[str, Any]]:
    """A chat of one question: pictures, then words; words alone go as plain text."""
    words = [{"type": "text", "text": text}] if text else []
    pictures = [{"type": "image_url", "image_url": {"url": picture(frame)}} for frame in frames]
    return turns(system, [*pictures, *words] if pictures else text)


def picture(frame: Frame) -> str:
    """A frame as a url that holds it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _first(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The first thing in one of the reply's lists, or nothing."""
    first = next(iter(_list(reply.get(name))), None)
    return first if isinstance(first, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _parts(content: object) -> dict[str, str] | None:
    """The words of a message by their kind, given as one text or in parts; ``None`` if neither.

    Of what is no text (thoughts for one) only the kind counts; it may hold anything.
    """
    if content is None or isinstance(content, str):
        return {"text": content or ""}
    if not isinstance(content, list):
        return None
    found: dict[str, str] = {}
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if kind == "text" else ""
        if not (isinstance(kind, str) and isinstance(text, str)):
            return None
        found[kind] = found.get(kind, "") + text
    return found


def _tokens(usage: object) -> tuple[int | None, int | None]:
    """How many went in and came out, if the server counts them."""
    counts = usage if isinstance(usage, dict) else {}
    given, written = (counts.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return _count(given), _count(written)


#: More tokens than this no answer has; the number is nonsense.
MOST_TOKENS = 10**9


def _count(number: object) -> int | None:
    return number if type(number) is int and 0 <= number <= MOST_TOKENS else None


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
