"""Any OpenAI-compatible server as answerer: vLLM, SGLang, llama.cpp, Ollama, a hosted API.

The requests go through the `openai` client with its own retries switched off, because the budget, what
the server says about its limits, the journal and the number of requests under way belong together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from nlft.answer.backoff import RetryPolicy
from nlft.answer.dispatch import Dispatch
from nlft.answer.limits import Limits, Spending, estimate_tokens
from nlft.answer.secrets import Secret, without_password
from nlft.answer.types import OnReply, Request
from nlft.errors import EndpointError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Endpoint", "EndpointSettings"]


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


class Endpoint:
    """An `Answerer` behind an OpenAI-compatible address."""

    cacheable = True

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

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Send all requests, as many at a time as the server bears; returns early at a limit.

        Raises:
            EndpointError: when the server refuses the key or the model, or is gone.
        """
        run_async(Dispatch(self, requests, on_reply).all())

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


T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop already runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
