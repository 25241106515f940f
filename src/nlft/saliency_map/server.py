"""The saliency map on loopback, and a route that scores new text; the server writes no files.

It scores only for requests with the token of this session, which is in the page and which no other origin can read.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Iterable
from email.message import Message
from http import HTTPStatus

from pydantic import ValidationError

from nlft.config import Config
from nlft.errors import NLFTError
from nlft.records import Judged, Scored, Verdict
from nlft.saliency_map.export import page_row, render_page
from nlft.saliency_map.loopback import LoopbackServer, RefusalError, read_body


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


class PageServer(LoopbackServer):
    """Serve the saliency map.

    Args:
        rows: The scored records to show.
        source: The name to show for their source.
        score: Scores a judged record with a loaded model; without it, scoring is off.
        port: The port; 0 picks a free one.
    """

    def __init__(
        self, rows: Iterable[Scored], *, source: str, score: Callable[[Judged], Scored] | None = None, port: int = 0
    ) -> None:
        super().__init__(port)
        self.score = score
        self.scoring = threading.Lock()  # one model, one computation at a time
        self.page = render_page(rows, source=source, live={"token": self.token} if score else None)

    def accept(self, path: str, headers: Message) -> Callable[[bytes], str]:
        """`/score`, for the page's own token."""
        if path != "/score" or self.score is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, "scoring is off; restart with --model")
        token = headers.get("X-NLFT-Token", "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise RefusalError(HTTPStatus.FORBIDDEN, "this page is from an earlier session; reload it")
        return self._score

    def _score(self, body: bytes) -> str:
        text = read_body(body, NewText)
        assert self.score is not None  # noqa: S101 -- for the type checker: `accept` has looked
        try:
            with self.scoring:
                row = self.score(text.record())
        except (NLFTError, ValidationError) as error:
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        return json.dumps(page_row(row))
