"""A server that speaks the chat API on loopback and can misbehave in every way that real ones do."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

GOOD = "good"
FAULTS = (
    "429",
    "429 with Retry-After",
    "429 with ms",
    "500",
    "503",
    "hang",
    "cut",
    "half sent",
    "broken JSON",
    "empty",
)


def reply_to(question: str) -> str:
    """What the server says to a question: made from it, so that a mix-up shows; with signs that trip encoders."""
    digest = hashlib.sha256(question.encode()).hexdigest()
    return f"Reply {digest[:12]} – «½» \u2028 \t {{question}} %s\n#### {int(digest[:4], 16)}"


def storm(seed: int, weights: dict[str, float]) -> Callable[[str, int], str]:
    """A fate for each attempt at each question, the same in whatever order they come."""
    names, shares = list(weights), list(weights.values())
    return lambda question, attempt: random.Random(f"{seed}|{question}|{attempt}").choices(names, shares)[0]


def asked(body: dict[str, Any]) -> str:
    """What a request asks: its last message, or its prompt."""
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


class Server:
    """Counts what it serves; `fate` decides how the n-th attempt (from 1) at a question ends."""

    def __init__(self) -> None:
        self.fate: Callable[[str, int], str] = lambda question, attempt: GOOD
        self.attempts: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.paths: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.models: list[str] | None = None  # what it serves; None: whatever is asked for
        self.owner = "vllm"
        self.adapters: list[tuple[str, dict[str, Any]]] | None = []  # what it was told of adapters; None: it takes none
        self.says: Callable[[dict[str, Any]], str] = lambda body: reply_to(asked(body))
        self.under_way = self.most_under_way = 0
        self.serve_gate: Callable[[], None] = lambda: None
        self.lock = threading.Lock()
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.handle_adapter(self) if self.path.endswith("lora_adapter") else server.handle(self)

            def do_GET(self) -> None:
                rows = [{"id": name, "owned_by": server.owner} for name in server.models or ()]
                server.send(self, 200, json.dumps({"object": "list", "data": rows}).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *arguments: object) -> None:
                pass  # clients that were killed leave broken pipes behind

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        question = asked(body)
        with self.lock:
            self.paths[handler.path] += 1
            self.attempts[question] += 1
            fate = self.fate(question, self.attempts[question])
            if self.models is not None and body["model"] not in self.models:
                fate = f"404 The model {body['model']} does not exist."
            self.fates[fate] += 1
            self.bodies.append(body)
            self.keys.add(handler.headers.get("Authorization", ""))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.answer(handler, question, fate, body)
        finally:
            with self.lock:
                self.under_way -= 1

    def handle_adapter(self, handler: BaseHTTPRequestHandler) -> None:
        """Load or unload an adapter, in vLLM's words."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if self.adapters is None or self.models is None:
            self.send(handler, 404, b'{"detail": "Not Found"}')
            return
        name, verb = body["lora_name"], handler.path.rpartition("/")[2]
        with self.lock:
            self.adapters.append((verb, body))
            if (verb == "load_lora_adapter") == (name in self.models):
                error = {"error": {"message": f"The lora adapter '{name}' has already been loaded, or was not found."}}
                self.send(handler, 400, json.dumps(error).encode())
                return
            (self.models.append if verb == "load_lora_adapter" else self.models.remove)(name)
        self.send(handler, 200, b"Success: LoRA adapter done.")

    def answer(
        self, handler: BaseHTTPRequestHandler, question: str, fate: str, body: dict[str, Any] | None = None
    ) -> None:
        text = self.says(body) if body is not None else reply_to(question)
        chat = body is None or "messages" in body
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": 11, "completion_tokens": 7}
        good = json.dumps({"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}).encode()
        if fate == GOOD:
            self.serve_gate()
            self.send(handler, 200, good)
            with self.lock:
                self.served[question] += 1
        elif fate == "hang":
            self.closing.wait(2.0)
            handler.close_connection = True
        elif fate == "cut":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
        elif fate == "half sent":
            self.send(handler, 200, good[: len(good) // 2], claimed=len(good))
            handler.close_connection = True
        elif fate == "broken JSON":
            self.send(handler, 200, good[: len(good) // 2])
        elif fate == "empty":
            self.send(handler, 200, good.replace(json.dumps(reply_to(question)).encode(), b'""'))
        elif fate.startswith("raw "):
            self.send(handler, 200, fate.removeprefix("raw ").encode())
        else:
            headers = {"429 with Retry-After": "Retry-After: 0\r\n", "429 with ms": "retry-after-ms: 20\r\n"}
            code, _, message = fate.partition(" ")
            error = json.dumps({"error": {"message": message or "try later", "code": "made_up"}}).encode()
            self.send(handler, int(code), error, headers.get(fate, ""))

    @staticmethod
    def send(
        handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: str = "", claimed: int | None = None
    ) -> None:
        length = len(body) if claimed is None else claimed
        head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
        handler.wfile.write(head.encode() + body)  # in one piece, or Nagle's algorithm makes every reply wait


@pytest.fixture
def make_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Server]]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made: list[Server] = []

    def make() -> Server:
        made.append(Server())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def server(make_server: Callable[[], Server]) -> Server:
    return make_server()


@pytest.fixture
def answer_storm() -> tuple[Callable[[int, dict[str, float]], Callable[[str, int], str]], Callable[[str], str]]:
    return storm, reply_to
