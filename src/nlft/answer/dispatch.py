"""One run of requests against an endpoint: as many at a time as it bears, each to its end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nlft.answer.backoff import RETRIED, pause_after, retry_after, wait
from nlft.answer.concurrency import Concurrency
from nlft.answer.parse import Retry, error_message, read_completion
from nlft.answer.types import OnReply, Reply, Request
from nlft.errors import EndpointError, NLFTError

if TYPE_CHECKING:
    import openai

    from nlft.answer.endpoint import Endpoint

__all__ = ["Dispatch"]

# Statuses that will meet every row alike, so that asking the next one is of no use.
_HOPELESS = {
    401: "it refuses the key",
    403: "it refuses the key",
    404: "it knows no such model or address",
    405: "it takes no chat requests at this address",
}
_GATEWAY = (502, 503, 504)
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")
# So many rows in a row lost to silence, without a single reply in between, and the server counts as gone.
_GONE_AFTER = 5


class Dispatch:
    """One call of `Endpoint.reply`.

    Once a limit is reached or the server is found useless, nothing new is sent, but what is under way is
    waited for: it may be paid already.
    """

    def __init__(self, endpoint: Endpoint, requests: Sequence[Request], on_reply: OnReply) -> None:
        self.endpoint, self.on_reply = endpoint, on_reply
        self.settings = endpoint.endpoint
        self.waiting: Iterator[Request] = iter(requests)
        self.workers = min(self.settings.concurrency, len(requests))
        self.concurrency = Concurrency(self.settings.concurrency)
        self.lost: list[tuple[Request, Reply]] = []
        self.stopping = asyncio.Event()
        self.settled = asyncio.Event()
        self.error: EndpointError | None = None
        self.heard = False  # whether the server has said anything yet
        self.replied = False  # whether it has answered anything yet

    async def all(self) -> None:
        """Start the workers and wait for them."""
        async with self.endpoint.client() as self.client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.workers):
                        group.create_task(self.work())
            # Not `except*`: what is raised inside it comes out wrapped, or not, as Python's patch releases differ.
            except ExceptionGroup as errors:
                ours, others = errors.split(NLFTError)
                if ours is None or others is not None:
                    raise
                raise ours.exceptions[0] from None  # the workers' errors all say the same
        if self.error is not None:
            raise self.error
        self.hand_over_lost()

    async def work(self) -> None:
        """Take one row after the other to its end."""
        for request in self.waiting:
            await self.one(request)
            if self.stopping.is_set():
                return

    async def one(self, request: Request) -> None:
        """Ask until there is a reply, or the budget of the row is used up, or the run stops."""
        policy = self.settings.retry
        begun = time.monotonic()
        used = Reply()
        counted = 0
        while await self.make_room(request):
            async with self.concurrency.slot() as sent_at:
                if self.stopping.is_set() or not self.endpoint.spending.fits(self.endpoint.worst_cost(request)):
                    continue
                outcome = await self.send(request)
                used = _add(used, outcome)
                self.heard = self.heard or isinstance(outcome, Reply) or not outcome.silent
                if isinstance(outcome, Reply):
                    # Still in the slot: the reply is on disk before another request is sent in its place.
                    self.finish(request, _with_result(used, outcome))
                    return
                if outcome.overload:
                    self.concurrency.complained(sent_at)
            if self.stopping.is_set():
                return
            counted += outcome.counts
            pause = wait(max(counted, 1), policy, random.random(), outcome.asked)
            if outcome.asked is not None and outcome.asked > policy.seconds:
                self.stop(f"it asks to wait {outcome.asked:.0f} s", outcome.reason)
                return
            if counted >= policy.attempts or time.monotonic() - begun + pause > policy.seconds:
                reason = f"given up after {used.requests} requests: {outcome.reason}"
                self.lose(request, replace(used, failure=reason), outcome)
                return
            if outcome.asked is not None:
                self.concurrency.pause(outcome.asked)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)

    async def make_room(self, request: Request) -> bool:
        """Wait until the request's worst case fits into the limits; False when it never will, or the run stops."""
        spending, worst = self.endpoint.spending, self.endpoint.worst_cost(request)
        while not self.stopping.is_set():
            if spending.fits(worst):
                return True
            if spending.reserved <= 0:
                self.stopping.set()
                break
            self.settled.clear()
            await self.settled.wait()
        return False

    def stop(self, why: str, detail: str) -> None:
        """Send nothing more: the server serves no row."""
        self.error = self.error or self.endpoint.refused(why, detail)
        self.stopping.set()
        self.settled.set()

    async def send(self, request: Request) -> Reply | Retry:
        """Send one request and keep the books."""
        spending, worst = self.endpoint.spending, self.endpoint.worst_cost(request)
        spending.send(worst)
        actual = worst
        try:
            outcome = await self.attempt(request)
            # A lost connection may hide a reply that is charged, so it counts in full; a refusal costs nothing.
            if isinstance(outcome, Reply) or outcome.prompt_tokens or outcome.asked is not None or not outcome.overload:
                actual = self.settings.limits.prices.cost(outcome.prompt_tokens, outcome.completion_tokens)
            return outcome
        finally:
            spending.settle(worst, actual)
            self.settled.set()

    async def attempt(self, request: Request) -> Reply | Retry:
        """One HTTP request, and what came of it."""
        import openai

        try:
            body = self.endpoint.body(request)
            async with asyncio.timeout(self.settings.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(**body)
            content, headers = raw.content, raw.headers
        except (TimeoutError, openai.APITimeoutError):
            return Retry(f"no reply within {self.settings.timeout:g} s", silent=True)
        except openai.APIStatusError as error:
            return self.status(error, "max_tokens" if "max_tokens" in body else "max_completion_tokens")
        except openai.APIConnectionError as error:
            return Retry(f"connection lost: {self.endpoint.redact(str(error.__cause__ or error))}", silent=True)
        pause = pause_after(headers)
        if pause > 0:
            self.concurrency.pause(min(pause, self.settings.retry.cap))
        outcome = read_completion(content)
        if isinstance(outcome, Retry):
            return replace(outcome, reason=self.endpoint.redact(outcome.reason))
        return replace(outcome, text=self.endpoint.unaltered(outcome.text))

    def status(self, error: openai.APIStatusError, length_name: str) -> Reply | Retry:
        """What an HTTP error status means for the row, or for the whole run."""
        code, detail = error.status_code, self.endpoint.redact(error_message(error.response.text))
        headers: Mapping[str, str] = error.response.headers
        if code == 429 and any(word in error.response.text for word in _NO_QUOTA):
            self.stop("the account's quota is used up", f"HTTP 429: {detail}")
        if code in RETRIED:
            asked = retry_after(headers)
            if asked is None and code == 429:
                asked = pause_after(headers) or None
            # A bare 500 speaks of the row or of a bug; the others of a server that cannot keep up.
            return Retry(
                f"HTTP {code}: {detail}", asked, counts=code != 429, overload=code != 500, silent=code in _GATEWAY
            )
        if code in _HOPELESS:
            self.stop(_HOPELESS[code], f"HTTP {code}: {detail}")
            return Retry(detail, overload=False)
        if code == 400 and self.endpoint.rename_length_limit(length_name, detail):
            return Retry(detail, counts=False, overload=False)
        return Reply(failure=f"HTTP {code}: {detail}")

    def finish(self, request: Request, reply: Reply) -> None:
        """Hand over a reply, or a refusal of this very row.

        Where the server refuses one row after the other in the same words and has answered none, it is no
        matter of the rows: the run ends, and none of them has failed.
        """
        self.concurrency.went_well()
        if reply.failure is not None and not self.replied:
            self.lost.append((request, reply))
            if len(self.lost) >= _GONE_AFTER and {lost.failure for _, lost in self.lost} == {reply.failure}:
                self.stop("it refuses every request", reply.failure)
            return
        self.replied = True
        self.on_reply(request, reply)
        self.hand_over_lost()

    def lose(self, request: Request, reply: Reply, last: Retry) -> None:
        """Set aside a row whose budget is used up; several lost to silence, without a reply between, end the run.

        They are handed over as failed once another row gets its reply: then it was them, not the server.
        """
        self.lost.append((request, reply))
        if not last.silent:
            self.hand_over_lost()
        elif len(self.lost) >= min(_GONE_AFTER, self.workers) and not self.heard:
            self.stop("it does not answer", last.reason)
        elif len(self.lost) >= _GONE_AFTER:
            self.stop("it has stopped answering", last.reason)

    def hand_over_lost(self) -> None:
        """The server is there, so these rows have failed for good."""
        for request, reply in self.lost:
            self.on_reply(request, reply)
        self.lost.clear()


def _add(used: Reply, outcome: Reply | Retry) -> Reply:
    return replace(
        used,
        requests=used.requests + 1,
        prompt_tokens=used.prompt_tokens + outcome.prompt_tokens,
        completion_tokens=used.completion_tokens + outcome.completion_tokens,
    )


def _with_result(used: Reply, result: Reply) -> Reply:
    return replace(used, text=result.text, finish_reason=result.finish_reason, failure=result.failure)
