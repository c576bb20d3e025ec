"""Models behind a server: identity, patience, and what is never said."""

from __future__ import annotations

import base64
import json
import math
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from openai_questions import colour_in, vector_of
from openai_server import OpenAIServer
from places import ROOT

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import (
    BLOCKED,
    EMPTY,
    OK,
    TRUNCATED,
    Answer,
    Asked,
    Model,
    Question,
    Said,
    Trouble,
    Vector,
)
from finecut.transforms.models.endpoint import models
from finecut.transforms.models.endpoint.address import (
    KEYS,
    Address,
    EndpointDown,
    EndpointError,
    EndpointGarbled,
    EndpointRefused,
    check_address,
    name_in,
)
from finecut.transforms.models.endpoint.line import RETRIES, waiting_time
from finecut.transforms.models.endpoint.models import (
    PICTURES,
    EndpointCaptioner,
    EndpointEmbedder,
    EndpointWriter,
    require_endpoint,
)
from finecut.transforms.models.words import spread, without_thoughts

COLOURS = [(240, 16, 16), (16, 200, 32), (24, 32, 220), (230, 220, 20), (128, 128, 128)]
#: Far more than a server on this machine needs; nobody waits for it.
LONG = 60.0
LIMITS: dict[str, Any] = {"max_tokens": 9, "timeout": LONG}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@dataclass
class Pauses:
    """Counts the seconds that would have been waited."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def plain(colour: tuple[int, int, int], height: int = 40, width: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def film(place: int, count: int = 3) -> tuple[NDArray[np.uint8], ...]:
    return (plain(COLOURS[place % len(COLOURS)]),) * count


def question(place: int = 0, text: str = "What is it?", **more: Any) -> Question:
    return Question(f"clip{place}/0_9", film(place), 2.0, text, **more)


def captioner(server: OpenAIServer, **more: Any) -> EndpointCaptioner:
    settings = {"max_tokens": 64, "timeout": LONG, "pause": Pauses(), **more}
    return EndpointCaptioner.load(server.url, **settings)


def embedder(server: OpenAIServer, **more: Any) -> EndpointEmbedder:
    return EndpointEmbedder.load(server.url, **{"timeout": LONG, "pause": Pauses(), **more})


def said(answers: Sequence[Answer]) -> Said:
    [answer] = answers
    assert isinstance(answer, Said), answer
    return answer


def trouble(answers: Sequence[Answer]) -> Trouble:
    [answer] = answers
    assert isinstance(answer, Trouble), answer
    return answer


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def near(text: str, place: int) -> bool:
    """Whether a caption is of this film's colour, as JPEG leaves it."""
    return math.dist(colour_in(text), COLOURS[place % len(COLOURS)]) < 12


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_caption_is_of_what_was_shown_and_asked() -> None:
    with OpenAIServer(fingerprint="fp_1") as server:
        model = captioner(server)
        assert model.used == ModelUsed("painted")
        answer = said(model.answer([question(2, system="You are terse.")]))
        assert answer.id == "clip2/0_9"
        assert near(answer.text, 2)
        assert answer.text.endswith("3 frames: What is it?")
        assert (answer.status, answer.prompt_tokens, answer.output_tokens) == (OK, 3, 7)
        assert model.used == ModelUsed("painted", "fp_1")
        seen = server.seen[-1]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {"model": "painted", "temperature": 0, "max_tokens": 64}
    assert (seen.system, seen.text, seen.sizes) == (
        "You are terse.",
        "What is it?",
        ((64, 40),) * 3,
    )
    assert "Authorization" not in seen.headers
    assert seen.headers["X-Request-Id"].startswith("clip2/0_9-")


def test_pictures_come_in_the_order_of_time_and_before_the_words() -> None:
    frames = [plain(colour) for colour in COLOURS]
    [message] = models.messages("", frames, "Go on.")
    assert [part["type"] for part in message["content"]] == ["image_url"] * 5 + ["text"]
    with OpenAIServer() as server:
        captioner(server).answer([Question("a", frames, text="Go on.")])
        shown = server.seen[-1].colours
    for colour, wanted in zip(shown, COLOURS, strict=True):
        assert math.dist(colour, wanted) < 12


def test_a_picture_survives_its_journey() -> None:
    rows, columns = np.mgrid[0:96, 0:128]
    frame = np.stack([rows * 2, columns, (rows + columns)], axis=-1).astype(np.uint8)
    frame.flags.writeable = False
    with OpenAIServer() as server:
        captioner(server).answer([Question("a", [frame[:, ::-1]], text="?")])
        [colour] = server.seen[-1].colours
    assert colour == pytest.approx(frame.mean((0, 1)), abs=2)


@pytest.mark.parametrize(
    ("act", "status", "has_text"),
    [
        ("ok", OK, True),
        ("length", TRUNCATED, True),
        ("empty", EMPTY, False),
        ("content_filter", BLOCKED, False),
        ("refusal", BLOCKED, False),
        ("refuses", BLOCKED, False),
        ("thinks", OK, True),
        ("ponders", EMPTY, False),
        ("reasons", EMPTY, False),
        ("parts", OK, True),
    ],
)
def test_what_became_of_a_text_is_said(act: str, status: str, has_text: bool) -> None:
    with OpenAIServer(script=[act]) as server:
        answer = said(captioner(server).answer([question()]))
    assert (answer.status, bool(answer.text)) == (status, has_text)


@pytest.mark.parametrize("act", ["thinks", "parts"])
def test_what_was_thought_is_no_caption(act: str) -> None:
    with OpenAIServer(script=["ok", act]) as server:
        model = captioner(server, parallel=1)
        plainly = said(model.answer([question(1)]))
        assert said(model.answer([question(1)])) == plainly
        writer = EndpointWriter.load(server.url, max_tokens=9, timeout=LONG)
        plainly = said(writer.answer([question(1)]))
        assert said(writer.answer([question(1)])) == plainly
        assert server.did == {"ok": 2, act: 2}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("A dog runs.", "A dog runs."),
        ("  A dog runs.\n", "  A dog runs.\n"),
        ("<think>Hm.</think>\n\nA dog runs.", "A dog runs."),
        ("\n<think>\nHm.\n</think>A dog runs.", "A dog runs."),
        ("<think></think><think>Hm.</think>\nA dog runs.", "A dog runs."),
        ("<think>", ""),
        ("<think>Hm, there is\n\na dog", ""),
        ("<think>Hm.</think>", ""),
        ("<think>Hm.</think>\n<think>Or", ""),
        # The template began the thought.
        ("Hm.\nA dog?\n</think>\n\nA dog runs.", "A dog runs."),
        ("Hm.</think> \n<think>And</think>A dog runs.", "A dog runs."),
        ("Hm.\n</think>", ""),
        # Who speaks of thinking does not think.
        ("A sign says <think>.", "A sign says <think>."),
        ("A sign says </think> in red.", "A sign says </think> in red."),
        ("<think>Hm.</think>\nA sign says <think>no</think>.", "A sign says <think>no</think>."),
        ("", ""),
    ],
)
def test_thoughts_in_front_of_a_text_are_left_out(text: str, rest: str) -> None:
    assert without_thoughts(text) == rest


@given(st.lists(st.sampled_from(["<think>", "</think>", "\n", " ", "a"])).map("".join), st.data())
def test_what_is_left_out_is_in_front_and_ends_a_thought(text: str, data: st.DataObject) -> None:
    rest = without_thoughts(text)
    assert text.endswith(rest)
    assert rest == text or not rest or text.removesuffix(rest).rstrip().endswith("</think>")
    assert not rest.lstrip().startswith("<think>")
    answer = data.draw(st.text("xyz ", min_size=1).map(str.strip))
    if "<think>" not in text and "</think>" not in text:
        assert without_thoughts(f"<think>{text}</think>\n{answer}") == answer


def test_endless_thoughts_are_read_once() -> None:
    for text in ("<think>" * 100_000, "<think></think>" * 100_000, "a</think>" * 100_000 + "\n"):
        assert without_thoughts(text) == ""


def test_as_many_pictures_are_shown_as_a_server_takes() -> None:
    clip = [plain((n, 255 - n, 90)) for n in range(0, 240, 3)]
    with OpenAIServer(pictures=PICTURES) as server:
        model = captioner(server)
        assert said(model.answer([Question("many", clip, text="?")])).status == OK
        shown = [colour[0] for colour in server.seen[-1].colours]
        assert len(shown) == PICTURES < len(clip)
        assert shown[0] == pytest.approx(0, abs=3)
        assert shown[-1] == pytest.approx(237, abs=3)
        assert shown == sorted(shown)
        said(model.answer([Question("exactly", clip[:PICTURES], text="?")]))
        assert len(server.seen[-1].colours) == PICTURES
    with OpenAIServer(pictures=3) as server:
        answer = trouble(captioner(server).answer([Question("few", clip[:4], text="?")]))
    assert "At most 3 image(s)" in answer.message
    assert "--limit-mm-per-prompt" in answer.message


@given(st.integers(0, 800), st.integers(2, 100))
def test_fewer_frames_are_evenly_spread(count: int, most: int) -> None:
    frames = np.arange(count)
    chosen = [int(frame) for frame in spread(frames, most)]  # type: ignore[arg-type]
    assert len(chosen) == min(count, most)
    if count <= most:
        assert chosen == list(range(count))
        return
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    steps = np.diff(chosen)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1
    ideal = np.linspace(0, count - 1, most)
    assert np.abs(ideal - chosen).max() <= 0.5 + 1e-9


def test_the_docs_start_a_server_that_takes_all_pictures() -> None:
    page = ROOT / "docs/models.md"
    limits = re.findall(r"--limit-mm-per-prompt '(.*?)'", page.read_text(encoding="utf-8"))
    assert [json.loads(limit) for limit in limits] == [{"image": PICTURES}]


def test_a_writer_is_shown_words_only() -> None:
    with OpenAIServer() as server:
        model = EndpointWriter.load(server.url, max_tokens=9, timeout=LONG)
        answer = said(model.answer([question(text="A dog.", system="Say more.")]))
        seen = server.seen[-1]
    assert answer.text == "more than A dog."
    assert (seen.colours, seen.text, seen.system) == ((), "A dog.", "Say more.")
    assert seen.body["max_tokens"] == 9


@pytest.mark.parametrize("coded", [False, True])
def test_a_vector_is_of_what_was_shown(coded: bool) -> None:
    with OpenAIServer(dimension=20, coded=coded) as server:
        model = embedder(server)
        answers = model.answer([question(place, text="") for place in range(5)])
        seen = {seen.headers["X-Request-Id"][:9]: seen for seen in server.seen[1:]}
    assert model.used == ModelUsed("painted", None, 20)
    for place, answer in enumerate(answers):
        assert isinstance(answer, Vector)
        assert answer.numbers.dtype == np.float32
        assert answer.id == f"clip{place}/0_9"
        assert math.dist(answer.numbers[:3] * 255, COLOURS[place]) < 12
        assert answer.numbers[3] == 3
        # To the last bit: float32 goes through JSON unharmed.
        assert answer.numbers.tolist() == vector_of(seen[answer.id].colours, 20).tolist()
    assert (EndpointEmbedder.frames, EndpointEmbedder.side) == (8, 336)


def test_another_dimension_than_before_is_an_error() -> None:
    with OpenAIServer(script=["ok", "narrow", "ok"]) as server:
        model = embedder(server, parallel=1)
        answers = model.answer([question(place) for place in range(3)])
    assert [type(answer) for answer in answers] == [Vector, Trouble, Vector]
    assert isinstance(answers[1], Trouble)
    assert "of 11 numbers, after one of 12" in answers[1].message
    assert model.used.dimension == 12


@pytest.mark.parametrize(
    "embedding",
    [None, [], "", "no base64!", "AAAA", ["1.0"], [True], [[1.0]], {"a": 1}, 7, [10**400]],
)
def test_what_is_no_vector_is_none(embedding: object) -> None:
    numbers = models._numbers(embedding)
    assert numbers is None or not numbers.size


def test_numbers_that_are_none_are_left_to_who_asked() -> None:
    numbers = models._numbers(json.loads("[1.5, NaN, 1e300]"))
    assert numbers is not None
    assert numbers[0] == 1.5
    assert np.isfinite(numbers).tolist() == [True, False, False]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_vectors_come_out_as_they_went_in(values: list[float]) -> None:
    vector = np.array(values, np.float32)
    listed = models._numbers(json.loads(json.dumps(vector.tolist())))
    coded = models._numbers(base64.b64encode(vector.tobytes()).decode())
    assert listed is not None
    assert coded is not None
    assert listed.tobytes() == coded.tobytes() == vector.tobytes()


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


def test_so_many_are_asked_at_once_and_no_more() -> None:
    with OpenAIServer(together=4) as server:
        answers = captioner(server, parallel=4).answer([question(place) for place in range(24)])
        assert server.most_at_once == 4
        # One for the question which models there are, which another may take over.
        assert 4 <= server.connections <= 5
    assert [answer.id for answer in answers] == [f"clip{place}/0_9" for place in range(24)]
    for place, answer in enumerate(answers):
        assert isinstance(answer, Said)
        assert near(answer.text, place)


def test_each_fails_alone_and_answers_stay_with_their_questions() -> None:
    acts = ("ok", "garbage", "500", "length", "400", "drop", "huge", "ok", "shapeless", "redirect")
    with OpenAIServer(script=acts) as server:
        asked = Asked(captioner(server, parallel=3))
        answers = asked.answers([question(place) for place in range(20)])
        did = server.did
    assert [answer.id for answer in answers] == [f"clip{place}/0_9" for place in range(20)]
    good = [answer for answer in answers if isinstance(answer, Said)]
    bad = [answer for answer in answers if isinstance(answer, Trouble)]
    for answer in good:
        assert near(answer.text, int(answer.id[4:].partition("/")[0]))
    assert len(good) == did["ok"] + did["length"]
    names = [answer.error for answer in bad]
    assert names.count("EndpointGarbled") == did["garbage"] + did["huge"] + did["shapeless"]
    assert names.count("EndpointRefused") == did["400"] + did["redirect"]
    # What can pass, passed.
    assert "EndpointDown" not in names


def test_a_question_that_cannot_be_put_costs_itself() -> None:
    odd = Question("odd", (np.zeros((4, 4, 7), np.uint8),), text="?")
    with OpenAIServer() as server:
        answers = captioner(server).answer([question(0), odd, question(1)])
    assert [type(answer) for answer in answers] == [Said, Trouble, Said]
    assert [answer.id for answer in answers] == ["clip0/0_9", "odd", "clip1/0_9"]


def test_models_are_what_asking_takes_them_for() -> None:
    with OpenAIServer() as server:
        writer = EndpointWriter.load(server.url, max_tokens=9, timeout=LONG)
        models: list[Model] = [captioner(server), writer, embedder(server)]
        for model in models:
            assert model.answer([]) == []
            asked = Asked(model)
            assert [a.id for a in asked.answers(question(n) for n in range(3))] == [
                f"clip{n}/0_9" for n in range(3)
            ]
        assert server.did == {"ok": 9}


# ── patience ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("act", ["429", "500", "503", "drop", "cut", "noise"])
def test_what_may_pass_is_asked_again(act: str) -> None:
    pauses = Pauses()
    with OpenAIServer(script=[act, act, "ok"]) as server:
        # With its name the model is not asked for: there is no kept connection to break first.
        model = EndpointCaptioner.load(
            f"{server.url}#painted", max_tokens=9, timeout=LONG, pause=pauses
        )
        answer = said(model.answer([question(1)]))
        assert server.did == {act: 2, "ok": 1}
    assert near(answer.text, 1)
    assert len(pauses.seconds) == 2
    for seconds, usual in zip(pauses.seconds, (1, 2), strict=True):
        assert usual / 2 <= seconds <= usual * 1.5


def test_patience_ends_after_five_more_times() -> None:
    pauses = Pauses()
    with OpenAIServer(script=["503"]) as server:
        answer = trouble(captioner(server, timeout=1000.0, pause=pauses).answer([question()]))
        assert server.did == {"503": 1 + RETRIES}
    assert answer.error == "EndpointDown"
    assert "after 6 attempts" in answer.message
    assert "answered 503" in answer.message
    assert "not now" in answer.message
    assert len(pauses.seconds) == RETRIES
    for attempt, seconds in enumerate(pauses.seconds):
        assert 2**attempt / 2 <= seconds <= 2**attempt * 1.5


def test_patience_ends_with_the_time() -> None:
    pauses = Pauses()
    with OpenAIServer(script=["503"]) as server:
        answer = trouble(captioner(server, timeout=0.4, pause=pauses).answer([question()]))
        assert server.did == {"503": 1}
    assert answer.error == "EndpointDown"
    assert pauses.seconds == [], "a pause longer than what is left is no use"


def test_a_server_may_say_how_long_to_wait() -> None:
    pauses = Pauses()
    with OpenAIServer(script=["429", "ok"], retry_after="17") as server:
        said(captioner(server, pause=pauses).answer([question()]))
    assert pauses.seconds == [17.0]


def test_who_is_told_to_wait_too_long_gives_up_at_once() -> None:
    pauses = Pauses()
    with OpenAIServer(script=["429"], retry_after="3600") as server:
        answer = trouble(captioner(server, pause=pauses).answer([question()]))
        assert server.did == {"429": 1}
    assert answer.error == "EndpointDown"
    assert pauses.seconds == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0.0),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_waiting_times_are_read(said: str | None, seconds: float) -> None:
    assert waiting_time(said) == seconds


def test_waiting_times_may_be_dates() -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 90 < waiting_time(date) <= 100


@pytest.mark.parametrize("act", ["400", "401", "404", "413", "422", "garbage", "list", "shapeless"])
def test_what_will_not_pass_is_not_asked_again(act: str) -> None:
    pauses = Pauses()
    with OpenAIServer(script=[act]) as server:
        answer = trouble(captioner(server, pause=pauses).answer([question()]))
        assert server.did == {act: 1}
        assert server.url in answer.message
    assert pauses.seconds == []
    assert answer.error == ("EndpointRefused" if act.isdecimal() else "EndpointGarbled")


def test_a_server_that_fell_silent_is_asked_once_more() -> None:
    with OpenAIServer(script=["hang", "ok"]) as server:
        start = time.monotonic()
        answer = said(captioner(server, timeout=3.0).answer([question(3)]))
        assert 1.4 < time.monotonic() - start < 3.0
    assert near(answer.text, 3)


@pytest.mark.parametrize("act", ["hang", "drip", "trickle"])
def test_nobody_is_waited_for_longer_than_said(act: str) -> None:
    with OpenAIServer(script=[act]) as server:
        start = time.monotonic()
        answers = captioner(server, timeout=0.6).answer([question(place) for place in range(4)])
        assert time.monotonic() - start < 5
    for answer in answers:
        assert isinstance(answer, Trouble)
        assert answer.error == "EndpointDown"
        assert "All attempts together had 0.6 seconds" in answer.message


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with OpenAIServer(script=["huge"]) as server:
        answer = trouble(captioner(server).answer([question()]))
    assert answer.error == "EndpointGarbled"
    assert "more than 4 MB" in answer.message


def test_garbage_is_quoted_but_not_all_of_it() -> None:
    with OpenAIServer(script=["garbage"]) as server:
        answer = trouble(captioner(server).answer([question()]))
    assert "502 Bad Gateway nginx" in answer.message
    assert answer.message.count("nginx ") < 40
    assert len(answer.message) < 500


@pytest.mark.parametrize("act", ["shapeless", "twins"])
def test_an_embedder_wants_one_vector(act: str) -> None:
    with OpenAIServer(script=[act]) as server:
        answer = trouble(embedder(server).answer([question()]))
    assert answer.error == "EndpointGarbled"


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"message": "words"}]},
        {"choices": [{"message": {"content": ["words"]}}]},
        {"choices": [{"message": {"content": {"type": "text", "text": "words"}}}]},
        {"choices": [{"message": {"content": [{"text": "words"}]}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": None}]}}]},
        {"choices": [{"message": {"content": "half"}, "finish_reason": "abort"}]},
    ],
)
def test_other_shapes_are_no_answer(reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = EndpointCaptioner.load("http://127.0.0.1:1/v1#painted", max_tokens=9, timeout=LONG)
    monkeypatch.setattr(model._line, "post", lambda *_: reply)
    assert trouble(model.answer([question()])).error == "EndpointGarbled"


def test_tokens_are_counted_only_where_they_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = EndpointCaptioner.load("http://127.0.0.1:1/v1#painted", max_tokens=9, timeout=LONG)
    for usage in (None, 7, {}, {"prompt_tokens": "3", "completion_tokens": True}):
        reply = {"choices": [{"message": {"content": "A dog."}}], "usage": usage}
        monkeypatch.setattr(model._line, "post", lambda *_, reply=reply: reply)
        assert said(model.answer([question()])) == Said("clip0/0_9", "A dog.")


# ── connections ──────────────────────────────────────────────────────────────────────────────────


def test_connections_are_used_again() -> None:
    with OpenAIServer() as server:
        model = captioner(server, parallel=1)
        for place in range(5):
            model.answer([question(place)])
        assert server.connections == 1


def test_answers_may_come_in_pieces() -> None:
    with OpenAIServer(script=["chunked"]) as server:
        model = captioner(server, parallel=1)
        for place in range(3):
            assert near(said(model.answer([question(place)])).text, place)
        assert server.connections == 1


def test_a_kept_connection_that_was_closed_is_replaced_at_once() -> None:
    pauses = Pauses()
    with OpenAIServer(script=["leave"]) as server:
        model = captioner(server, parallel=1, pause=pauses)
        for place in range(4):
            assert near(said(model.answer([question(place)])).text, place)
    assert pauses.seconds == []


def test_nothing_listens() -> None:
    port = free_port()
    model = EndpointCaptioner.load(
        f"http://127.0.0.1:{port}/v1#m", max_tokens=9, timeout=LONG, pause=Pauses()
    )
    answer = trouble(model.answer([question()]))
    assert answer.error == "EndpointDown"
    assert "nothing is listening there (connection refused)" in answer.message
    assert f"http://127.0.0.1:{port}/v1" in answer.message


def test_a_redirect_is_not_followed() -> None:
    with OpenAIServer() as other:
        with OpenAIServer(script=["redirect"], elsewhere=f"{other.url}/chat/completions") as server:
            answer = trouble(captioner(server, key="sk-secret").answer([question()]))
        assert other.seen == []
    assert answer.error == "EndpointRefused"
    assert f"it redirects to 'http://127.0.0.1:{other.port}'" in answer.message


# ── https ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for this machine that signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    own, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", own]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed, and a certificate is needed")
    return own, key


def test_https_is_spoken_with_who_is_trusted(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with OpenAIServer(certificate=certificate, script=["ok", "leave"]) as server:
        model = captioner(server, parallel=2)
        answers = model.answer([question(place) for place in range(6)])
    assert [isinstance(answer, Said) and near(answer.text, n) for n, answer in enumerate(answers)]
    assert all(isinstance(answer, Said) for answer in answers)


def test_who_is_not_trusted_is_told_nothing(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses()
    with OpenAIServer(certificate=certificate) as server:
        with pytest.raises(EndpointRefused, match="certificate is not trusted"):
            captioner(server, pause=pauses)
        assert server.seen == []
    assert pauses.seconds == []


def test_https_to_who_speaks_http() -> None:
    with OpenAIServer() as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(EndpointDown, match="write http:// instead"):
            require_endpoint(url, pause=Pauses())


# ── which model ──────────────────────────────────────────────────────────────────────────────────


def test_the_only_model_is_meant() -> None:
    with OpenAIServer(models=["Qwen/Qwen2.5-VL-7B-Instruct"]) as server:
        assert require_endpoint(server.url) == ModelUsed("Qwen/Qwen2.5-VL-7B-Instruct")
        assert require_endpoint(f"{server.url}/") == ModelUsed("Qwen/Qwen2.5-VL-7B-Instruct")
        model = captioner(server)
        model.answer([question()])
        assert server.seen[-1].model == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_the_url_says_which_of_several() -> None:
    with OpenAIServer(models=["one", "org/two"]) as server:
        for load in (captioner, embedder):
            with pytest.raises(EndpointRefused, match=r"2 models, 'one', 'org/two'.*v1#one"):
                load(server)
        url = f"{server.url}#org/two"
        assert require_endpoint(url) == ModelUsed("org/two")
        model = EndpointCaptioner.load(url, max_tokens=9, timeout=LONG)
        assert model.used == ModelUsed("org/two")
        model.answer([question()])
        assert server.seen[-1].model == "org/two"
        with pytest.raises(EndpointRefused, match=r"no model 'three', but 'one', 'org/two'"):
            require_endpoint(f"{server.url}#three")


def test_the_name_that_is_proposed_can_be_written() -> None:
    with OpenAIServer(models=["@cf/a b:7", "other"]) as server:
        with pytest.raises(EndpointRefused) as caught:
            captioner(server)
        proposed = str(caught.value).rpartition(" ")[2]
        assert name_in(proposed) == "@cf/a b:7"
        assert require_endpoint(proposed) == ModelUsed("@cf/a b:7")


def test_long_lists_are_cut() -> None:
    match = r"500 models, 'm0'.*'m9' and 490 more"
    with (
        OpenAIServer(models=[f"m{n}" for n in range(500)]) as server,
        pytest.raises(EndpointRefused, match=match) as caught,
    ):
        require_endpoint(server.url)
    assert len(str(caught.value)) < 500


def test_names_are_names() -> None:
    odd = ["", "a\nb", "\x1b[2J", "\ud800", "long" * 100, "fine"]
    with OpenAIServer(models=odd, fingerprint="\ud800") as server:
        model = captioner(server)
        assert said(model.answer([question()])).status == OK
    assert model.used == ModelUsed("fine")


def test_a_server_without_models_is_no_use() -> None:
    with OpenAIServer(models=[]) as server:
        with pytest.raises(EndpointRefused, match="serves no models"):
            require_endpoint(server.url)
        # It may not care to list what it has.
        assert require_endpoint(f"{server.url}#mine") == ModelUsed("mine")


@pytest.mark.parametrize(
    ("act", "error", "match"),
    [
        ("404", EndpointRefused, "lacks /v1"),
        ("401", EndpointRefused, "Set FINECUT_API_KEY"),
        ("503", EndpointDown, "after 2 attempts"),
        ("garbage", EndpointGarbled, "not a JSON object"),
        ("redirect", EndpointRefused, "'http://elsewhere.invalid'"),
    ],
)
def test_a_check_fails_with_a_reason(act: str, error: type[EndpointError], match: str) -> None:
    with OpenAIServer(listing=[act]) as server, pytest.raises(error, match=match):
        require_endpoint(f"{server.url}#painted", pause=Pauses())


def test_a_check_where_nothing_listens() -> None:
    with pytest.raises(
        EndpointDown, match=r"127\.0\.0\.1:\d+/v1 gave no usable response after 2 attempts.*refused"
    ):
        require_endpoint(f"http://127.0.0.1:{free_port()}/v1", pause=Pauses())


# ── keys and secrets ─────────────────────────────────────────────────────────────────────────────


def test_the_key_is_sent_and_the_environment_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(key="sk-1") as server:
        with pytest.raises(EndpointRefused, match="who are you"):
            require_endpoint(server.url)
        assert require_endpoint(server.url, key="sk-1") == ModelUsed("painted")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        assert require_endpoint(server.url) == ModelUsed("painted")
        monkeypatch.setenv("FINECUT_API_KEY", "sk-2")
        with pytest.raises(EndpointRefused):
            require_endpoint(server.url)
        monkeypatch.setenv("FINECUT_API_KEY", " sk-1\n")
        assert said(captioner(server).answer([question()])).status == OK
        assert {seen.headers["Authorization"] for seen in server.seen[1:]} == {
            "Bearer sk-1",
            "Bearer sk-2",
        }


def test_the_url_may_hold_a_user_and_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-them")
    with OpenAIServer() as server:
        url = server.url.replace("//", "//me:p%40ss@") + "?token=abcdef#painted"
        said(EndpointCaptioner.load(url, max_tokens=9, timeout=LONG).answer([question()]))
        seen = server.seen[-1]
    assert seen.path == "/v1/chat/completions?token=abcdef"
    assert seen.headers["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


SECRETS = ("sk-topsecret", "hunter2!", "hunter2%21", "t0kenvalue", "bWU6aHVudGVyMiE=")


@pytest.mark.parametrize("key", ["sk-topsecret", None])
@pytest.mark.parametrize(
    "act", ["400", "401", "500", "garbage", "shapeless", "huge", "redirect", "drop", "noise"]
)
def test_secrets_are_never_said(act: str, key: str | None) -> None:
    with OpenAIServer(script=[act], echo=True) as server:
        url = server.url.replace("//", "//me:hunter2%21@") + "?token=t0kenvalue&v=1"
        model = EndpointCaptioner.load(url, max_tokens=9, timeout=LONG, key=key, pause=Pauses())
        answer = trouble(model.answer([question()]))
        sent = str(server.seen[-1])
        assert "t0kenvalue" in sent
        assert (key or "bWU6aHVudGVyMiE=") in sent
        assert server.url in answer.message
    shown = f"{answer} {model!r} {model.used} {model._line.address!r} {model._line.address}"
    assert not [secret for secret in SECRETS if secret in shown]
    if act not in ("redirect", "drop", "noise"):
        assert shown.count("***") == 2, "a server that repeats nothing would prove nothing"


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ftp://me:hunter2!@host/v1", "begins with 'ftp'"),
        ("me:hunter2!@host:8000/v1", "has no scheme"),
        ("host:8000/v1", "has no scheme"),
        ("", "has no scheme"),
        ("file:///etc/passwd", "begins with 'file'"),
        ("http://", "has no host"),
        ("http://:80/v1", "has no host"),
        ("http://me:hunter2!@host:port/v1", "has no host"),
        ("http://me:hunter2!@host:99999/v1", "has no host"),
        ("http://host:0/v1", "has no host"),
        ("http://[::1/v1", "has no host"),
        ("http://host/v 1?token=hunter2!", "spaces"),
        ("http://höst/v1", "non-ASCII"),
        ("http://host/v1\r\nX: hunter2!", "control characters"),
        ("me:hunter2!://host/v1", "has no scheme"),
        ("http://me:1#hunter2!@host/v1", "an @ after its host.*encode # as %23"),
        ("http://me:1/hunter2!@host/v1#m", "an @ after its host"),
        ("http://me:1?hunter2!@host/v1", "an @ after its host"),
        ("http://me:hunter2!#@host:8000/v1#m", "an @ after its host"),
        ("http://me:hunter2!@host/v1#", "ends with a # but no name"),
        ("http://me:hunter2!@host/v1# ", "ends with a # but no name"),
        ("http://me:hunter2!@host/v1#%20", "ends with a # but no name"),
        ("http://me:hunter2!@host/v1#a\nb", "control characters"),
        ("http://me:hunter2!@host/v1#a%0ab", "control characters"),
        ("http://host/v1#" + "a" * 201, "more than 200 characters"),
    ],
)
def test_what_is_no_url_is_refused(url: str, match: str) -> None:
    wrong = check_address(url, "--captioning-endpoint")
    assert wrong is not None
    assert wrong.startswith("--captioning-endpoint ")
    assert re.search(match, wrong)
    assert "hunter2" not in wrong
    with pytest.raises(EndpointRefused, match=match):
        name_in(url)
    with pytest.raises(EndpointRefused, match=match) as caught:
        require_endpoint(url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EndpointRefused, match=match):
        EndpointEmbedder.load(url, timeout=LONG)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://host:8000/v1", ""),
        ("https://me:p%23ss@host?token=t0kenvalue", ""),
        ("http://host/v1#Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("HTTP://me:p@ss@[::1]:80/v1?a=b#qwen2.5:7b", "qwen2.5:7b"),
        ("http://host/v1#%40cf/meta%20x", "@cf/meta x"),
        ("http://host/v1#a#b", "a#b"),
        ("http://host/v1# Köter ", "Köter"),
    ],
)
def test_the_name_in_a_url_is_that_of_its_model(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No key is looked for, so none can be wrong.
    monkeypatch.setenv("OPENAI_API_KEY", "a b")
    assert check_address(url) is None
    assert name_in(url) == name
    assert Address.read(url, key="sk-1").model == (name or None)


@given(st.text("#@/?:%ab1 ", max_size=12), st.text("#@/?:%ab1 ", max_size=12))
def test_a_url_is_understood_or_said_to_be_wrong(password: str, fragment: str) -> None:
    """Nothing else than refusals, and no piece of a password where it is shown."""
    url = f"http://zzz:{password}@host/v1#{fragment}"
    if check_address(url) is None:
        address = Address.read(url)
        assert str(address) == "http://host/v1"
        assert (address.model or "") == name_in(url) != ""
    else:
        with pytest.raises(EndpointRefused):
            Address.read(url)


def test_checking_an_address_imports_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules)"
    code += "; import finecut.transforms.models.endpoint.address as address"
    code += "; assert address.check_address('host') and address.name_in('http://host#m') == 'm'"
    code += "; print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    others = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert others == {"finecut"}


@pytest.mark.parametrize("key", ["sk-sec\nX: y", "sk-sec ret", "sk-secé"])
def test_what_is_no_key_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointRefused, match="the key that was given contains") as caught:
        EndpointEmbedder.load("http://host/v1#m", timeout=LONG, key=key)
    assert "sk-sec" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EndpointRefused, match="the key in OPENAI_API_KEY contains"):
        EndpointEmbedder.load("http://host/v1#m", timeout=LONG)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("HTTP://Host:8000/v1/", "http://host:8000/v1"),
        ("https://u:p@host/v1?q=1#m", "https://host/v1"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://host:80", "https://host:80"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert str(Address.read(url)) == shown


@given(st.text(min_size=4), st.text(), st.text())
def test_no_quotation_holds_a_secret(secret: str, before: str, after: str) -> None:
    address = Address(False, "host", 80, "", None, secrets=(secret,))
    quoted = address.quoted(f"{before}{secret}{after}")
    assert len(quoted) <= 200
    assert quoted.isprintable()
    if secret.isprintable() and secret == " ".join(secret.split()) and "*" not in secret:
        # Apart from one that comes about by what is around it.
        assert (
            secret not in quoted or secret in f"{before}{after}" or secret in f"{before}***{after}"
        )


# ── the server of the tests ──────────────────────────────────────────────────────────────────────


def test_the_server_is_data_until_it_is_entered(tmp_path: Path) -> None:
    server = pickle.loads(pickle.dumps(OpenAIServer(script=["ok", "length"], dimension=5)))
    with server:
        model = captioner(server, parallel=1)
        statuses = [said(model.answer([question()])).status for _ in range(4)]
        assert embedder(server).answer([]) == []
    assert statuses == [OK, TRUNCATED] * 2
    assert server.did == {"ok": 2, "length": 2}


@pytest.fixture
def hanging() -> Iterator[OpenAIServer]:
    with OpenAIServer(script=["hang"]) as server:
        yield server


def test_a_closed_server_lets_go(hanging: OpenAIServer) -> None:
    model = captioner(hanging)
    pending = model._threads.submit(model.answer, [question()])
    assert hanging.live.hung.wait(10)
    hanging.live.close_all()
    assert trouble(pending.result(10)).error == "EndpointDown"
