"""How much each token weighs (paper 3.4, eqs. 3 and 4)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nlft.core.settings import SaliencySettings


def scale_correct(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    salient: Bool[Tensor, " n"],
    cluster: Bool[Tensor, " n"],
    settings: SaliencySettings,
) -> Float[Tensor, " n"]:
    """Eq. 3, with p = P(y_t | standard):

        salient       1 + ((p - p0) / (1 - p0))^c1
        sub-salient   (p / p0)^c2
        irrelevant    (p / p0)^c3

    The powers of p / p0 are taken as logarithms, so an underflowing p gives a small scale, not 0^c.

    Args:
        logp_base: log P(y_t | base), nats; used by `correct_weight="log_ratio"` only.
        logp_standard: log P(y_t | standard), nats.
        salient: the salient tokens.
        cluster: the tokens of their phrases, salient ones included.
        settings: `p0_correct`, `c1`, `c2`, `c3`, `ones`, `correct_weight`.
    """
    if settings.correct_weight == "log_ratio":
        scale = 2.0 * torch.sigmoid(logp_standard - logp_base)
        high = low = rest = scale
    else:
        p0 = settings.p0_correct
        excess = (logp_standard.exp() - p0) / (1.0 - p0)
        log_ratio = logp_standard - math.log(p0)
        # Below p0 the excess is negative and its power undefined; those tokens use another branch.
        high = 1.0 + excess.clamp(min=0.0) ** settings.c1
        low = torch.exp(settings.c2 * log_ratio)
        rest = torch.exp(settings.c3 * log_ratio)
    one = torch.ones_like(logp_standard)
    high = one if "salient" in settings.ones else high
    low = one if "sub_salient" in settings.ones else low
    rest = one if "irrelevant" in settings.ones else rest
    return torch.where(salient, high, torch.where(cluster, low, rest))


def scale_incorrect(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"],
    salient: Bool[Tensor, " n"],
    cluster: Bool[Tensor, " n"],
    settings: SaliencySettings,
    *,
    masked: bool = False,
) -> Float[Tensor, " n"]:
    """Eq. 4, with r1 = P(judge) / P(base):

        salient            2 / (1 + exp(-(r1 - r0)))
        phrase around it   0
        all else           0, or under the authors' preset P(standard)^rest_exponent

    The paper says eq. 4 lies in (0, 1); for r1 > r0 its formula gives (1, 2), and the formula is what
    both presets use. An r1 that overflows gives 2.

    Args:
        logp_base: log P(y_t | base), nats.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats.
        salient: the salient tokens, the errors.
        cluster: the tokens of their phrases, salient ones included.
        settings: `r0`, `incorrect_rest`, `rest_exponent`, `ones`.
        masked: whether the filter applies, so that all other tokens get 0.
    """
    if "error" in settings.ones:
        error = torch.ones_like(logp_base)
    else:
        error = 2.0 * torch.sigmoid(torch.exp(logp_judge - logp_base) - settings.r0)
    rest = torch.zeros_like(logp_base)
    if settings.incorrect_rest == "standard" and not masked:
        rest = torch.exp(settings.rest_exponent * logp_standard).masked_fill(cluster, 0.0)
    return torch.where(salient, error, rest)
