"""One OpenAI-compatible server during one run: how much it takes, what it refuses, and what its answers mean.

Requests go through the `openai` client with its own retries switched off, and no retry library stands between: the
client counts a 429 against the row and waits outside our books; of tenacity and stamina only the loop would remain,
because each of its parts is our own here. A 429 does not count as an attempt, the server's `Retry-After` is a floor
and holds back all rows, every attempt asks the budget again and gives its place up while it waits, and the wait ends
when the run does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from nlft.answer.config import DECIDED, AskSettings
from nlft.answer.limits import LONGEST_WAIT, Limit
from nlft.answer.response import (
    RETRIED,
    Retry,
    Useless,
    error_message,
    pause_after,
    read_completion,
    redact,
    refused_fields,
    retry_after,
    without_password,
)
from nlft.answer.served_adapter import Adapter, Served, serve, withdraw
from nlft.answer.types import Reply

if TYPE_CHECKING:
    import openai

logger = logging.getLogger("nlft")

Sent = Reply | Retry | Useless
"""What came of a request."""

# Statuses that every row will meet alike, so that asking the next one is of no use.
_HOPELESS = {
    401: "it refuses the key",
    403: "it refuses the key",
    404: "it knows no such model or address",
    405: "it takes no such requests at this address",
}
_GATEWAY = (502, 503, 504)
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")


class Connection:
    """One server during one run.

    Args:
        settings: Concurrency and timeout, and which of the fields sent are settled.
        key: Is sent to the server, and struck out of everything the server says.
        address: None is OpenAI's.
        refused: Fields that this server was found not to take; grows.
        adapter: What to answer with, on the model.
    """

    def __init__(
        self, settings: AskSettings, key: SecretStr, address: str | None, refused: set[str], adapter: Adapter | None
    ) -> None:
        from openai import AsyncOpenAI

        self.settings, self.key, self.refused, self.adapter = settings, key, refused, adapter
        self.name = without_password(address) if address else "the OpenAI API"
        self.limit = Limit(settings.concurrency)
        self.client = AsyncOpenAI(
            api_key=key.get_secret_value(), base_url=address, timeout=settings.timeout, max_retries=0
        )
        self._served: Served | None = None
        self._loaded = False  # the adapter, by us
        self._missing: str | None = None  # what it said when it did not know the adapter any more
        self._serving = asyncio.Lock()

    async def close(self) -> None:
        """Unload what was loaded, and hang up."""
        if self.adapter is not None and self._loaded and not await withdraw(self.client, self.adapter):
            logger.warning("%s: the adapter %s could not be unloaded", self.name, self.adapter.name)
        await self.client.close()

    async def send(self, fields: Mapping[str, Any]) -> Sent:
        """Send one HTTP request.

        Args:
            fields: Its JSON; what this server does not take is left out, and the adapter named as the model.
        """
        import openai

        body = {name: value for name, value in fields.items() if name not in self.refused}
        if "max_tokens" in self.refused:
            # OpenAI's newer models refuse the old name of the length limit; every other server knows only that.
            body["max_completion_tokens"] = fields["max_tokens"]
        served: Served | None = None
        try:
            async with asyncio.timeout(self.settings.timeout):
                if self.adapter is not None:
                    came = await self._with_adapter(self.adapter, body["model"])
                    if not isinstance(came, Served):
                        return came
                    served, body["model"] = came, came.model
                raw = await self._post(body)
            content, headers = raw.content, raw.headers
        except (TimeoutError, openai.APITimeoutError):
            return Retry(f"no reply within {self.settings.timeout:g} s", silent=True, failing=True)
        except openai.APIStatusError as error:
            return self._refusal(error, body, served)
        except openai.APIConnectionError as error:
            lost = redact(str(error.__cause__ or error), self.key)
            return Retry(f"connection lost: {lost}", silent=True, failing=True)
        if (pause := pause_after(headers)) > 0:
            self.limit.pause(min(pause, LONGEST_WAIT))
        outcome = read_completion(content)
        if isinstance(outcome, Retry):
            return replace(outcome, reason=redact(outcome.reason, self.key))
        key = self.key.get_secret_value()
        # A reply must not be altered; only the very key, should the server echo it, is struck out.
        return replace(outcome, text=outcome.text.replace(key, "[key]")) if len(key) >= 16 else outcome

    async def _post(self, body: Mapping[str, Any]) -> Any:
        asked = "prompt" if "prompt" in body else "messages"
        api: Any = self.client.completions if asked == "prompt" else self.client.chat.completions
        rest = {name: value for name, value in body.items() if name not in ("model", asked)}
        return await api.with_raw_response.create(model=body["model"], **{asked: body[asked]}, extra_body=rest)

    async def _with_adapter(self, adapter: Adapter, model: str) -> Served | Retry | Useless:
        """See that the server has the adapter: one request does, the others wait."""
        async with self._serving:
            if self._served is None:
                came = await serve(self.client, adapter, model, self.key)
                if not isinstance(came, Served):
                    return came
                if self._missing is not None and not came.fresh:  # it has the adapter, and yet does not know it
                    return Useless(_HOPELESS[404], self._missing)
                self._served, self._loaded = came, self._loaded or came.fresh
            return self._served

    def _refusal(self, error: openai.APIStatusError, body: Mapping[str, Any], served: Served | None) -> Sent:
        """What an HTTP error status means for the row, or for all rows."""
        code, text = error.status_code, error.response.text
        headers: Mapping[str, str] = error.response.headers
        detail = redact(error_message(text), self.key)
        reason = f"HTTP {code}: {detail}"
        if code == 429 and any(word in text for word in _NO_QUOTA):
            return Useless("the account's quota is used up", reason)
        if code in RETRIED:
            asked = retry_after(headers)
            if asked is None and code == 429:
                asked = pause_after(headers) or None
            if asked is not None and asked > self.settings.retry_seconds:
                return Useless(f"it asks to wait {asked:.0f} s", reason, seconds=asked)
            if asked is not None:
                self.limit.pause(asked)
            # A bare 500 speaks of the row or of a bug; the others of a server that cannot keep up.
            return Retry(
                reason, asked, counts=code != 429, overload=code != 500, silent=code in _GATEWAY, failing=code >= 500
            )
        if code == 404 and served is not None:
            # A server that was started anew has forgotten the adapter; late replies of the same kind say nothing new.
            if self._served is served:
                self._served, self._missing = None, reason
            return Retry(reason, overload=False)
        if code in _HOPELESS:
            return Useless(_HOPELESS[code], reason)
        if code in (400, 422) and self._asks_otherwise(text, body, detail):
            return Retry(reason, counts=False, overload=False)
        if code in (400, 422) and isinstance(body.get("prompt"), list) and "prompt" in text and "str" in text:
            return Useless("it takes no token ids", reason, "send their text (--api text) or messages (--api chat)")
        return Reply(failure=reason)

    def _asks_otherwise(self, text: str, body: Mapping[str, Any], detail: str) -> bool:
        """Whether the request is to be sent again without what the server does not take."""
        if "max_tokens" in body and "max_completion_tokens" in detail:
            self.refused.add("max_tokens")
            return True
        settled = {*DECIDED, *self.settings.extra_body, "tools"} - {"temperature", "top_p", "seed"}
        found = refused_fields(text, body.keys() - settled)
        if new := sorted(found - self.refused):
            logger.warning("%s does not take %s: it is asked without (%s)", self.name, ", ".join(new), detail)
        self.refused |= found
        return bool(found)
