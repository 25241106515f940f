"""What servers of open models understand besides OpenAI's fields: how to speak to the model, and where it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlft.errors import ConfigError
from nlft.lm.config import PLAIN, TemplateSettings


def template_fields(settings: TemplateSettings) -> dict[str, Any]:
    """The arguments of a request; only what the settings ask for, as OpenAI's own server refuses them.

    A server stops where its copy of the model says. If a model learnt to end its answers with the token of another
    template, `chat_template` names the model or the adapter folder with that template, and the token is sent along.

    Raises:
        ConfigError, ModelError: for a template that comes without a tokenizer, which knows the token.
    """
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if settings.thinking != "auto":
        extra["chat_template_kwargs"] = {"enable_thinking": settings.thinking == "on"}
    if settings.chat_template is not None:
        if settings.chat_template == PLAIN or Path(settings.chat_template).is_file():
            raise ConfigError(
                f"a server is sent the token that ends an answer, which {settings.chat_template} alone does not tell",
                remedy="let --chat-template name the model, or the adapter's folder, with this template",
            )
        from nlft.lm.load import closing_id, load_tokenizer

        tokenizer = load_tokenizer(settings.chat_template)
        stop = closing_id(tokenizer)
        fields["stop"], extra["stop_token_ids"] = [tokenizer.decode([stop])], [stop]
    return fields | ({"extra_body": extra} if extra else {})
