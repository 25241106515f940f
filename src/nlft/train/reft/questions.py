"""What PPO trains on: the questions, their answer keys, and the order they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch.utils.data import Sampler

from nlft.errors import DataError
from nlft.lm.encode import encode_prompt
from nlft.prompts import Context, PromptSet
from nlft.records import Problem


def question_rows(
    rows: Sequence[Problem],
    tokenizer: Any,
    prompts: PromptSet,
    *,
    room: int,
    context_length: int | None,
    max_length: int | None = None,
) -> list[dict[str, str]]:
    """The rows as TRL takes them; `prompt` is the bare question; encoding adds the text around it.

    Args:
        rows: Problems; any answers they hold are ignored.
        tokenizer: The model's tokenizer.
        prompts: The text around the question.
        room: The maximum length of a response, in tokens.
        context_length: The longest sequence the model accepts.
        max_length: The longest question with response that the settings accept.

    Raises:
        DataError: if a question leaves less room, or there are no rows.
    """
    if not rows:
        raise DataError("no rows to train on", remedy="check the input file")
    for row in rows:
        if Context.of(row) != Context():
            raise DataError(
                f"row {row.id!r}: reft answers a question alone, and this row has a system message, earlier turns or "
                "tools",
                remedy="remove those columns, or train with another objective",
            )
        length = len(encode_prompt(tokenizer, prompts.base(row.question)))
        if max_length is not None and length >= max_length:
            raise DataError(
                f"row {row.id!r}: {length} tokens, which leave no room for a response in max_length ({max_length})",
                remedy="raise max_length, or choose a shorter prompt set",
            )
        longest = min(length + room, max_length or length + room)
        if context_length is not None and longest > context_length:
            raise DataError(
                f"row {row.id!r}: {length} tokens and {room} new ones, but the model takes {context_length}",
                remedy="remove the row, or lower max_new_tokens",
            )
    return [{"id": row.id, "prompt": row.question, "reference": row.reference} for row in rows]


class QuestionSampler(Sampler[int]):
    """Every question at least once an epoch, in an order that depends on (seed, epoch) alone.

    The questions of a rollout come together, and again for every later pass over its responses. A last
    rollout that is not full is filled up from the beginning of the order, where TRL's own sampler would
    drop it; and as the order needs no memory of earlier epochs, a resumed run sees the one an uninterrupted
    run would have seen.

    Args:
        rows: The number of questions.
        rollout: The number of questions answered together.
        repeats: The number of batches taken from a rollout.
        seed: Seed for the order.
        epoch: Returns the current epoch, counted from 0.
    """

    def __init__(self, rows: int, *, rollout: int, repeats: int, seed: int, epoch: Callable[[], int]) -> None:
        self.rows, self.rollout, self.repeats = rows, rollout, repeats
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return -(-self.rows // self.rollout) * self.rollout * self.repeats

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        order = torch.randperm(self.rows, generator=generator).tolist()
        order += list(islice(cycle(order), -self.rows % self.rollout))
        for start in range(0, len(order), self.rollout):
            for _ in range(self.repeats):
                yield from order[start : start + self.rollout]
