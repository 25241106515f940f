"""Pairs: a wrong response against a right one, from the token where they part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss
from nlft.errors import ConfigError
from nlft.objectives.interface import Example, Needs, Objective, required
from nlft.objectives.likelihood import single
from nlft.objectives.registry import register


@register
@dataclass(frozen=True)
class Pairs(Objective):
    """With p the probabilities of the row's response, q those of the right response it is paired with, both under the base
    prompt, and k the first token in which the two differ:

        correct rows   mean of -log p
        wrong rows     -log sigmoid(beta D) + likelihood * mean of -log q,   D = mean of log q[k:] - mean of log p[k:]

    What the two share has no part in D. There is no reference model; the likelihood keeps q from falling along with p.

    Attributes:
        beta: how sharply D counts.
        likelihood: the weight of the right response's likelihood.
        span: how many tokens from k on D reads; 0 reads all. A short span compares the step at which they part.

    Source: the loss of SimPO (arXiv 2405.14734) without its margin, at the fork; the likelihood as in CPO (2401.08417).
    """

    name: ClassVar[str] = "pairs"
    beta: float = 2.0
    likelihood: float = 1.0
    span: int = 0

    def __post_init__(self) -> None:
        for option, fits in (
            ("beta", math.isfinite(self.beta) and self.beta > 0),
            ("likelihood", math.isfinite(self.likelihood) and self.likelihood >= 0),
            ("span", self.span >= 0),
        ):
            if not fits:
                least = "above 0" if option == "beta" else "of at least 0"
                raise ConfigError(
                    f"pairs' {option} cannot be {getattr(self, option)!r}", remedy=f"give a number {least}"
                )

    def needs(self, *, correct: bool) -> Needs:
        """The right response of a wrong row, with gradient."""
        return Needs() if correct else Needs(loss=frozenset({"preferred"}))

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """The formula above."""
        wrong = single(example.logp_base)
        if example.correct:
            total = -wrong.mean()
            return Loss(total, {"likelihood": total.detach()})
        right = single(required(example.logp_preferred, "the right response of the pair"))
        margin = self._tail(right, example.fork) - self._tail(wrong, example.fork)
        pair, likelihood = -logsigmoid(self.beta * margin), -right.mean()
        parts = {"pair": pair.detach(), "margin": margin.detach(), "likelihood": likelihood.detach()}
        return Loss(pair + self.likelihood * likelihood, parts)

    def _tail(self, logp: Float[Tensor, " n"], fork: int) -> Float[Tensor, ""]:
        """The mean from the fork on; of the last token if all are shared, as where one response is cut off."""
        start = min(fork, len(logp) - 1)
        return logp[start : start + self.span if self.span else None].mean()
