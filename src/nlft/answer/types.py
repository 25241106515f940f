"""What a model or a judge is asked, and what comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from nlft.prompts import Message
from nlft.records import Problem


@dataclass(frozen=True)
class Request:
    """One question to an answerer or judge; `key` is a hash of everything that decides the reply."""

    key: str
    row: Problem
    messages: tuple[Message, ...] = ()
    sample: int = 0
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Reply:
    """What came back: a text, or the reason why none ever will (`failure`); and what it took.

    What the model thought before it answered is no part of the text. Prompt and completion tokens are summed over all requests sent for it, retries included. A local model's completion
    tokens are those of the text, without the stop token.
    """

    text: str = ""
    finish_reason: str | None = None
    failure: str | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    thoughts: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without the fields that are empty."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value not in (None, 0) and (name != "thoughts" or value)
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Reply:
        """The inverse of `to_json`; unknown keys are ignored."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


OnReply = Callable[[Request, Reply], None]
"""Called once for each request, with its reply; returns when the reply is on disk."""


class Answerer(Protocol):
    """Whoever answers: a local model, a server, a recording. Implement these four to add one."""

    name: str
    """Who answered, for the records."""
    cacheable: bool
    """Whether replies are worth a journal (a recording's are not)."""

    def settings(self) -> dict[str, Any]:
        """What decides a reply, besides messages and sample number; part of the request's key."""
        ...

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Call `on_reply` for each request, in any order, before the next request is begun in its place.

        May return early at a limit on cost or requests; the rest stays unanswered.
        """
        ...


def make_request(
    settings: Mapping[str, Any],
    row: Problem,
    messages: Sequence[Message],
    sample: int = 0,
    tools: Sequence[dict[str, Any]] = (),
) -> Request:
    """A request with its key: SHA-256 of settings, messages, sample number and any tools in canonical JSON.

    The row's id is not part of the key: the same question asked twice is paid for once.
    """
    content: dict[str, Any] = {"settings": dict(settings), "messages": list(messages), "sample": sample}
    if tools:
        content["tools"] = list(tools)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Request(hashlib.sha256(canonical.encode()).hexdigest(), row, tuple(messages), sample, tuple(tools))


@dataclass
class Usage:
    """What a run has found in its journal (`resumed`), and what it has sent and received so far."""

    resumed: int = 0
    failures: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        self.failures += reply.failure is not None
        self.requests += reply.requests
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens

    def join(self, other: Usage) -> None:
        """Count what another model sent and received."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
