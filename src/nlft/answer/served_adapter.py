"""A LoRA adapter at a server: found there, or loaded by vLLM's requests for that, under a name made from its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from nlft.adapter.record import served_rank
from nlft.answer.response import RETRIED, Retry, Useless, error_message, redact
from nlft.errors import ConfigError
from nlft.provenance import adapter_hash

if TYPE_CHECKING:
    import openai


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder, and the hash of its config and weights, by which servers know it."""

    folder: Path
    hash: str

    @classmethod
    def of(cls, folder: str) -> Adapter:
        """The adapter in a folder.

        Raises:
            ConfigError: when there is no such folder, or it holds no adapter.
        """
        if not Path(folder).is_dir():
            raise ConfigError("no such adapter folder", file=folder, remedy="check --adapter")
        if not (Path(folder) / "adapter_config.json").is_file():
            raise ConfigError("the folder holds no adapter", file=folder, remedy="give what `nlft train -o` wrote")
        return cls(Path(folder).resolve(), adapter_hash(folder))

    @property
    def name(self) -> str:
        """What servers call it."""
        return f"nlft-{self.hash[:16]}"

    def how_to_serve(self, model: str) -> str:
        """How to start a server that has this adapter, or loads it when told to."""
        vllm = f"vllm serve {model} --enable-lora --max-lora-rank {served_rank(self.folder)}"
        return (
            f"start it with the adapter: {vllm} --lora-modules {self.name}={self.folder}; or let it load adapters: "
            f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True {vllm}. It must see the folder"
        )


@dataclass(frozen=True)
class Served:
    """An adapter that a server has: the model to ask it for, and whether it was loaded just now."""

    model: str
    fresh: bool


async def serve(client: openai.AsyncOpenAI, adapter: Adapter, model: str, key: SecretStr) -> Served | Retry | Useless:
    """See that a server has the adapter.

    Raises:
        openai.APIConnectionError: when it cannot be reached.
    """
    import openai

    try:
        listed: Any = await client.get("/models", cast_to=object)
    except openai.APIStatusError:
        listed = None
    rows = listed.get("data") if isinstance(listed, dict) else None
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if any(row.get("id") == adapter.name for row in rows):
        # SGLang answers with the base model unless the adapter's name follows that of the model.
        sglang = any(row.get("owned_by") == "sglang" for row in rows)
        return Served(f"{model}:{adapter.name}" if sglang else adapter.name, fresh=False)
    try:
        body = {"lora_name": adapter.name, "lora_path": str(adapter.folder)}
        await client.post("/load_lora_adapter", cast_to=str, body=body)
    except openai.APIStatusError as error:
        code, text = error.status_code, error.response.text
        reason = f"HTTP {code}: {redact(error_message(text), key)}"
        if code == 400 and "already" in text:  # another run has loaded it in the meantime
            return Served(adapter.name, fresh=False)
        if code in RETRIED and code != 500:
            return Retry(reason)
        return Useless("it does not load the adapter", reason, adapter.how_to_serve(model))
    return Served(adapter.name, fresh=True)


async def withdraw(client: openai.AsyncOpenAI, adapter: Adapter) -> bool:
    """Let a server unload the adapter; whether it has."""
    import openai

    try:
        await client.post("/unload_lora_adapter", cast_to=str, body={"lora_name": adapter.name})
    except openai.APIError:
        return False
    return True
