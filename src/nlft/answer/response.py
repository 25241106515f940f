"""What a server's response says: a completion, an error, when to come back. Pure functions; keys are struck out."""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from nlft.answer.types import Reply

NO_KEY = "none"
"""What a server that asks for no key is sent."""

RETRIED = frozenset({408, 409, 429, *range(500, 600)})
"""HTTP statuses that may pass by themselves; every other 4xx will not."""

_LOOKS_LIKE_KEY = re.compile(r"\b(?:sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_-]{8,}|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Retry:
    """A request that may succeed when sent again."""

    reason: str
    asked: float | None = None  # seconds the server asks to wait
    counts: bool = True  # against the attempts of the row
    overload: bool = True  # a sign that the server cannot keep up
    silent: bool = False  # no word from the model's server at all
    failing: bool = False  # a sign that the server, not the row, is to blame
    empty: Reply | None = None  # what came back, where that was an empty text
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Useless:
    """No row will fare better with this server as it is: why, in what words it said so, and what to do."""

    why: str
    reason: str
    remedy: str | None = None
    seconds: float = 0.0  # it asks to be left alone for so long


def read_completion(body: bytes) -> Reply | Retry:
    """The completion in a JSON body; a body that is cut off, empty or something else is to be asked for again.

    Args:
        body: The bytes as they came, decoded strictly: a reply with a character replaced is an altered one.
    """
    try:
        row = json.loads(body)
        choice = row["choices"][0]
        message: Any = choice["message"] if "message" in choice else {"content": choice["text"]}
        content = message["content"]
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        finish = choice.get("finish_reason")
    except (ValueError, RecursionError):
        return Retry("the body is broken JSON", overload=False)
    except (KeyError, IndexError, TypeError, AttributeError):
        return Retry(f"the body is no completion: {body[:300].decode('utf-8', 'replace')}", overload=False)
    usage = row.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    read, written = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    if content is None and message.get("tool_calls"):
        why = "it calls a tool, which the server has taken out of the text (serve the model without a tool-call parser)"
        return Reply(failure=why, prompt_tokens=read, completion_tokens=written)
    if isinstance(content, str):
        inline, content = without_thoughts(content)
        thoughts = thoughts if isinstance(thoughts, str) else inline
    ended = finish if isinstance(finish, str) else None
    if isinstance(content, str) and content.strip():
        return Reply(content, ended, None, 0, read, written, thoughts=thoughts)
    if content is None or isinstance(content, str):
        why = f"the message is empty (finish reason {finish})"
        empty = Reply("", ended, thoughts=thoughts) if isinstance(thoughts, str) else None
        return Retry(why, overload=False, empty=empty, prompt_tokens=read, completion_tokens=written)
    return Retry("the message is no text", overload=False, prompt_tokens=read, completion_tokens=written)


def without_thoughts(content: str) -> tuple[str, str]:
    """The thoughts at the beginning of a reply, from a server that does not keep them apart, and the rest.

    >>> without_thoughts("<think>two and two</think>" + chr(10) + "4")
    ('two and two', '4')

    The template may have opened the thought; a thought that never ends leaves nothing.
    """
    thought, ended, rest = content.partition("</think>")
    opened = thought.lstrip().startswith("<think>")
    if not opened and (not ended or "<think>" in thought):
        return "", content
    return thought.strip().removeprefix("<think>").strip(), rest.lstrip("\n")


def error_message(body: str) -> str:
    """The message of an error's body, in whichever of the usual places it stands."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return body or "no message"
    for _ in range(2):
        if isinstance(error, dict):
            error = error.get("error", error.get("message", error.get("detail", error)))
    return error if isinstance(error, str) else json.dumps(error)


_REFUSES = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden|deprecated", re.I
)


def refused_fields(body: str, sent: Iterable[str]) -> set[str]:
    """The fields of a request that an error's body says the server does not take.

    >>> sent = ["temperature", "top_k", "stop"]
    >>> refused_fields("Unsupported parameter: 'temperature' is not supported with this model.", sent)
    {'temperature'}
    >>> refused_fields("Please stop: this is not allowed", sent)
    set()
    """
    if not _REFUSES.search(body):
        return set()
    # A name that is also a word of English counts in quotes only.
    plain = {name: rf"""['"`]{name}['"`]""" if name in ("stop", "seed") else rf"\b{name}\b" for name in sent}
    return {name for name, pattern in plain.items() if re.search(pattern, body)}


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds the server asks to wait, from `retry-after-ms` or `Retry-After` (seconds, or an HTTP date).

    >>> retry_after({"retry-after": "3"})
    3.0
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def pause_after(headers: Mapping[str, str]) -> float:
    """Seconds until the server's rate limit has room again, from the `x-ratelimit-*` headers; 0 if it has room."""
    pause = 0.0
    for kind in ("requests", "tokens"):
        remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if remaining is not None and remaining <= 0:
            pause = max(pause, parse_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) or 0.0)
    return pause


def parse_duration(text: str) -> float | None:
    """Seconds of a duration such as `1s`, `6m0s`, `20ms`, or a plain number of seconds.

    >>> parse_duration("1m30.5s")
    90.5
    """
    text = text.strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _number(text)


def _number(text: str | None) -> float | None:
    """A number of seconds or requests; None for anything else, negative and infinite numbers included."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def redact(text: str, key: SecretStr) -> str:
    """A message in one line of at most 300 characters, with the key, and whatever looks like one, struck out."""
    text = " ".join(text.split())
    if key.get_secret_value() not in ("", NO_KEY):
        text = text.replace(key.get_secret_value(), "[key]")
    text = _LOOKS_LIKE_KEY.sub("[key]", text)
    return text if len(text) <= 300 else text[:300] + " …"


def without_password(url: str) -> str:
    """The address without user name, password and query, for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
