"""What comes back over the wire: completions, half completions, error messages. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nlft.answer.types import Reply

__all__ = ["Retry", "error_message", "read_completion"]


@dataclass(frozen=True)
class Retry:
    """A request that may succeed when sent again."""

    reason: str
    asked: float | None = None  # seconds the server asks to wait
    counts: bool = True  # against the attempts of the row
    overload: bool = True  # a sign that the server bears less
    silent: bool = False  # no word from the model's server at all
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(body: bytes) -> Reply | Retry:
    """The reply in a body of JSON; a body that is cut, no completion, or empty is to be asked for again.

    Args:
        body: The bytes as they came. They are decoded strictly: a reply with a sign replaced is an altered one.
    """
    try:
        row = json.loads(body)
        choice = row["choices"][0]
        content = choice["message"]["content"]
        finish = choice.get("finish_reason")
    except (ValueError, RecursionError):
        return Retry("the body is broken JSON", overload=False)
    except (KeyError, IndexError, TypeError, AttributeError):
        return Retry(f"the body is no chat completion: {body[:300].decode('utf-8', 'replace')}", overload=False)
    read, written = _usage(row)
    if content is not None and not isinstance(content, str):
        return Retry("the message is no text", overload=False, prompt_tokens=read, completion_tokens=written)
    if not content or not content.strip():
        why = f"the message is empty (finish reason {finish})"
        return Retry(why, overload=False, prompt_tokens=read, completion_tokens=written)
    return Reply(content, finish if isinstance(finish, str) else None, None, 0, read, written)


def _usage(body: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens, where the server says so."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return read, written


def error_message(body: str) -> str:
    """The message in an error's body, in whichever of the usual places it stands."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return body or "no message"
    for _ in range(2):
        if isinstance(error, dict):
            error = error.get("error", error.get("message", error.get("detail", error)))
    return error if isinstance(error, str) else json.dumps(error)
