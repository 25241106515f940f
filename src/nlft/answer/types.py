"""What is asked of a model or a judge, and what comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from nlft.prompts import Message
from nlft.records import Problem

__all__ = ["Answerer", "OnReply", "Reply", "Request", "make_request"]


@dataclass(frozen=True)
class Request:
    """One question to an answerer or judge; `key` is a hash of everything that decides the reply."""

    key: str
    row: Problem
    messages: tuple[Message, ...] = ()
    sample: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back: a text, or the reason why none ever will (`failure`); and what it took.

    Prompt and completion tokens are summed over all requests sent for it, retries included.
    """

    text: str = ""
    finish_reason: str | None = None
    failure: str | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object without the fields that say nothing."""
        return {name: value for name, value in asdict(self).items() if value not in (None, 0)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Reply:
        """The inverse of `to_json`; keys it does not know are passed over."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


OnReply = Callable[[Request, Reply], None]
"""Called once for each request, with its reply; returns when the reply is on disk."""


class Answerer(Protocol):
    """Whoever answers: a local model, an endpoint, a recording. Implement these four to add one."""

    name: str
    """Goes into the records, so that a reader sees who answered."""
    cacheable: bool
    """Whether replies are worth a journal (a recording's are not)."""

    def settings(self) -> dict[str, Any]:
        """What decides a reply besides messages and sample number; part of the request's key."""
        ...

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Call `done` for each request, in any order; before the next request is begun in its place.

        May return early where a limit on cost or requests is reached; the rest stays unanswered.
        """
        ...


def make_request(settings: Mapping[str, Any], row: Problem, messages: Sequence[Message], sample: int = 0) -> Request:
    """A request with its key: SHA-256 of settings, messages and sample number in canonical JSON.

    The row's id is not part of the key: the same question asked twice is paid for once.
    """
    content = {"settings": dict(settings), "messages": list(messages), "sample": sample}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Request(hashlib.sha256(canonical.encode()).hexdigest(), row, tuple(messages), sample)


@dataclass
class Usage:
    """What a run has sent and received so far."""

    replies: int = 0
    failures: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        self.replies += reply.failure is None
        self.failures += reply.failure is not None
        self.requests += reply.requests
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
