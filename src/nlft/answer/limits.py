"""How much may be sent: what the server handles, what the user pays for, and how long to wait before a retry."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.answer.config import AskSettings, ServerSettings
from nlft.answer.types import Request
from nlft.prompts import Message

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds


class Spending:
    """Keeps a run within its budget: a request is sent only if its worst case still fits. Retries count too."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.requests = 0
        self.under_way = 0
        self.cost = 0.0
        self.reserved = 0.0

    def fits(self, worst: float) -> bool:
        """Whether one more request may be sent that costs at most `worst`."""
        most, cost = self.settings.max_requests, self.settings.max_cost
        if most is not None and self.requests >= most:
            return False
        # A hair of room for rounding: 0.1 + 0.2 must fit into 0.3.
        return cost is None or self.cost + self.reserved + worst <= cost * (1 + 1e-9)

    def reserve(self, worst: float) -> None:
        """Count a request as sent, and set its worst case aside."""
        self.requests += 1
        self.under_way += 1
        self.reserved += worst

    def settle(self, worst: float, actual: float) -> None:
        """Replace what was set aside by the actual cost."""
        self.under_way -= 1
        self.reserved -= worst
        self.cost += actual


class Limit:
    """As many requests at a time as one server handles.

    Additive increase, multiplicative decrease, as in TCP: the limit starts at `start` and grows by one with each
    reply until the server first complains, from then on by about one per round. A complaint (429, 5xx, timeout, lost
    connection) halves it, once for all the requests that were under way together.

    Args:
        most: Never more than this many requests at a time.
        start: How many to begin with.
    """

    def __init__(self, most: int, start: int = 4) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.under_way = 0
        self.resume_at = float("-inf")
        self._growing_fast = True
        self._halved_at = float("-inf")

    def free(self, now: float) -> bool:
        """Whether it takes one more request."""
        return self.under_way < int(self.limit) and self.resume_at <= now

    def went_well(self) -> None:
        """The server replied: let a little more through."""
        step = 1.0 if self._growing_fast else 1.0 / self.limit
        self.limit = min(float(self.most), self.limit + step)

    def complained(self, sent_at: float) -> None:
        """A request sent at `sent_at` was refused or lost: halve, unless that has been done since."""
        self._growing_fast = False
        if sent_at > self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self.resume_at = max(self.resume_at, time.monotonic() + seconds)


class Gate:
    """Lets requests through: to the server with the most room, and only what the budget covers.

    Args:
        limits: Those of the servers.
        spending: The budget of the run.
    """

    def __init__(self, limits: Sequence[Limit], spending: Spending) -> None:
        self.limits, self.spending = limits, spending
        self.closed = asyncio.Event()
        self._changed = asyncio.Condition()

    async def enter(self, worst: float = 0.0) -> tuple[Limit, float] | None:
        """Wait until a request that costs at most `worst` may be sent.

        Returns:
            Whose turn it is, and the time; or None when nothing more is to be sent, because the gate is closed or the
            budget is used up.
        """
        async with self._changed:
            while True:
                fits = self.spending.fits(worst)
                if not fits and not self.spending.under_way:
                    self.closed.set()  # nothing under way can turn out cheaper than its worst case
                if self.closed.is_set():
                    return None
                now = time.monotonic()
                if fits and (free := [limit for limit in self.limits if limit.free(now)]):
                    chosen = min(free, key=lambda limit: limit.under_way / limit.limit)
                    chosen.under_way += 1
                    self.spending.reserve(worst)
                    return chosen, now
                pauses = [limit.resume_at - now for limit in self.limits if limit.resume_at > now]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pauses, default=None)):
                        await self._changed.wait()

    async def leave(self, limit: Limit, worst: float = 0.0, actual: float = 0.0) -> None:
        """A request has ended and cost `actual`: make room for the next."""
        async with self._changed:
            limit.under_way -= 1
            self.spending.settle(worst, actual)
            self._changed.notify_all()

    async def sleep(self, seconds: float) -> None:
        """Wait so long, or until the gate closes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), seconds)


def backoff(attempt: int, chance: float, asked: float | None = None) -> float:
    """Seconds to wait after attempt number `attempt`: never less than the server asked for.

    min(LONGEST_WAIT, FIRST_WAIT * 2^(attempt-1)) * (1/2 + chance/2), with `chance` in [0, 1) spreading the rows that
    were refused together. What the server asks for is a floor, with a little jitter on top.
    """
    seconds = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 32)) * (0.5 + chance / 2)
    return seconds if asked is None else asked + min(seconds, FIRST_WAIT)


@dataclass(frozen=True)
class Estimate:
    """What a run would send: requests, tokens at most, and their cost."""

    requests: int
    prompt_tokens: int
    most_completion_tokens: int
    cost: float


def estimate(requests: Sequence[Request], settings: AskSettings) -> Estimate:
    """Estimate a run without sending anything; an upper bound for the tokens written, retries left out."""
    read = sum(estimate_tokens(request.messages, request.tools) for request in requests)
    written = len(requests) * settings.max_new_tokens
    return Estimate(len(requests), read, written, settings.cost(read, written))


def estimate_tokens(messages: Sequence[Message], tools: Sequence[Any] = ()) -> int:
    """About how many tokens the messages and the tools they offer are: a token per four bytes of UTF-8, and four around each message.

    Today's tokenizers read English at four to five bytes a token, so this errs on the high side.
    """
    size = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)
    calls = [message["tool_calls"] for message in messages if "tool_calls" in message]
    size += len(json.dumps([*tools, *calls])) if tools or calls else 0
    return -(-size // 4) + 4 * len(messages)
