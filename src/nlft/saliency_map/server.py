"""The page on loopback, and a route that scores new text; the server writes no files.

Other sites must not reach it through the user's browser. So it listens only on 127.0.0.1, accepts only
its own names in the Host header (not an attacker's name that resolves to loopback), and scores only for
requests with the token of this session, which is in the page and which no other origin can read.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import ValidationError

from nlft.config import Config
from nlft.errors import NLFTError
from nlft.records import Judged, Scored, Verdict
from nlft.saliency_map.export import page_row, render_page

__all__ = ["NewText", "PageServer"]

LONGEST_BODY = 1_000_000


class NewText(Config):
    """The data that the page's form sends."""

    question: str
    reference: str
    response: str
    correct: bool
    judgment: str = ""

    def record(self) -> Judged:
        """The text as a judged record, with the user's verdict."""
        return Judged(
            id="new text",
            question=self.question,
            reference=self.reference,
            response=self.response,
            verdict=Verdict(correct=self.correct, reason="as stated in the form"),
            judgment=None if self.correct else self.judgment,
        )


class PageServer(ThreadingHTTPServer):
    """Serve one page: `serve_forever` runs the server at `url`.

    Args:
        rows: The scored records to show.
        source: The name to show for their source.
        score: Scores a judged record with a loaded model; without it, scoring is off.
        port: The port; 0 picks a free one.
    """

    daemon_threads = True

    def __init__(
        self, rows: Iterable[Scored], *, source: str, score: Callable[[Judged], Scored] | None = None, port: int = 0
    ) -> None:
        self.token = secrets.token_urlsafe(32)
        self.score = score
        self.scoring = threading.Lock()  # one model, one computation at a time
        self.page = render_page(rows, source=source, live={"token": self.token} if score else None)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def names(self) -> set[str]:
        """The Host headers it answers to."""
        return {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that has disconnected."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _RefusalError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "nlft", ""
    timeout = 30  # seconds to wait for a silent client

    def do_GET(self) -> None:
        self._answer(self._page)

    def do_POST(self) -> None:
        self._answer(self._score)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests are private."""

    def _answer(self, route: Callable[[], tuple[str, str]]) -> None:
        try:
            if self.headers.get("Host") not in self.server.names:
                raise _RefusalError(HTTPStatus.MISDIRECTED_REQUEST, "this server answers only on its loopback address")
            kind, body = route()
            status = HTTPStatus.OK
        except _RefusalError as refused:
            kind, body, status = "application/json", json.dumps({"error": str(refused)}), refused.status
        payload = body.encode("utf-8")
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(payload)),
            "Content-Security-Policy": f"{self.server.page.policy}; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _page(self) -> tuple[str, str]:
        if self.path != "/":
            raise _RefusalError(HTTPStatus.NOT_FOUND, "the page is at /; there is nothing else here")
        return "text/html", self.server.page.html

    def _score(self) -> tuple[str, str]:
        if self.path != "/score" or self.server.score is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "scoring is off; restart with --model")
        token = self.headers.get("X-NLFT-Token", "")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "this page is from an earlier session; reload it")
        text = self._body()
        try:
            with self.server.scoring:
                row = self.server.score(text.record())
        except (NLFTError, ValidationError) as error:
            raise _RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        return "application/json", json.dumps(page_row(row))

    def _body(self) -> NewText:
        if self.headers.get_content_type() != "application/json":
            raise _RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "send the length")
        if int(length) > LONGEST_BODY:
            raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {LONGEST_BODY} bytes")
        try:
            return NewText.model_validate_json(self.rfile.read(int(length)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "body"
            raise _RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {first['msg']}") from None
