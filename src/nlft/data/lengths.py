"""How long the paths of an example are: in a model's tokens, or without a model in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nlft.lm.config import TemplateSettings
from nlft.prompts import Context, Message, PromptSet
from nlft.records import Problem


@dataclass(frozen=True)
class Measure:
    """A way to measure: `prompt` and `response` give lengths in `unit`; `limit` is what a model takes.

    A prompt is measured with the tools it offers.
    """

    unit: str
    prompt: Callable[[list[Message], Sequence[Any]], int]
    response: Callable[[str], int]
    limit: int | None


@dataclass(frozen=True)
class Lengths:
    """The spread of some lengths."""

    least: int
    middle: float
    most: int

    @classmethod
    def of(cls, values: list[int]) -> Lengths:
        """The spread of one or more lengths."""
        return cls(min(values), median(values), max(values))


def words(limit: int | None) -> Measure:
    """Words between white space: a rough measure, usually at most three quarters of the tokens."""
    return Measure(
        "words",
        prompt=lambda messages, tools: sum(len(message["content"].split()) for message in messages),
        response=lambda text: len(text.split()),
        limit=limit,
    )


def tokens(model: str, limit: int | None, template: TemplateSettings | None = None) -> Measure:
    """The tokens of a model, through its chat template; only its tokenizer is loaded.

    Raises:
        ModelError: when the tokenizer cannot be found, or has no chat template.
    """
    from nlft.lm import encode_prompt, load_tokenizer
    from nlft.lm.encode import encode_response

    tokenizer: Any = load_tokenizer(model, template=template)
    own = getattr(tokenizer, "model_max_length", None)
    if limit is None and isinstance(own, int) and own < 10**9:  # transformers' "unknown" is a huge number
        limit = own
    return Measure(
        "tokens",
        prompt=lambda messages, tools: len(encode_prompt(tokenizer, messages, tools)),
        response=lambda text: len(encode_response(tokenizer, text).ids),
        limit=limit,
    )


def paths_of(record: Problem, prompts: PromptSet) -> Mapping[str, list[Message]]:
    """The prompts a record has: base and standard always, judge where a wrong response has a judgment."""
    context = Context.of(record)
    found = {
        "base": prompts.base(record.question, context),
        "standard": prompts.standard(record.question, record.reference, context),
    }
    row = dict(record)
    verdict, judgment = row.get("verdict"), row.get("judgment")
    if judgment and isinstance(judgment, str) and not (verdict is not None and verdict.correct):
        found["judge"] = prompts.judge(record.question, judgment, context)
    return found
