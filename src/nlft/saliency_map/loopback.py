"""A page on loopback: its own names, its own policy, and requests of limited size.

Other sites must not reach it through the user's browser. So it listens only on 127.0.0.1 and accepts only its own names
in the Host header (not an attacker's name that resolves to loopback). What else a request must bring to be acted upon,
each server says itself.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nlft.saliency_map.bundle import Page

LONGEST_BODY = 1_000_000
DRAINED = 64_000_000  # bytes of a refused request that are read and thrown away, so that its sender hears the refusal

M = TypeVar("M", bound=BaseModel)


class RefusalError(Exception):
    """A request that is not answered as asked.

    Args:
        status: The HTTP status.
        message: Why, for the page.
        more: Further keys of the JSON answer.
    """

    def __init__(self, status: HTTPStatus, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.more = status, more


class LoopbackServer(ThreadingHTTPServer):
    """Serve one page: `serve_forever` runs the server at `url`; a subclass sets `page`.

    Args:
        port: The port; 0 picks a free one.
        home: The path of the page; it ends with a slash.
    """

    daemon_threads = True
    page: Page

    def __init__(self, port: int, home: str = "/") -> None:
        self.token = secrets.token_urlsafe(32)
        self.home = home.format(token=self.token)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine."""
        return f"http://127.0.0.1:{self.server_port}{self.home}"

    @property
    def names(self) -> set[str]:
        """The Host headers it answers to."""
        return {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def admit(self, path: str) -> None:
        """Refuse a GET of anything but the page.

        Raises:
            RefusalError: for another path.
        """
        if path != self.home:
            raise RefusalError(HTTPStatus.NOT_FOUND, "the page is at /; there is nothing else here")

    def accept(self, path: str, headers: Message) -> Callable[[bytes], str]:
        """What a POST to a path does: from its body to the JSON of the answer. Here no path accepts any.

        Raises:
            RefusalError: for a path that does not exist, or a request that does not come from the page.
        """
        raise RefusalError(HTTPStatus.NOT_FOUND, "there is nothing to post to")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that has disconnected."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def read_body(body: bytes, kind: type[M]) -> M:
    """The data of a request.

    Raises:
        RefusalError: naming the first field that is missing, unknown or of a wrong type.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {first['msg']}") from None


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer
    server_version, sys_version = "nlft", ""
    timeout = 30  # seconds to wait for a silent client

    def do_GET(self) -> None:
        self._answer(self._page)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests are private."""

    def _answer(self, route: Callable[[], tuple[str, str]]) -> None:
        refused = False
        try:
            if self.headers.get("Host") not in self.server.names:
                raise RefusalError(HTTPStatus.MISDIRECTED_REQUEST, "this server answers only on its loopback address")
            kind, body = route()
            status = HTTPStatus.OK
        except RefusalError as refusal:
            refused, status = True, refusal.status
            kind, body = "application/json", json.dumps({"error": str(refusal), **refusal.more})
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
        if refused and self.command == "POST":
            self._drain()

    def _page(self) -> tuple[str, str]:
        self.server.admit(self.path)
        return "text/html", self.server.page.html

    def _post(self) -> tuple[str, str]:
        act = self.server.accept(self.path, self.headers)
        if self.headers.get_content_type() != "application/json":
            raise RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")
        length = self._length()
        if length is None:
            raise RefusalError(HTTPStatus.LENGTH_REQUIRED, "send the length")
        if length > LONGEST_BODY:
            raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {LONGEST_BODY} bytes")
        return "application/json", act(self.rfile.read(length))

    def _length(self) -> int | None:
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None

    def _drain(self) -> None:
        """Throw the body away; closing the connection on it would cut off the refusal."""
        left = min(self._length() or 0, DRAINED)
        with contextlib.suppress(OSError):
            self.connection.settimeout(1)
            while left > 0 and (chunk := self.rfile.read1(min(left, 65_536))):
                left -= len(chunk)
