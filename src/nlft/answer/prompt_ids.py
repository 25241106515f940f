"""Prompts as training and a local model read them, for a server that is sent token ids, or the text they stand for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from nlft.answer.config import AskSettings
from nlft.answer.types import Request
from nlft.errors import ConfigError, ModelError
from nlft.provenance import digest

# What switches off every way of sampling that the settings do not name: a server may take other defaults from the
# model's generation_config.json. (-1 is every token, for all servers that know `top_k`.)
PLAIN_SAMPLING: dict[str, Any] = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class PromptIds:
    """The fields of a completion request: ids from the encoder of training, and everything that decides the sampling.

    The tokenizer is loaded when it is first needed, without the model's weights.

    Args:
        settings: Which tokenizer and template; for `api` text, the ids are sent as the text that gives them.
    """

    def __init__(self, settings: AskSettings) -> None:
        self.asked = settings
        adapter = settings.adapter
        own = adapter if adapter is not None and (Path(adapter) / "tokenizer_config.json").is_file() else None
        self.source = settings.tokenizer or own or settings.model or ""

    @cached_property
    def tokenizer(self) -> Any:
        """With its chat template settled.

        Raises:
            ConfigError: if it cannot be loaded.
        """
        from nlft.lm.load import load_tokenizer

        try:
            return load_tokenizer(self.source, template=self.asked, adapter=self.asked.adapter)
        except ModelError as error:
            raise ConfigError(
                f"{error.message} (it writes what the server is sent)",
                remedy="name the model, or the adapter's folder, with --tokenizer",
            ) from None

    @cached_property
    def stop_ids(self) -> list[int]:
        """The tokens that end a response of a local model; a server adds those of its own copy."""
        from nlft.lm.load import load_generation_config, stop_ids

        model = self.asked.model or ""
        here = model if self.source == self.asked.adapter and Path(model).is_dir() else self.source
        return sorted(stop_ids(load_generation_config(here), self.tokenizer))

    def settings(self) -> dict[str, Any]:
        """The part of a request's key: the tokenizer by its content, and how it is used."""
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        content = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
        told = {"api": self.asked.api, "tokenizer": digest([content, tokenizer.chat_template])}
        return {**told, "stop_token_ids": self.stop_ids}

    def fields(self, request: Request) -> dict[str, Any]:
        """Prompt, tokens to stop at, and sampling.

        Raises:
            ModelError: for a conversation that the template refuses.
        """
        from nlft.lm.encode import encode_prompt

        ids = encode_prompt(self.tokenizer, request.messages, request.tools)
        fields: dict[str, Any] = {"prompt": ids, "stop_token_ids": self.stop_ids, **PLAIN_SAMPLING}
        if self.asked.api == "text":
            stops = [self.tokenizer.decode([each]) for each in self.stop_ids]
            fields |= {"prompt": self._text(ids), "stop": stops[:4]}  # OpenAI's API takes four
        return fields

    def _text(self, ids: list[int]) -> str:
        """The text that a server's tokenizer turns into the ids, which may begin it with a token of its own."""
        tokenizer = self.tokenizer
        text = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        begun = text.removeprefix(tokenizer.bos_token or "")
        return text if list(tokenizer(text).input_ids) == ids else begun
