"""Any OpenAI-compatible server as answerer: vLLM, SGLang, llama.cpp, Ollama, a hosted API.

The requests go through the `openai` client with its own retries switched off, because the budget, what
the server says about its limits, the journal and the number of requests under way belong together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nlft.answer.backoff import RETRIED, RetryPolicy, pause_after, retry_after, wait
from nlft.answer.concurrency import Concurrency
from nlft.answer.exchange import Done, Reply, Request
from nlft.answer.limits import Limits, Spending, estimate_tokens
from nlft.answer.secrets import Secret, without_password
from nlft.errors import EndpointError, NLFTError

if TYPE_CHECKING:
    import openai
    from openai import AsyncOpenAI

__all__ = ["Endpoint", "EndpointSettings"]

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


@dataclass(frozen=True)
class EndpointSettings:
    """Where and how to ask.

    Args:
        model: The model's name at the server.
        base_url: The server's address, `/v1` included; None is the client's default (OPENAI_BASE_URL, or
            OpenAI itself).
        temperature, top_p, max_new_tokens, seed: The sampling. Sample number k is asked with seed + k.
        timeout: Seconds for one request, from its sending to the last byte of its reply.
        concurrency: The most requests under way at a time; fewer when the server cannot bear them.
        retry: The budget of retries of a row.
        limits: What the run may spend.
    """

    model: str
    base_url: str | None = None
    temperature: float = 0.6
    top_p: float = 1.0
    max_new_tokens: int = 512
    seed: int = 0
    timeout: float = 300.0
    concurrency: int = 32
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Again:
    """A request that may succeed when sent again."""

    reason: str
    asked: float | None = None  # seconds the server asks to wait
    counts: bool = True  # against the attempts of the row
    overload: bool = True  # a sign that the server bears less
    silent: bool = False  # no word from the model's server at all
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Endpoint:
    """An `Answerer` behind an OpenAI-compatible address."""

    costly = True

    def __init__(self, settings: EndpointSettings, key: Secret) -> None:
        self.endpoint = settings
        self.name = settings.model
        self._key = key
        self.spending = Spending(settings.limits)
        # Newer models of OpenAI's refuse the old name of the length limit; every other server knows only that.
        self._length_name = "max_tokens"

    def settings(self) -> dict[str, Any]:
        """Model and sampling; not the address, at which the same model may move."""
        e = self.endpoint
        sampling = {"temperature": e.temperature, "top_p": e.top_p, "max_new_tokens": e.max_new_tokens, "seed": e.seed}
        return {"answerer": "openai", "model": e.model, **sampling}

    def reply(self, requests: Sequence[Request], done: Done) -> None:
        """Send all requests, as many at a time as the server bears; returns early at a limit.

        Raises:
            EndpointError: when the server refuses the key or the model, or is gone.
        """
        run_async(_Run(self, requests, done).all())

    def client(self) -> AsyncOpenAI:
        """A client whose own retries are off."""
        from openai import AsyncOpenAI

        e = self.endpoint
        return AsyncOpenAI(api_key=self._key.reveal(), base_url=e.base_url, timeout=e.timeout, max_retries=0)

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent."""
        e = self.endpoint
        return {
            "model": e.model,
            "messages": list(request.messages),
            "temperature": e.temperature,
            "top_p": e.top_p,
            self._length_name: e.max_new_tokens,
            "seed": e.seed + request.sample,
        }

    def worst_cost(self, request: Request) -> float:
        """The most one request can cost, about."""
        return self.endpoint.limits.prices.cost(estimate_tokens(request.messages), self.endpoint.max_new_tokens)

    def rename_length_limit(self, sent_name: str, message: str) -> bool:
        """Use the newer name of the length limit where the server asks for it; True if that may help."""
        if sent_name == "max_tokens" and "max_completion_tokens" in message:
            self._length_name = "max_completion_tokens"
            return True
        return False

    def refused(self, why: str, detail: str) -> EndpointError:
        """The error of a server with which no row will fare better; without key or password."""
        address = without_password(self.endpoint.base_url) if self.endpoint.base_url else "the OpenAI API"
        return EndpointError(
            f"{address} gives no answers: {why} ({self._key.redact(detail)})",
            remedy="mend that and run the same command again: finished rows are kept, and not asked again",
        )

    def redact(self, text: str) -> str:
        """A message of the server's, shortened and without the key."""
        text = self._key.redact(" ".join(text.split()))
        return text if len(text) <= 300 else text[:300] + " …"

    def unaltered(self, text: str) -> str:
        """A reply as it came; only the very key, should a server echo it, is struck out."""
        return self._key.redact_exactly(text)


class _Run:
    """One call of `Endpoint.reply`.

    Once a limit is reached or the server is found useless, nothing new is sent, but what is under way is
    waited for: it may be paid already.
    """

    def __init__(self, endpoint: Endpoint, requests: Sequence[Request], done: Done) -> None:
        self.endpoint, self.done = endpoint, done
        self.settings = endpoint.endpoint
        self.waiting: Iterator[Request] = iter(requests)
        self.workers = min(self.settings.concurrency, len(requests))
        self.concurrency = Concurrency(self.settings.concurrency)
        self.lost: list[tuple[Request, Reply]] = []
        self.stopping = asyncio.Event()
        self.settled = asyncio.Event()
        self.error: EndpointError | None = None
        self.heard = False  # whether the server has said anything yet

    async def all(self) -> None:
        """Start the workers and wait for them."""
        async with self.endpoint.client() as self.client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.workers):
                        group.create_task(self.work())
            except* NLFTError as errors:
                raise _first(errors) from None
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

    async def send(self, request: Request) -> Reply | _Again:
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

    async def attempt(self, request: Request) -> Reply | _Again:
        """One HTTP request, and what came of it."""
        import openai

        try:
            body = self.endpoint.body(request)
            async with asyncio.timeout(self.settings.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(**body)
            text, headers = raw.text, raw.headers
        except (TimeoutError, openai.APITimeoutError):
            return _Again(f"no reply within {self.settings.timeout:g} s", silent=True)
        except openai.APIStatusError as error:
            return self.status(error, "max_tokens" if "max_tokens" in body else "max_completion_tokens")
        except openai.APIConnectionError as error:
            return _Again(f"connection lost: {self.endpoint.redact(str(error.__cause__ or error))}", silent=True)
        pause = pause_after(headers)
        if pause > 0:
            self.concurrency.pause(min(pause, self.settings.retry.cap))
        return self.read(text)

    def status(self, error: openai.APIStatusError, length_name: str) -> Reply | _Again:
        """What an HTTP error status means for the row, or for the whole run."""
        code, detail = error.status_code, self.endpoint.redact(_message(error.response.text))
        headers: Mapping[str, str] = error.response.headers
        if code == 429 and any(word in error.response.text for word in _NO_QUOTA):
            self.stop("the account's quota is used up", f"HTTP 429: {detail}")
        if code in RETRIED:
            asked = retry_after(headers)
            if asked is None and code == 429:
                asked = pause_after(headers) or None
            # A bare 500 speaks of the row or of a bug; the others of a server that cannot keep up.
            return _Again(
                f"HTTP {code}: {detail}", asked, counts=code != 429, overload=code != 500, silent=code in _GATEWAY
            )
        if code in _HOPELESS:
            self.stop(_HOPELESS[code], f"HTTP {code}: {detail}")
            return _Again(detail, overload=False)
        if code == 400 and self.endpoint.rename_length_limit(length_name, detail):
            return _Again(detail, counts=False, overload=False)
        return Reply(failure=f"HTTP {code}: {detail}")

    def read(self, text: str) -> Reply | _Again:
        """The reply in a body of JSON; a body that is cut, no completion, or empty is asked for again."""
        try:
            body = json.loads(text)
            choice = body["choices"][0]
            content = choice["message"]["content"]
            finish = choice.get("finish_reason")
        except (ValueError, RecursionError):
            return _Again("the body is broken JSON", overload=False)
        except (KeyError, IndexError, TypeError, AttributeError):
            return _Again(f"the body is no chat completion: {self.endpoint.redact(text)}", overload=False)
        read, written = _usage(body)
        if content is not None and not isinstance(content, str):
            return _Again("the message is no text", overload=False, prompt_tokens=read, completion_tokens=written)
        if not content or not content.strip():
            why = f"the message is empty (finish reason {finish})"
            return _Again(why, overload=False, prompt_tokens=read, completion_tokens=written)
        finish = finish if isinstance(finish, str) else None
        return Reply(self.endpoint.unaltered(content), finish, None, 0, read, written)

    def finish(self, request: Request, reply: Reply) -> None:
        """Hand over a reply, or a refusal of this very row."""
        self.concurrency.went_well()
        self.done(request, reply)
        self.hand_over_lost()

    def lose(self, request: Request, reply: Reply, last: _Again) -> None:
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
            self.done(request, reply)
        self.lost.clear()


T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop already runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _add(used: Reply, outcome: Reply | _Again) -> Reply:
    return replace(
        used,
        requests=used.requests + 1,
        prompt_tokens=used.prompt_tokens + outcome.prompt_tokens,
        completion_tokens=used.completion_tokens + outcome.completion_tokens,
    )


def _usage(body: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens, where the server says so."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return read, written


def _message(body: str) -> str:
    """The message in an error's body, in whichever of the usual places it stands."""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return body or "no message"
    for _ in range(2):
        if isinstance(error, dict):
            error = error.get("error", error.get("message", error.get("detail", error)))
    return error if isinstance(error, str) else json.dumps(error)


def _with_result(used: Reply, result: Reply) -> Reply:
    return replace(used, text=result.text, finish_reason=result.finish_reason, failure=result.failure)


def _first(errors: BaseExceptionGroup[NLFTError]) -> BaseException:
    """The first of the errors of the workers; they all say the same."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
