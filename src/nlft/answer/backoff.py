"""When to ask a server again: how long to wait, and when to give up. Pure functions of what it said."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["RETRIED", "RetryPolicy", "parse_duration", "pause_after", "retry_after", "wait"]

RETRIED = frozenset({408, 409, 429, *range(500, 600)})
"""HTTP statuses that may pass by themselves; every other 4xx will not."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class RetryPolicy:
    """The budget of retries of one row.

    Args:
        attempts: Requests sent for a row before it has failed for good. Being told to slow down (429) is
            not counted: it says nothing about the row.
        seconds: How long a row is tried in all, 429 included; also the longest `Retry-After` obeyed.
        base: The first back-off, in seconds; it doubles each time.
        cap: The longest back-off.
    """

    attempts: int = 8
    seconds: float = 900.0
    base: float = 0.5
    cap: float = 30.0


def wait(attempt: int, policy: RetryPolicy, chance: float, asked: float | None = None) -> float:
    """Seconds to wait before attempt number `attempt` + 1: back-off with jitter, never less than was asked for.

    min(cap, base * 2^(attempt-1)) * (1/2 + chance/2), with `chance` in [0, 1) spreading the rows that were
    refused together.
    """
    backoff = min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 32)) * (0.5 + chance / 2)
    # What the server asked for is a floor; the jitter on top keeps the rows from coming back all at once.
    return backoff if asked is None else asked + min(backoff, policy.base)


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
    """Seconds until the server's rate limit has room again, from the `x-ratelimit-*` headers; 0 while it has."""
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
    """A number of seconds or requests; None for anything else, and for what is negative or not finite."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
