"""Does a merged model answer as the model with its adapter does?

Merging rounds the weights anew, so that log-probabilities move a little, and where two tokens are almost equally likely
the other one may come first. Both models are run in float32, so that nothing but the merged weights can differ. Where
their greedy answers part, with u the model with its adapter, m the merged one, and a and b their first tokens that
differ, the two together moved these tokens apart by

    shift = (log u(a) - log u(b)) + (log m(b) - log m(a))   nats.

Merging explains a shift up to `TOLERANCE`, provided that what rounding moves is small beside what was learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.lm.config import SamplingSettings
from nlft.prompts import Context, PromptSet
from nlft.records import Problem

# On SmolLM2-135M the largest shifts were 0.92 in bfloat16 and none in float16, which has eight times its precision.
TOLERANCE = {"float32": 0.01, "float16": 0.25, "bfloat16": 2.0}
# What rounding may move, as a share of what the adapter moves.
SHARE = 0.5
TOP = 20


@dataclass(frozen=True)
class Answer:
    """A greedy answer: its tokens, the one that stops it included.

    Attributes:
        prompt, tokens: Ids.
        logp: The log-probability of each token.
        top: The likeliest tokens at each place, with their log-probabilities.
        untrained: The log-probability of each token without the adapter; the same where there is none.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    logp: tuple[float, ...]
    top: tuple[dict[int, float], ...]
    untrained: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The two answers to a problem.

    Attributes:
        id: The problem's.
        tokens: Length of the adapter's answer.
        place: The first token that differs; None if none does.
        shift: How far the models moved those two tokens apart, in nats; 0 if no token differs.
        adapter, merged: Log-probability of the adapter's answer under either model.
    """

    id: str
    tokens: int
    place: int | None
    shift: float
    adapter: float
    merged: float

    def __str__(self) -> str:
        same = "same" if self.place is None else f"differs from token {self.place + 1}, shift {self.shift:.3f}"
        return f"{self.id}: {self.tokens} tokens, log-probability {self.adapter:.3f}, merged {self.merged:.3f}: {same}"


@dataclass(frozen=True)
class Check:
    """All comparisons; `rounded` and `learnt` are what merging and the adapter move, in nats per token on average."""

    problems: tuple[Comparison, ...]
    rounded: float
    learnt: float

    @property
    def differ(self) -> int:
        """How many answers differ."""
        return sum(each.place is not None for each in self.problems)

    def explained(self, dtype: str) -> bool:
        """Whether merging to this type explains what differs."""
        near = all(each.shift <= TOLERANCE[dtype] for each in self.problems)  # NaN is no explanation
        return near and (self.differ == 0 or self.rounded <= SHARE * self.learnt)

    def __str__(self) -> str:
        n = len(self.problems)
        return (
            "\n".join(map(str, self.problems))
            + (
                f"\n{n - self.differ} of {n} answers are the same; on average, rounding moves a token's log-probability by "
                f"{self.rounded:.4f} nats, the adapter by {self.learnt:.4f}"
            )
            + (
                "\nto keep more of them, give the weights more precision: --dtype float16 or float32"
                if self.differ
                else ""
            )
        )


def answers(lm: Any, problems: Sequence[Problem], prompts: PromptSet, *, max_new_tokens: int) -> list[Answer]:
    """Greedy answers, scored by the model that gave them."""
    from nlft.lm import encode_prompt
    from nlft.lm.generate import generate

    given = [(problem, Context.of(problem)) for problem in problems]
    ids = [encode_prompt(lm.tokenizer, prompts.base(p.question, context), context.tools) for p, context in given]
    settings = SamplingSettings(temperature=0, max_new_tokens=max_new_tokens, batch_size=8)
    found: dict[int, tuple[int, ...]] = {}
    for each in generate(lm, ids, settings):
        found[each.index] = each.token_ids + ((each.stop_id,) if each.stop_id is not None else ())
    return scored(lm, [(tuple(prompt), found[number]) for number, prompt in enumerate(ids)])


def scored(lm: Any, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[Answer]:
    """Given answers to given prompts, with what the model thinks of them."""
    import torch

    from nlft.lm import TokenPath, path_logprobs
    from nlft.lm.wrappers import base_model

    result = []
    with torch.inference_mode():
        for prompt, tokens in pairs:
            path = [TokenPath(prompt, tokens)]
            found = path_logprobs(lm.model, path, top_k=TOP)[0][0]
            with base_model(lm.model):
                untrained = path_logprobs(lm.model, path)[0][0].logp
            values, ids = found.top if found.top is not None else (torch.empty(0), torch.empty(0))
            top = tuple(dict(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True))
            result.append(Answer(prompt, tokens, tuple(found.logp.tolist()), top, tuple(untrained.tolist())))
    return result


def compare(problems: Sequence[Problem], before: Sequence[Answer], after: Sequence[Answer], lm: Any) -> Check:
    """Compare the adapter's answers with the merged model's.

    Args:
        problems: What was asked.
        before: The answers of the model with its adapter.
        after: Those of the merged model.
        lm: The merged model, which scores the adapter's answers, too.
    """
    again = scored(lm, [(answer.prompt, answer.tokens) for answer in before])
    found = tuple(_compared(*each) for each in zip(problems, before, after, again, strict=True))
    rounded = [
        abs(u - m) for old, new in zip(before, again, strict=True) for u, m in zip(old.logp, new.logp, strict=True)
    ]
    learnt = [abs(u - b) for old in before for u, b in zip(old.logp, old.untrained, strict=True)]
    return Check(found, sum(rounded) / len(rounded), sum(learnt) / len(learnt))


def _compared(problem: Problem, before: Answer, after: Answer, again: Answer) -> Comparison:
    place, shift = None, 0.0
    if before.tokens != after.tokens:
        short = min(len(before.tokens), len(after.tokens))
        place = next((i for i in range(short) if before.tokens[i] != after.tokens[i]), short)
        shift = math.inf  # where one never considers the other's token
        if place < short:
            a, b = before.tokens[place], after.tokens[place]
            u, m = before.top[place], again.top[place]
            if a in m and b in u:
                shift = (u[a] - u[b]) + (m[b] - m[a])
    return Comparison(problem.id, len(before.tokens), place, shift, sum(before.logp), sum(again.logp))
