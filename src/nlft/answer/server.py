"""OpenAI-compatible servers as answerer: vLLM, SGLang, llama.cpp, Ollama, a hosted API.

Several servers of one model share the rows. A server that dies, or is of no use, is left: the others do its work, and
after a while it is tried again with a single request. The run ends once all are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import SecretStr

from nlft.answer.config import AskSettings
from nlft.answer.connection import Connection
from nlft.answer.limits import Spending
from nlft.answer.prompt_ids import PromptIds
from nlft.answer.served_adapter import Adapter
from nlft.answer.sharing import Run
from nlft.answer.template_fields import template_fields
from nlft.answer.types import OnReply, Request
from nlft.provenance import public_name


class Endpoint:
    """An `Answerer` behind OpenAI-compatible addresses.

    Args:
        settings: Model, addresses (None is OpenAI's), sampling and limits. Sample number k is asked with seed + k.
        key: Is sent to the servers, and struck out of everything they say.

    Raises:
        ConfigError: for an adapter that is none, or a template without a tokenizer.
    """

    cacheable = True

    def __init__(self, settings: AskSettings, key: SecretStr) -> None:
        self.asked, self.key = settings, key
        self.model, self.adapter = settings.model or "", settings.adapter
        self.served = Adapter.of(settings.adapter) if settings.adapter is not None else None
        shown = public_name(self.model)
        self.name = shown if self.served is None else f"{shown}+{self.served.folder.name}"
        self.spending = Spending(settings)
        self.prompts = PromptIds(settings) if settings.api != "chat" else None
        self.template = template_fields(settings) if settings.api == "chat" else {}
        # By address, the fields of a request that the server was found not to take.
        self.refused: dict[str | None, set[str]] = {address: set() for address in settings.base_url or ()} or {
            None: set()
        }

    def settings(self) -> dict[str, Any]:
        """Model, adapter, sampling and how prompts are written; not the addresses, at which the same model may move."""
        asked = self.asked
        sampling = {name: getattr(asked, name) for name in ("temperature", "top_p", "max_new_tokens", "seed")}
        told = {"answerer": "openai", "model": self.model, **sampling, **self.template}
        told |= {"adapter": self.served.hash} if self.served is not None else {}
        told |= self.prompts.settings() if self.prompts is not None else {}
        return told | ({"fields": asked.extra_body} if asked.extra_body else {})

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Send all requests, as many at a time as the servers handle; returns early at a limit.

        Raises:
            EndpointError: when every server refuses the key or the model, or is gone.
        """
        connections = [
            Connection(self.asked, self.key, address, refused, self.served) for address, refused in self.refused.items()
        ]
        run_async(Run(self.asked, self.spending, connections, self.body).all(requests, on_reply))

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent.

        Raises:
            ModelError: for a conversation that the template refuses.
        """
        asked = self.asked
        extra = self.template.get("extra_body", {})
        body = {
            "model": self.model,
            **({"messages": list(request.messages)} if self.prompts is None else self.prompts.fields(request)),
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "max_tokens": asked.max_new_tokens,
            "seed": asked.seed + request.sample,
            **({"tools": list(request.tools)} if request.tools and self.prompts is None else {}),
            **{name: value for name, value in self.template.items() if name != "extra_body"},
            **extra,
        }
        return body | asked.extra_body


T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop already runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
