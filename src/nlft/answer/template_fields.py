"""What servers of open models understand besides OpenAI's fields: how to speak to the model, and where it stops."""

from __future__ import annotations

from typing import Any

from nlft.lm.config import TemplateSettings

__all__ = ["template_fields"]


def template_fields(settings: TemplateSettings) -> dict[str, Any]:
    """The fields for a request; only what the settings ask for, as OpenAI's own server refuses them.

    A server stops where its copy of the model says. If a model learnt to end its answers with the token of another
    template, `chat_template` names the model or the adapter folder with that template, and the token is sent along.

    Raises:
        ConfigError, ModelError: for a template without a tokenizer.
    """
    fields: dict[str, Any] = {}
    if settings.thinking != "auto":
        fields["chat_template_kwargs"] = {"enable_thinking": settings.thinking == "on"}
    if settings.chat_template is not None:
        from nlft.lm.load import closing_id, load_tokenizer

        tokenizer = load_tokenizer(settings.chat_template)
        stop = closing_id(tokenizer)
        fields |= {"stop": [tokenizer.decode([stop])], "stop_token_ids": [stop]}
    return fields
