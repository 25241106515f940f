"""How many requests are under way at a time: as many as the server bears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Concurrency"]


class Concurrency:
    """Additive increase, multiplicative decrease, as TCP does it.

    It starts at `start`, grows by one a reply until the server first complains, from then on by about one
    a round; it halves at a complaint (429, 5xx, time-out, cut connection), once for all the requests that
    were under way together. `pause` holds everything back until a moment the server named.

    Args:
        most: Never more than this many at a time.
        start: How many to begin with.
    """

    def __init__(self, most: int, start: int = 4) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.under_way = 0
        self._growing_fast = True
        self._halved_at = float("-inf")
        self._resume_at = float("-inf")
        self._room = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """A place among the requests under way; yields the time it was got."""
        while True:
            async with self._room:
                await self._room.wait_for(lambda: self.under_way < int(self.limit))
                held_back = self._resume_at - time.monotonic()
                if held_back <= 0:
                    self.under_way += 1
                    break
            await asyncio.sleep(held_back)
        try:
            yield time.monotonic()
        finally:
            async with self._room:
                self.under_way -= 1
                self._room.notify_all()

    def went_well(self) -> None:
        """The server replied: let a little more through."""
        step = 1.0 if self._growing_fast else 1.0 / self.limit
        self.limit = min(float(self.most), self.limit + step)

    def complained(self, sent_at: float) -> None:
        """A request sent at `sent_at` was refused or lost: halve, unless that has been done since it was sent."""
        self._growing_fast = False
        if sent_at > self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
