"""Keys: read from the environment or a file, and kept out of everything that is printed or stored."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from nlft.errors import ConfigError

__all__ = ["NO_KEY", "Secret", "read_key", "without_password"]

NO_KEY = "none"
"""What a server that asks for no key is sent."""

_LOOKS_LIKE_KEY = re.compile(r"\b(?:sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_-]{8,}|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}")


class Secret:
    """A key that shows itself to no `repr`, and can strike itself out of a text."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(...)"

    def reveal(self) -> str:
        """The key itself, for the client that sends it."""
        return self._value

    def redact(self, text: str) -> str:
        """The text with this key, and whatever looks like one, struck out."""
        if self._value and self._value != NO_KEY:
            text = text.replace(self._value, "[key]")
        return _LOOKS_LIKE_KEY.sub("[key]", text)

    def redact_exactly(self, text: str) -> str:
        """The text with this very key struck out: for replies, which else must not be altered."""
        return text.replace(self._value, "[key]") if len(self._value) >= 16 else text


def read_key(key_file: str | Path | None = None, *, needed: bool) -> Secret:
    """The key from a file, else from `OPENAI_API_KEY`.

    Args:
        key_file: A file that holds the key and nothing else.
        needed: Whether to go without one is an error.

    Raises:
        ConfigError: when the file cannot be read or is empty, or a key is needed and there is none.
    """
    if key_file is not None:
        try:
            key = Path(key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError("the key cannot be read", file=key_file, remedy="check path and permissions") from None
        if not key or len(key.split()) != 1:
            raise ConfigError(
                "the file must hold one key and nothing else", file=key_file, remedy="put the key on its first line"
            )
    else:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and needed:
        raise ConfigError(
            "there is no key",
            remedy="set OPENAI_API_KEY, give --api-key-file, or name a server of your own by --base-url",
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError("the key holds characters that no HTTP header can carry", remedy="copy the key again")
    return Secret(key or NO_KEY)


def without_password(url: str) -> str:
    """The address without user name, password and query, for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
