"""Each token's text, without splitting a character over two tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What a decoder writes for bytes that are not (yet) a complete UTF-8 character.
UNFINISHED = "\ufffd"


def token_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text each token adds; joined, the pieces are `tokenizer.decode(ids)`, including special tokens.

    Byte-level tokenizers spread one character or emoji over several tokens. Such a character goes
    to its last token; the tokens before it get the empty string.

    Args:
        tokenizer: Anything with Hugging Face's `decode`.
        ids: n token ids.

    Returns:
        n strings. Bytes that never form a character end as U+FFFD, as in `decode`.
    """
    ids = list(ids)
    pieces = _by_window(tokenizer, ids)
    whole = _decode(tokenizer, ids)
    # Few decoders look further back than the window; for those, use the slow way.
    return pieces if "".join(pieces) == whole else _by_prefix(tokenizer, ids, whole)


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _by_window(tokenizer: Any, ids: list[int]) -> list[str]:
    """Decode a few tokens of context with each new one: linear in n."""
    pieces = [""] * len(ids)
    context, done = 0, 0  # ids[context:done] is already returned, but later text depends on it
    for end in range(1, len(ids) + 1):
        before = _decode(tokenizer, ids[context:done])
        text = _decode(tokenizer, ids[context:end])
        if (text.endswith(UNFINISHED) and end < len(ids)) or not text.startswith(before):
            continue
        pieces[end - 1] = text[len(before) :]
        context, done = done, end
    return pieces


def _by_prefix(tokenizer: Any, ids: list[int], whole: str) -> list[str]:
    """Decode every prefix: quadratic, but right for any decoder that never retracts a character."""
    pieces, given = [""] * len(ids), 0
    for end in range(1, len(ids) + 1):
        text = whole if end == len(ids) else _decode(tokenizer, ids[:end])
        if whole.startswith(text) and len(text) > given:
            pieces[end - 1], given = text[given:], len(text)
    return pieces
