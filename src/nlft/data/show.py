"""One row, as the file has it and as the model sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nlft.data.lengths import paths_of
from nlft.data.load import Reader
from nlft.errors import DataError
from nlft.prompts import load_prompts
from nlft.records import Attempt, Problem

__all__ = ["find_row", "show_row"]

OPEN, CLOSE = "⟦", "⟧"


def find_row(path: str | Path, row: str) -> tuple[int, Problem]:
    """The line and the record of a row, by its number from 1 or by its id.

    Raises:
        DataError: when the file has no such row, or cannot be read up to it.
    """
    wanted = int(row) if row.isascii() and row.isdigit() else None
    count = 0
    for count, (line, record) in enumerate(Reader(path).records(), start=1):
        if record.id == row or count == wanted:
            return line, record
    raise DataError(f"there is no row {row!r}", file=path, remedy=f"give a number from 1 to {count}, or an id")


def show_row(path: str | Path, row: str, *, model: str | None = None, prompts: str = "paper") -> str:
    """A row for a terminal: raw, then each prompt; with a model also through its template, token by token.

    Args:
        path: A file of any stage, or any that `load_problems` takes.
        row: Its number, from 1, or its id.
        model: Whose chat template and tokens to show; None shows the messages.
        prompts: The prompt set.

    Raises:
        DataError: when the file has no such row.
        ConfigError: for an unknown prompt set.
        ModelError: when the tokenizer cannot be found.
    """
    prompt_set = load_prompts(prompts)
    line, record = find_row(path, row)
    parts = [f"{path}, line {line}", json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)]
    messages = paths_of(record, prompt_set)
    if model is None:
        for name, conversation in messages.items():
            parts.append(_title(f"{name} prompt"))
            parts += [f"[{message['role']}]\n{message['content']}" for message in conversation]
        return "\n\n".join(parts)

    from nlft.lm import encode_prompt, load_tokenizer
    from nlft.lm.encode import encode_response

    tokenizer: Any = load_tokenizer(model)
    ids = {name: encode_prompt(tokenizer, conversation) for name, conversation in messages.items()}
    for name, prompt in ids.items():
        parts += [_title(f"{name} prompt, {len(prompt)} tokens"), tokenizer.decode(prompt)]
    response = encode_response(tokenizer, record.response) if isinstance(record, Attempt) else []
    title = f"base path, {len(ids['base']) + len(response)} tokens; the {len(response)} trained are in {OPEN} {CLOSE}"
    parts += [_title(title), _tokens(tokenizer, ids["base"], response)]
    return "\n\n".join(parts)


def _title(text: str) -> str:
    return f"---- {text} ----"


def _tokens(tokenizer: Any, prompt: list[int], trained: list[int]) -> str:
    """Tokens with a bar between them, line breaks shown as ⏎ and kept, the trained ones in brackets."""
    pieces = [tokenizer.decode([token]).replace("\n", "⏎\n") for token in prompt]
    pieces += [OPEN + tokenizer.decode([token]).replace("\n", "⏎\n") + CLOSE for token in trained]
    return "|".join(pieces)
