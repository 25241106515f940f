"""Which tokens are salient (paper 3.3, eqs. 1 and 2)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nlft.core.settings import SaliencySettings


def salient_correct(
    logp_base: Float[Tensor, " n"], logp_standard: Float[Tensor, " n"], settings: SaliencySettings
) -> Bool[Tensor, " n"]:
    """Salient tokens of a correct response: P(standard) > p0_correct.

    Compared as logarithms, so that a probability exactly at the threshold is not salient in any precision.
    With `correct_weight="log_ratio"` instead P(standard) / P(base) > least_ratio.

    Args:
        logp_base: log P(y_t | base), nats; used by the log-ratio form only.
        logp_standard: log P(y_t | standard), nats.
        settings: `p0_correct`, `correct_weight`, `least_ratio`.
    """
    if settings.correct_weight == "log_ratio":
        return logp_standard - logp_base > math.log(settings.least_ratio)
    return logp_standard > math.log(settings.p0_correct)


def salient_incorrect(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"],
    settings: SaliencySettings,
) -> Bool[Tensor, " n"]:
    """Salient tokens, the errors, of an incorrect response.

    r1 = P(judge) / P(base) > least_ratio, r2 = P(judge) / P(standard) > least_ratio, P(judge) > p0_incorrect.

    Args:
        logp_base: log P(y_t | base), nats.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats.
        settings: `least_ratio`, `p0_incorrect` (0 switches the last condition off).
    """
    least = math.log(settings.least_ratio)
    salient = (logp_judge - logp_base > least) & (logp_judge - logp_standard > least)
    if settings.p0_incorrect > 0:
        salient &= logp_judge > math.log(settings.p0_incorrect)
    return salient


def prepare(
    logp: Float[Tensor, " n"], settings: SaliencySettings, *, correct: bool, base: bool = False
) -> Float[Tensor, " n"]:
    """Log-probabilities as the equations take them: float32 or better, finite.

    Half precision becomes float32. -inf becomes `LOWEST`. Under the authors' preset, as in their code, a
    probability of the base path that underflows becomes `zero_probability`, a constant, and the float64
    probabilities of an incorrect response are rounded to float32.
    """
    if logp.dtype in (torch.float16, torch.bfloat16):
        logp = logp.float()
    probability = logp.detach().exp()
    if settings.float32_incorrect and not correct and logp.dtype == torch.float64:
        probability = probability.float().double()
        logp = torch.where(probability == 0, logp, _round(logp, probability))
    if base and settings.zero_probability > 0:
        logp = torch.where(probability == 0, math.log(settings.zero_probability), logp)
    return torch.where(logp == -math.inf, LOWEST, logp)


def _round(logp: Float[Tensor, " n"], to: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log P with P at the value `to`; the gradient with respect to P passes unchanged, as through a cast."""
    probability = logp.exp()
    rounded = probability + (to - probability).detach()
    # If `to` is 0, the caller uses another value; log 1 keeps the unused gradient finite.
    return torch.log(torch.where(to == 0, 1.0, rounded))


LOWEST = -1e4
"""What log P = -inf becomes, in nats: far below any logarithm a softmax gives, yet far from overflow."""
