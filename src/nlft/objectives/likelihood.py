"""Objectives that weigh the log-likelihood of the response: SFT, DFT, and a user's own weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from nlft.core.allocation import Allocation
from nlft.core.loss import Loss
from nlft.objectives.interface import Example, Objective, required
from nlft.objectives.registry import register


@register
@dataclass(frozen=True)
class SFT(Objective):
    """Every token has weight 1: mean of -log P."""

    name: ClassVar[str] = "sft"

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """Mean of -log P(y_t | base)."""
        return _weighted(example.logp_base, torch.ones_like(example.logp_base))


@register
@dataclass(frozen=True)
class DFT(Objective):
    """A token's weight is its own probability, detached: mean of -P log P, no gradient through the first P.

    Source: arXiv 2508.05629; TRL's `loss_type="dft"`.
    """

    name: ClassVar[str] = "dft"

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """Mean of -P log P with the first P detached; always the current P, so there is nothing to store."""
        return _weighted(example.logp_base, single(example.logp_base).exp())


@register
@dataclass(frozen=True)
class TokenWeights(Objective):
    """A column of the data is the weight: mean of -w log P; a negative weight makes its token less likely."""

    name: ClassVar[str] = "token-weights"

    def loss(self, example: Example, allocation: Allocation | None) -> Loss:
        """Mean of -w log P(y_t | base).

        Raises:
            DataError: for a row without weights.
        """
        return _weighted(example.logp_base, required(example.token_weights, "token weights"))


def _weighted(logp: Float[Tensor, " n"], weight: Float[Tensor, " n"]) -> Loss:
    logp = single(logp)
    weight = weight.detach().to(logp)
    loss = -(weight * logp).mean()
    return Loss(loss, {"weighted": loss.detach(), "mean_scale": weight.mean()})


def single(logp: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Half precision as float32: sums and exponentials in it would lose what the model computed."""
    return logp.float() if logp.dtype in (torch.float16, torch.bfloat16) else logp
