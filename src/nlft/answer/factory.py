"""From settings to an answerer."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from nlft.answer.config import AskSettings
from nlft.answer.response import NO_KEY
from nlft.answer.types import Answerer
from nlft.config import parse_config
from nlft.errors import ConfigError

__all__ = ["make_answerer", "read_key"]


def make_answerer(settings: AskSettings) -> Answerer:
    """The answerer that the settings describe. A local model is loaded only when it is needed.

    Raises:
        ConfigError: for a missing model, key or adapter folder.
        DataError: for a recording that cannot be read.
    """
    if settings.kind.startswith("replay:"):
        from nlft.answer.replay import ReplayAnswerer

        return ReplayAnswerer(settings.kind.removeprefix("replay:"))
    if (model := settings.model) is None:
        raise ConfigError(f"the {settings.kind} answerer needs a model", remedy="name one with --model")
    if settings.kind == "openai":
        from nlft.answer.server import Endpoint

        if settings.base_url is None and (address := os.environ.get("OPENAI_BASE_URL")):
            settings = parse_config(settings.model_dump(exclude_unset=True) | {"base_url": [address]}, type(settings))
        if settings.base_url is None and settings.adapter is not None:
            raise ConfigError("OpenAI's API takes no adapter", remedy="name a server that does with --base-url")
        return Endpoint(settings, read_key(settings.api_key_file, needed=settings.base_url is None))
    from nlft.answer.local import LocalAnswerer

    if settings.adapter is not None and not Path(settings.adapter).is_dir():
        raise ConfigError("no such adapter folder", file=settings.adapter, remedy="check --adapter")
    return LocalAnswerer(model, settings, adapter=settings.adapter, load=settings)


def read_key(key_file: str | Path | None = None, *, needed: bool) -> SecretStr:
    """The key from a file, else from `OPENAI_API_KEY`.

    Args:
        key_file: A file that holds the key and nothing else.
        needed: Whether it is an error to have no key.

    Raises:
        ConfigError: when the file cannot be read or is empty, or a key is needed and there is none.
    """
    if key_file is not None:
        try:
            key = Path(key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError("the key cannot be read", file=key_file, remedy="check path and permissions") from None
        if len(key.split()) != 1:
            raise ConfigError(
                "the file must hold one key and nothing else", file=key_file, remedy="put the key on its first line"
            )
    else:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and needed:
        raise ConfigError(
            "there is no key",
            remedy="set OPENAI_API_KEY, give --api-key-file, or name a server of your own with --base-url",
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError("the key holds characters that no HTTP header can carry", remedy="copy the key again")
    return SecretStr(key or NO_KEY)
