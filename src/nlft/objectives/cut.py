"""CUT: contrastive unlikelihood training (arXiv 2312.14591), the closest relative of NLFT."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss, example_loss
from nlft.core.settings import SaliencySettings
from nlft.errors import ConfigError
from nlft.objectives.interface import Example, Needs, Objective, required
from nlft.objectives.nlft import with_figures
from nlft.objectives.registry import register

# CUT's two losses are eq. 5 of NLFT with other scales: right rows as plain likelihood, wrong rows with
# unlikelihood on the errors, likelihood on the rest and on the judge path, each with half weight.
_RIGHT = SaliencySettings()
_WRONG = SaliencySettings(incorrect_term="unlikelihood", likelihood=1.0, factor=0.5)


@register
@dataclass(frozen=True)
class CUT(Objective):
    """With p+ = P(judge), p- = P(base), both with gradient:

        wrong rows   1/2 [ mean of -log p+  +  mean of (-w log(1 - p-) if p+ / p- > threshold, else -log p-) ]
        right rows   mean of -log p-

    Attributes:
        threshold: the paper's lambda, 1.1 to 1.2 there, 1.1 in its scripts.
        weight: the paper's alpha, here w, 0.5 to 1 there.
    """

    name: ClassVar[str] = "cut"
    threshold: float = 1.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise ConfigError(f"cut's threshold cannot be {self.threshold}", remedy="give a ratio above 0, as 1.1")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"cut's weight cannot be {self.weight}", remedy="give a number of at least 0")

    def needs(self, *, correct: bool) -> Needs:
        """The judge path of a wrong row, with gradient."""
        return Needs() if correct else Needs(weigh=frozenset({"judge"}), loss=frozenset({"judge"}))

    def weigh(self, example: Example) -> Allocation:
        """The errors, p+ / p- > threshold or what a person marked, have scale w, all else 1."""
        base = example.logp_base.detach()
        scale = torch.ones_like(base)
        if example.correct:
            nowhere = torch.zeros_like(base, dtype=torch.bool)
            return Allocation(nowhere, nowhere, scale)
        judge = required(example.logp_judge, "the judge path").detach()
        error = judge - base > math.log(self.threshold) if example.marks is None else example.marks
        return Allocation(error, error, torch.where(error, self.weight, scale), correct=False)

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """The formula above."""
        allocation = self.weigh(example) if allocation is None else allocation
        if example.correct:
            return with_figures(example_loss(example.logp_base, allocation, _RIGHT), allocation)
        judge = required(example.logp_judge, "the judge path")
        return with_figures(example_loss(example.logp_base, allocation, _WRONG, judge), allocation)
