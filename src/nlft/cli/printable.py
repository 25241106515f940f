"""Text that came from data, made fit for a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Text with its control characters escaped, so that data cannot move the cursor or recolour a terminal.

    Line feeds and tabs stay; lone surrogates, which no terminal can show, are escaped too.

    >>> printable("a\x1b[31mb\n\x07")
    'a\\x1b[31mb\n\\x07'
    """
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
