"""One row, as the file has it and as the model sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nlft.data.config import CheckSettings, ReadSettings
from nlft.data.lengths import paths_of
from nlft.data.load import Reader
from nlft.errors import DataError
from nlft.prompts import Context, Message
from nlft.records import Attempt, Problem

OPEN, CLOSE = "⟦", "⟧"


def find_row(path: str | Path, row: str, read: ReadSettings | None = None) -> tuple[int, Problem]:
    """The line and the record of a row, by its number from 1 or by its id.

    Raises:
        DataError: when the file has no such row, or cannot be read up to it.
    """
    wanted = int(row) if row.isascii() and row.isdigit() else None
    count = 0
    for count, (line, record) in enumerate(Reader.of(path, read or ReadSettings()).records(), start=1):
        if record.id == row or count == wanted:
            return line, record
    raise DataError(f"there is no row {row!r}", file=path, remedy=f"give a number from 1 to {count}, or an id")


def show_row(path: str | Path, row: str, *, model: str | None = None, settings: CheckSettings | None = None) -> str:
    """A row for a terminal: raw, then each prompt; with a model as its template writes it, what is trained in brackets.

    Args:
        path: A file of any stage, or any that `load_problems` takes.
        row: Its number, from 1, or its id.
        model: Whose chat template and tokens to show; None shows the messages.
        settings: How the file is read, the prompts, and the chat template.

    Raises:
        DataError: when the file has no such row.
        ConfigError: for an unknown prompt set.
        ModelError: when the tokenizer cannot be found, or has no chat template.
    """
    settings = settings or CheckSettings()
    prompt_set = settings.prompt_set()
    line, record = find_row(path, row, settings)
    parts = [f"{path}, line {line}", json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)]
    messages = paths_of(record, prompt_set)
    if model is None:
        for name, conversation in messages.items():
            parts.append(_title(f"{name} prompt"))
            parts += [_message(message) for message in conversation]
        return "\n\n".join(parts)

    from nlft.lm import load_tokenizer
    from nlft.lm.encode import encode_prompt, encode_response
    from nlft.lm.frame import frame_of

    tokenizer: Any = load_tokenizer(model, template=settings)
    tools = Context.of(record).tools
    trained: list[int] = []
    if isinstance(record, Attempt):
        ended = record.finish_reason != "length"
        frame = frame_of(tokenizer, messages["base"], tools)
        trained = list(encode_response(tokenizer, record.response, frame, ended=ended).ids)
    ids = {name: encode_prompt(tokenizer, conversation, tools) for name, conversation in messages.items()}
    marked = OPEN + _text(tokenizer, trained) + CLOSE if trained else ""
    for name, prompt in ids.items():
        title = f"{name} path, {len(prompt)} + {len(trained)} tokens; the {len(trained)} trained are in {OPEN} {CLOSE}"
        parts += [_title(title), _text(tokenizer, prompt) + marked]
    parts += [_title("tokens of the base path"), _tokens(tokenizer, ids["base"], trained)]
    return "\n\n".join(parts)


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _message(message: Message) -> str:
    calls = [json.dumps(call, ensure_ascii=False) for call in message.get("tool_calls", ())]
    return "\n".join([f"[{message['role']}]", *([message["content"]] if message["content"] else []), *calls])


def _title(text: str) -> str:
    return f"---- {text} ----"


def _tokens(tokenizer: Any, prompt: list[int], trained: list[int]) -> str:
    """Tokens with a bar between them, line breaks shown as ⏎ and kept, the trained ones in brackets."""
    pieces = [tokenizer.decode([token]).replace("\n", "⏎\n") for token in prompt]
    pieces += [OPEN + tokenizer.decode([token]).replace("\n", "⏎\n") + CLOSE for token in trained]
    return "|".join(pieces)
