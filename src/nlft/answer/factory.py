"""From settings to an answerer."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from nlft.answer.config import AskSettings, ServerSettings
from nlft.answer.response import NO_KEY, without_password
from nlft.answer.types import Answerer
from nlft.config import parse_config
from nlft.errors import ConfigError

OPENAI = "https://api.openai.com"


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


def refuse_to_send_key(settings: ServerSettings, who: str) -> None:
    """Refuse a server that a file names, such as another's recipe, if it would get a key that belongs elsewhere.

    A key belongs to the servers in `OPENAI_BASE_URL`, else to OpenAI. Servers on this machine may have it, too. (A server
    that the user types on the command line is the user's choice; nobody asks here.)

    Args:
        settings: The servers, and where the key is.
        who: Which part of the file, for the message.

    Raises:
        ConfigError: if a key would go to another server.
    """
    if settings.api_key_file is None and not os.environ.get("OPENAI_API_KEY"):
        return
    home = {_origin(address) for address in [OPENAI, *os.environ.get("OPENAI_BASE_URL", "").split(",")]}
    for address in settings.base_url or []:
        if _origin(address) not in home and not _is_here(address):
            raise ConfigError(
                f"{who} would send your key to {without_password(address)}, which a file names, not you",
                remedy="if the key is for that server, set OPENAI_BASE_URL to its address; if it needs none, unset "
                "OPENAI_API_KEY",
            )


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address.strip())
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _is_here(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
