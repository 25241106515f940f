"""Any OpenAI-compatible server as answerer: vLLM, SGLang, llama.cpp, Ollama, a hosted API.

Requests go through the `openai` client with its own retries switched off, and no retry library stands between: the
client counts a 429 against the row and waits outside our books; of tenacity and stamina only the loop would remain,
because each of its parts is our own here. A 429 does not count as an attempt, the server's `Retry-After` is a floor
and holds back all rows, every attempt asks the budget again and gives its place up while it waits, and the wait ends
when the run does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from nlft.answer.config import AskSettings
from nlft.answer.limits import LONGEST_WAIT, Gate, Spending, backoff, estimate_tokens
from nlft.answer.response import (
    RETRIED,
    Retry,
    error_message,
    pause_after,
    read_completion,
    redact,
    retry_after,
    without_password,
)
from nlft.answer.template_fields import template_fields
from nlft.answer.types import OnReply, Reply, Request
from nlft.errors import EndpointError, NLFTError

if TYPE_CHECKING:
    import openai

__all__ = ["Endpoint"]

# Statuses that every row will meet alike, so that asking the next one is of no use.
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


class Endpoint:
    """An `Answerer` behind an OpenAI-compatible address.

    Args:
        settings: Model, address (None is OpenAI's), sampling and limits. Sample number k is asked with seed + k.
        key: Is sent to the server, and struck out of everything the server says.
    """

    cacheable = True

    def __init__(self, settings: AskSettings, key: SecretStr) -> None:
        self.asked, self.key = settings, key
        self.name = settings.model or ""
        self.spending = Spending(settings)
        self.template = template_fields(settings)
        # OpenAI's newer models refuse the old name of the length limit; every other server knows only that.
        self.length_name = "max_tokens"

    def settings(self) -> dict[str, Any]:
        """Model and sampling; not the address, at which the same model may move."""
        asked = self.asked
        sampling = {name: getattr(asked, name) for name in ("temperature", "top_p", "max_new_tokens", "seed")}
        return {"answerer": "openai", "model": self.name, **sampling, **self.template}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Send all requests, as many at a time as the server handles; returns early at a limit.

        Raises:
            EndpointError: when the server refuses the key or the model, or is gone.
        """
        run_async(_Run(self, requests, on_reply).all())

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent."""
        return {
            "model": self.name,
            "messages": list(request.messages),
            "temperature": self.asked.temperature,
            "top_p": self.asked.top_p,
            self.length_name: self.asked.max_new_tokens,
            "seed": self.asked.seed + request.sample,
            **({"tools": list(request.tools)} if request.tools else {}),
            **self.template,
        }


class _Run:
    """One call of `Endpoint.reply`.

    Once a limit is reached or the server is found to be useless, nothing new is sent, but what is under way is waited
    for: it may be paid for already.
    """

    def __init__(self, endpoint: Endpoint, requests: Sequence[Request], on_reply: OnReply) -> None:
        self.endpoint, self.settings, self.on_reply = endpoint, endpoint.asked, on_reply
        self.waiting = iter(requests)
        self.workers = min(self.settings.concurrency, len(requests))
        self.lost: list[tuple[Request, Reply]] = []
        self.error: EndpointError | None = None
        self.heard = False  # whether the server has said anything yet
        self.replied = False  # whether it has answered anything yet

    async def all(self) -> None:
        """Start the workers and wait for them."""
        from openai import AsyncOpenAI

        settings, key = self.settings, self.endpoint.key.get_secret_value()
        self.gate = Gate(settings.concurrency, self.endpoint.spending)
        async with AsyncOpenAI(
            api_key=key, base_url=settings.base_url, timeout=settings.timeout, max_retries=0
        ) as self.client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.workers):
                        group.create_task(self.work())
            # Not `except*`: what is raised inside it comes out wrapped, or not, depending on Python's patch release.
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
            await self.ask(request)
            if self.gate.closed.is_set():
                return

    async def ask(self, request: Request) -> None:
        """Ask until there is a reply, the row's retries are used up, or the run stops."""
        began = time.monotonic()
        worst = self.settings.cost(estimate_tokens(request.messages, request.tools), self.settings.max_new_tokens)
        outcomes: list[Reply | Retry] = []
        pause: float | None = 0.0
        while pause is not None and (sent_at := await self.gate.enter(worst)) is not None:
            cost = worst
            try:
                outcome = await self.send(request)
                outcomes.append(outcome)
                # A lost connection may hide a reply that is charged, so it counts in full; a refusal costs nothing.
                known = isinstance(outcome, Reply) or outcome.asked is not None or not outcome.overload
                if known or outcome.prompt_tokens:
                    cost = self.settings.cost(outcome.prompt_tokens, outcome.completion_tokens)
                # Before the place is given up: the reply is on disk before another request is sent instead.
                pause = self.settle(request, outcomes, sent_at, began)
            finally:
                await self.gate.leave(worst, cost)
            if pause is not None:
                await self.gate.sleep(pause)

    async def send(self, request: Request) -> Reply | Retry:
        """Send one HTTP request; what came of it."""
        import openai

        body = self.endpoint.body(request)
        try:
            async with asyncio.timeout(self.settings.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(**body)
            content, headers = raw.content, raw.headers
        except (TimeoutError, openai.APITimeoutError):
            return Retry(f"no reply within {self.settings.timeout:g} s", silent=True)
        except openai.APIStatusError as error:
            return self.refusal(error, "max_tokens" in body)
        except openai.APIConnectionError as error:
            return Retry(f"connection lost: {redact(str(error.__cause__ or error), self.endpoint.key)}", silent=True)
        if (pause := pause_after(headers)) > 0:
            self.gate.pause(min(pause, LONGEST_WAIT))
        outcome = read_completion(content)
        if isinstance(outcome, Retry):
            return replace(outcome, reason=redact(outcome.reason, self.endpoint.key))
        key = self.endpoint.key.get_secret_value()
        # A reply must not be altered; only the very key, should the server echo it, is struck out.
        return replace(outcome, text=outcome.text.replace(key, "[key]")) if len(key) >= 16 else outcome

    def refusal(self, error: openai.APIStatusError, old_length_name: bool) -> Reply | Retry:
        """What an HTTP error status means for the row, or for the whole run."""
        code, text = error.status_code, error.response.text
        headers: Mapping[str, str] = error.response.headers
        detail = redact(error_message(text), self.endpoint.key)
        reason = f"HTTP {code}: {detail}"
        if code == 429 and any(word in text for word in _NO_QUOTA):
            self.stop("the account's quota is used up", reason)
        if code in RETRIED:
            asked = retry_after(headers)
            if asked is None and code == 429:
                asked = pause_after(headers) or None
            # A bare 500 speaks of the row or of a bug; the others of a server that cannot keep up.
            return Retry(reason, asked, counts=code != 429, overload=code != 500, silent=code in _GATEWAY)
        if code in _HOPELESS:
            self.stop(_HOPELESS[code], reason)
            return Retry(detail, overload=False)
        if code == 400 and old_length_name and "max_completion_tokens" in detail:
            self.endpoint.length_name = "max_completion_tokens"
            return Retry(detail, counts=False, overload=False)
        return Reply(failure=reason)

    def settle(self, request: Request, outcomes: Sequence[Reply | Retry], sent_at: float, began: float) -> float | None:
        """Hand the row over if it is finished or lost; else the seconds until it is asked again."""
        last = outcomes[-1]
        self.heard = self.heard or isinstance(last, Reply) or not last.silent
        if isinstance(last, Reply):
            self.finish(request, _summed(outcomes, last))
            return None
        if last.overload:
            self.gate.complained(sent_at)
        if self.gate.closed.is_set():
            return None
        counted = sum(isinstance(outcome, Retry) and outcome.counts for outcome in outcomes)
        pause = backoff(max(counted, 1), random.random(), last.asked)
        if last.asked is not None and last.asked > self.settings.retry_seconds:
            self.stop(f"it asks to wait {last.asked:.0f} s", last.reason)
            return None
        if counted >= self.settings.attempts or time.monotonic() - began + pause > self.settings.retry_seconds:
            reason = f"given up after {len(outcomes)} requests: {last.reason}"
            self.lose(request, _summed(outcomes, Reply(failure=reason)), last)
            return None
        if last.asked is not None:
            self.gate.pause(last.asked)
        return pause

    def finish(self, request: Request, reply: Reply) -> None:
        """Hand over a reply, or a refusal of this very row.

        Where the server refuses one row after the other in the same words and has answered none, the rows are not to
        blame: the run ends, and none of them has failed.
        """
        self.gate.went_well()
        if reply.failure is not None and not self.replied:
            self.lost.append((request, reply))
            if len(self.lost) >= _GONE_AFTER and {lost.failure for _, lost in self.lost} == {reply.failure}:
                self.stop("it refuses every request", reply.failure)
            return
        self.replied = True
        self.on_reply(request, reply)
        self.hand_over_lost()

    def lose(self, request: Request, reply: Reply, last: Retry) -> None:
        """Set aside a row whose retries are used up; several lost to silence, without a reply between, end the run.

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

    def stop(self, why: str, detail: str) -> None:
        """Send nothing more: with this server no row will fare better."""
        address = without_password(self.settings.base_url) if self.settings.base_url else "the OpenAI API"
        self.error = self.error or EndpointError(
            f"{address} gives no answers: {why} ({detail})",
            remedy="fix this and run the same command again: finished rows are kept, and not asked again",
        )
        self.gate.closed.set()


def _summed(outcomes: Sequence[Reply | Retry], result: Reply) -> Reply:
    """The result, with the requests and tokens of everything that was sent for it."""
    return replace(
        result,
        requests=len(outcomes),
        prompt_tokens=sum(outcome.prompt_tokens for outcome in outcomes),
        completion_tokens=sum(outcome.completion_tokens for outcome in outcomes),
    )


T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop already runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
