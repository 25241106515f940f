"""Likelihood before a wrong response's first error, unlikelihood at it, nothing after it; and a clipped-ratio weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss, example_loss
from nlft.core.settings import SaliencySettings
from nlft.errors import ConfigError
from nlft.objectives.interface import Example, Needs, Objective, required
from nlft.objectives.likelihood import single
from nlft.objectives.nlft import with_figures
from nlft.objectives.registry import register


@register
@dataclass(frozen=True)
class FirstError(Objective):
    """With v the row's token weights (`nlft.steps.step_weights`): 1 before the first wrong step and at the closing form,
    -1 at that step, 0 after it; p+ = P(judge), p- = P(base):

        correct rows mean of -w log p-, w = 1, or 2 / (1 + P(base) / P(standard)) under right="log_ratio"
        wrong rows   mean of   -v log p-                      where v >= 0
                               -|v| weight log(1 - p-)        where v < 0 and p+ / p- > threshold
                                                              and p+ / P(standard) > standard_threshold
                               0                              where v < 0 otherwise

    The mean is over all n tokens. 1 - p- is never taken below `floor`, which bounds the term and its gradient
    (at most 1 / floor for a token the model is sure of). The token weights of a correct row are ignored.

    Attributes:
        threshold: how much likelier the judgment must make a token of the wrong step; 0 takes all of them.
        standard_threshold: how much likelier it must be than with the standard answer; 0 turns this off. A judgment that
            quotes the step makes all of it likelier, even its right part; the standard answer raises only the right part.
        weight: of the unlikelihood; 0 trains only on what comes before the error.
        floor: the least 1 - p-.
        right: how correct rows weigh their tokens.

    Source: step-aligned negatives, arXiv 2606.11173 and 2406.14532; the ratio is CUT's, 2312.14591.
    """

    name: ClassVar[str] = "first-error"
    threshold: float = 1.2
    standard_threshold: float = 0.0
    weight: float = 1.0
    floor: float = 0.1
    right: Literal["likelihood", "log_ratio"] = "likelihood"

    def __post_init__(self) -> None:
        _require(math.isfinite(self.threshold) and self.threshold >= 0, self, "threshold", "give a ratio, as 1.2")
        known = math.isfinite(self.standard_threshold) and self.standard_threshold >= 0
        _require(known, self, "standard_threshold", "give a ratio, as 1.2, or 0")
        _require(math.isfinite(self.weight) and self.weight >= 0, self, "weight", "give a number of at least 0")
        _require(0 < self.floor < 1, self, "floor", "give a probability between 0 and 1, as 0.1")
        _require(self.right in ("likelihood", "log_ratio"), self, "right", "likelihood or log_ratio")

    def needs(self, *, correct: bool) -> Needs:
        """The judge path of a wrong row; the standard path of a correct one under `log_ratio`."""
        if correct:
            return Needs(weigh=frozenset({"standard"}) if self.right == "log_ratio" else frozenset())
        return Needs(weigh=frozenset({"judge", "standard"} if self.standard_threshold else {"judge"}))

    def weigh(self, example: Example) -> Allocation:
        """|v| is the scale, set to 0 at the tokens of the wrong step that the judge path does not confirm."""
        base = single(example.logp_base.detach())
        nowhere = torch.zeros_like(base, dtype=torch.bool)
        if example.correct:
            scale = torch.ones_like(base)
            if self.right == "log_ratio":
                standard = required(example.logp_standard, "the standard path").detach().to(base)
                scale = 2.0 * torch.sigmoid(standard - base)
            return Allocation(nowhere, nowhere, scale)
        error, scale = _signed(example, base, self.threshold)
        if self.standard_threshold and example.marks is None:
            standard = required(example.logp_standard, "the standard path").detach().to(base)
            judge = required(example.logp_judge, "the judge path").detach().to(base)
            singled = judge - standard > math.log(self.standard_threshold)
            scale = torch.where(error & ~singled, 0.0, scale)
            error = error & singled
        return Allocation(error, error, torch.where(error, self.weight * scale, scale), correct=False)

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """The formula above."""
        allocation = self.weigh(example) if allocation is None else allocation
        return with_figures(example_loss(example.logp_base, allocation, _bounded(self.floor)), allocation)


@register
@dataclass(frozen=True)
class ClippedRatio(Objective):
    """`first-error` with each scale times w = 1 + strength (clip(r, 1 - epsilon, 1 + epsilon) - 1), where

        correct rows r = P(standard) / P(base)
        wrong rows   r = P(judge) / P(base)

    Attributes:
        epsilon: how far r may be from 1.
        strength: RLSD's lambda.
        threshold, weight, floor: as for `first-error`.

    Source: RLSD's weight, applied to given rows instead of sampled ones.
    """

    name: ClassVar[str] = "clipped-ratio"
    epsilon: float = 0.2
    strength: float = 0.5
    threshold: float = 1.2
    weight: float = 1.0
    floor: float = 0.1

    def __post_init__(self) -> None:
        FirstError(threshold=self.threshold, weight=self.weight, floor=self.floor)
        _require(0 <= self.epsilon < 1, self, "epsilon", "give a number from 0 to 1, as 0.2")
        _require(math.isfinite(self.strength) and self.strength >= 0, self, "strength", "give a number of at least 0")

    def needs(self, *, correct: bool) -> Needs:
        """The standard path of a correct row, the judge path of a wrong one."""
        return Needs(weigh=frozenset({"standard" if correct else "judge"}))

    def weigh(self, example: Example) -> Allocation:
        """The scales above."""
        base = single(example.logp_base.detach())
        if example.correct:
            scale, error = torch.ones_like(base), torch.zeros_like(base, dtype=torch.bool)
            other = required(example.logp_standard, "the standard path")
        else:
            error, scale = _signed(example, base, self.threshold)
            scale = torch.where(error, self.weight * scale, scale)
            other = required(example.logp_judge, "the judge path")
        ratio = torch.exp(other.detach().to(base) - base).clamp(1.0 - self.epsilon, 1.0 + self.epsilon)
        scale = scale * (1.0 + self.strength * (ratio - 1.0))
        return Allocation(error, error, scale, correct=example.correct)

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """As for `first-error`."""
        allocation = self.weigh(example) if allocation is None else allocation
        return with_figures(example_loss(example.logp_base, allocation, _bounded(self.floor)), allocation)


def _signed(example: Example, base: Float[Tensor, " n"], threshold: float) -> tuple[Tensor, Tensor]:
    """A wrong row's error mask and |v|; |v| is 0 at the wrong step's tokens that the judge path does not confirm.

    What a person marked is the error, with |v| 1, and needs no confirmation.
    """
    weights = required(example.token_weights, "token weights of the wrong step").detach().to(base)
    judge = required(example.logp_judge, "the judge path").detach().to(base)
    if example.marks is not None:
        return example.marks, torch.where(example.marks, 1.0, weights.clamp(min=0.0))
    agrees = judge - base > math.log(threshold) if threshold > 0 else torch.ones_like(base, dtype=torch.bool)
    error = (weights < 0) & agrees
    return error, torch.where(weights < 0, torch.where(error, -weights, 0.0), weights)


def _bounded(floor: float) -> SaliencySettings:
    return SaliencySettings(incorrect_term="unlikelihood", unlikelihood_floor=floor)


def _require(fits: bool, objective: Objective, option: str, remedy: str) -> None:
    if not fits:
        value = getattr(objective, option)
        raise ConfigError(f"{objective.name}'s {option} cannot be {value!r}", remedy=remedy)
