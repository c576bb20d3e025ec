"""A server that speaks as OpenAI's does, and misbehaves as it is told to.

    with OpenAIServer(script=("ok", "429", "hang")) as server:
        captioner = EndpointCaptioner.load(server.url, max_tokens=64, timeout=5.0)

It listens on a free port of this machine's loopback, and answers ``GET /v1/models``,
``POST /v1/chat/completions`` and ``POST /v1/embeddings``. What it answers follows from what it was
shown, so that a caption on the wrong clip is seen: it decodes the pictures and says
``a picture of mean colour #rrggbb, 8 frames: <the words it was asked>`` (``colour_in`` reads the
colour back; without pictures it says ``more than <the words>``). Vectors begin with the mean red,
green and blue (0 to 1) and the number of pictures, and are of length ``dimension``.

Each POST does the next act of the script, which then begins again (``GET`` does those of
``listing``):

    ok             answers
    any number     answers with this status: 400, 429, 500 …; with ``retry_after`` if that is set
    length         stops in the middle of the words
    content_filter is not allowed to say more
    refusal        does not want to
    empty          says nothing
    thinks         thinks aloud, then answers
    ponders        thinks aloud until it has no words left
    reasons        thinks in the fields for it, and says nothing
    parts          answers in several parts, of which one is a thought
    refuses        does not want to, and says so in a part
    garbage        sends a page of HTML with status 200
    list           sends JSON that is no object
    shapeless      sends an object with nothing of what is wanted
    huge           sends more than anybody wants to hold
    redirect       sends to ``elsewhere``
    hang           says nothing until the server is closed
    drip           sends a letter every few milliseconds, endlessly
    trickle        the same, before it comes to the answer
    chunked        answers in pieces without saying how long it will be
    cut            closes in the middle of the answer
    drop           closes without an answer
    leave          answers, then closes without having said so
    noise          answers something that is not HTTP
    narrow         answers a vector that is one number shorter
    twins          answers two vectors

Whatever the act is, a question with more than ``pictures`` of them gets 400, if that is set.

``did`` counts the acts, ``most_at_once`` says how many requests were under way at the same time,
and ``seen`` holds what was asked, without the pictures. With ``together=n`` nobody is answered
before n requests are there. A server that was not entered yet is plain data and can be pickled;
what it counted can be read after it is closed too. Nothing sleeps: who waits here waits for an
event that closing sets.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai_questions import Seen, question_in, said_of, vector_of

#: Letters of an endless answer, and how many seconds lie between two.
DRIP_SECONDS = 0.005
HUGE_BYTES = 64 << 20
THOUGHT = "Is it a picture? It seems to be."
PAGE = "<html><body>502 Bad Gateway " + "nginx " * 200 + "</body></html>"


class OpenAIServer:
    """Up while it is entered."""

    def __init__(
        self,
        script: Sequence[str] = ("ok",),
        models: Sequence[str] = ("painted",),
        listing: Sequence[str] = ("ok",),
        dimension: int = 12,
        coded: bool = False,
        key: str | None = None,
        retry_after: str | None = None,
        elsewhere: str = "http://user:secret@elsewhere.invalid/v1?token=hidden",
        fingerprint: str | None = None,
        echo: bool = False,
        together: int = 1,
        pictures: int | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.script, self.models, self.listing = tuple(script), tuple(models), tuple(listing)
        self.dimension = dimension
        #: Vectors as base64 whatever was asked for.
        self.coded = coded
        #: Who asks without it gets 401.
        self.key = key
        self.retry_after, self.elsewhere, self.fingerprint = retry_after, elsewhere, fingerprint
        #: Garbage and refusals repeat the key and the path, as careless servers do.
        self.echo = echo
        self.together = together
        #: No question may show more.
        self.pictures = pictures
        #: The files of a certificate and its key: speaks https.
        self.certificate = certificate
        self._live: _Live | None = None

    def __enter__(self) -> OpenAIServer:
        self._live = _Live(self)
        threading.Thread(target=self._live.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.close_all()

    @property
    def live(self) -> _Live:
        assert self._live is not None, "enter the server first: with OpenAIServer() as server"
        return self._live

    @property
    def port(self) -> int:
        return int(self.live.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def did(self) -> Counter[str]:
        with self.live.lock:
            return Counter(seen.act for seen in self.live.seen if "/models" not in seen.path)

    @property
    def seen(self) -> list[Seen]:
        with self.live.lock:
            return list(self.live.seen)

    @property
    def most_at_once(self) -> int:
        with self.live.lock:
            return self.live.most_at_once

    @property
    def connections(self) -> int:
        """How many were opened."""
        with self.live.lock:
            return self.live.connections


class _Live(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: OpenAIServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if server.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*server.certificate)
            # The handshake is made by the thread of the connection: one that fails fails alone.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.told = server
        self.lock = threading.Lock()
        self.closing = threading.Event()
        #: Set when somebody is left hanging.
        self.hung = threading.Event()
        self.meeting = threading.Barrier(server.together)
        self.seen: list[Seen] = []
        self.turns: Counter[str] = Counter()
        self.at_once = self.most_at_once = self.connections = 0
        self.open: set[socket.socket] = set()

    def next_act(self, method: str) -> str:
        script = self.told.listing if method == "GET" else self.told.script
        with self.lock:
            self.turns[method] += 1
            return script[(self.turns[method] - 1) % len(script)]

    def close_all(self) -> None:
        self.closing.set()
        self.meeting.abort()
        self.shutdown()
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Live
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    under_way = False

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.server.open.add(self.connection)

    def finish(self) -> None:
        with self.server.lock:
            self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests have enough to say."""

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._serve(json.loads(self.rfile.read(length)))

    def _serve(self, body: dict[str, Any]) -> None:
        server = self.server
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        self.under_way = True
        try:
            act = server.next_act(self.command)
            seen = question_in(self.path, dict(self.headers), act, body)
            with server.lock:
                server.seen.append(seen)
            if self.command == "POST":
                with contextlib.suppress(threading.BrokenBarrierError):
                    server.meeting.wait(10)
            self._act(act, seen)
        finally:
            self._leave()

    def _leave(self) -> None:
        """No longer under way: before the answer, since who has it may ask again at once."""
        if self.under_way:
            self.under_way = False
            with self.server.lock:
                self.server.at_once -= 1

    def _act(self, act: str, seen: Seen) -> None:
        told = self.server.told
        if told.key is not None and seen.headers.get("Authorization") != f"Bearer {told.key}":
            self._send(401, self._error("who are you?", seen))
        elif told.pictures is not None and len(seen.colours) > told.pictures:
            message = f"At most {told.pictures} image(s) may be provided in one prompt."
            self._send(400, self._error(message, seen))
        elif act.isdecimal():
            headers = {} if told.retry_after is None else {"Retry-After": told.retry_after}
            self._send(int(act), self._error("not now", seen), headers)
        elif act == "garbage":
            self._send(200, f"{self._echo(seen)}{PAGE}".encode())
        elif act == "list":
            self._send(200, b'["no", "object"]')
        elif act == "shapeless":
            nothing = {"object": self._echo(seen), "choices": [], "data": [{}]}
            self._send(200, json.dumps(nothing).encode())
        elif act == "huge":
            page = f"{self._echo(seen)}{PAGE}".encode().ljust(1 << 16)
            self._send(200, page, repeated=HUGE_BYTES >> 16)
        elif act == "redirect":
            self._send(307, b"", {"Location": told.elsewhere})
        elif act == "hang":
            self.server.hung.set()
            self.server.closing.wait()
            self.close_connection = True
        elif act == "drip":
            self._send(200, b"{", length=1 << 20)
            self._drip()
        elif act == "trickle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self._drip()
        elif act == "drop":
            self._close()
        elif act == "noise":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            self._close()
        else:
            answer = json.dumps(self._answer(act, seen)).encode()
            if act == "chunked":
                self._send_in_chunks(answer)
                return
            self._send(200, answer if act != "cut" else answer[:-1], length=len(answer))
            if act in ("cut", "leave"):
                self._close()

    def _drip(self) -> None:
        while not self.server.closing.wait(DRIP_SECONDS):
            self.wfile.write(b" ")

    def _close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, message: str, seen: Seen) -> bytes:
        return json.dumps({"error": {"message": self._echo(seen) + message}}).encode()

    def _echo(self, seen: Seen) -> str:
        heard = f"{seen.headers.get('Authorization')} {seen.path} "
        return heard if self.server.told.echo else ""

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
        repeated: int = 1,
    ) -> None:
        self._leave()
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body) * repeated))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        for _ in range(repeated):
            self.wfile.write(body)

    def _send_in_chunks(self, body: bytes) -> None:
        self._leave()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for first in range(0, len(body), 16):
            piece = body[first : first + 16]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, act: str, seen: Seen) -> dict[str, Any]:
        told = self.server.told
        if seen.path.split("?")[0] == "/v1/models":
            return {"object": "list", "data": [{"id": name} for name in told.models]}
        if seen.path.split("?")[0] == "/v1/embeddings":
            vectors = [self._embedding(act, seen)] * (2 if act == "twins" else 1)
            data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
            return {"object": "list", "model": seen.model, "data": data}
        assert seen.path.split("?")[0] == "/v1/chat/completions", seen.path
        reasons = {"length": act, "content_filter": act, "ponders": "length"}
        message = {"role": "assistant", **_message(act, said_of(seen))}
        return {
            "model": seen.model,
            "system_fingerprint": told.fingerprint,
            "choices": [
                {"index": 0, "message": message, "finish_reason": reasons.get(act, "stop")}
            ],
            "usage": {"prompt_tokens": len(seen.text.split()), "completion_tokens": 7},
        }

    def _embedding(self, act: str, seen: Seen) -> list[float] | str:
        told = self.server.told
        vector = vector_of(seen.colours, told.dimension - (act == "narrow"))
        if told.coded or seen.body.get("encoding_format") == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        return [float(number) for number in vector]


# ── what follows from what was shown ─────────────────────────────────────────────────────────────


def _message(act: str, text: str) -> dict[str, Any]:
    """What a captioner does with what it would say."""
    if act == "refusal":
        return {"content": None, "refusal": "I would rather not."}
    if act == "reasons":
        return {"content": None, "reasoning": THOUGHT, "reasoning_content": THOUGHT}
    contents: dict[str, Any] = {
        "length": text.rpartition(" ")[0],
        "content_filter": text.rpartition(" ")[0],
        "empty": "",
        "thinks": f"<think>\n{THOUGHT}\n</think>\n\n{text}",
        "ponders": f"<think>\n{THOUGHT}",
        "parts": [
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            {"type": "text", "text": text[:10]},
            {"type": "text", "text": text[10:]},
        ],
        "refuses": [{"type": "refusal", "refusal": "I would rather not."}],
    }
    return {"content": contents.get(act, text)}
