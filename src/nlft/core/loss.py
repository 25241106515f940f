"""The token-level loss (paper 3.4, eq. 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from nlft.core.allocation import Allocation
from nlft.core.saliency import prepare
from nlft.core.settings import SaliencySettings


@dataclass(frozen=True)
class Loss:
    """One example's loss, a mean over its own n tokens.

    The mean over rows is algorithm 1's; for the mean over all tokens of a batch, weight each row's `total` by its n.

    Attributes:
        total: what is minimised, with gradient; of `example_loss`: factor * (weighted + likelihood).
        parts: its components, and anything else to log, by name.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weighted(self) -> Float[Tensor, ""]:
        """The paper's term, eq. 5 as something to minimise."""
        return self.parts["weighted"]

    @property
    def likelihood(self) -> Float[Tensor, ""]:
        """The authors' extra term; 0 under the preset `paper`."""
        return self.parts["likelihood"]


def example_loss(
    logp_base: Float[Tensor, " n"],
    allocation: Allocation,
    settings: SaliencySettings,
    logp_judge: Float[Tensor, " n"] | None = None,
) -> Loss:
    """Eq. 5 of one example, as something to minimise; no synchronisation with the device.

    weighted = 1/n * sum of `token_terms`

    likelihood = -settings.likelihood/n * sum of log P(base), or of log P(judge) for an incorrect response.

    An excluded example gives 0.

    Args:
        logp_base: log P(y_t | base), nats, with gradient.
        allocation: the result of `allocate`, new or stored.
        settings: the constants.
        logp_judge: log P(y_t | judge), nats, with gradient; needed for the authors' extra term of an
            incorrect response, otherwise unused.

    Raises:
        ValueError: if lengths differ, or the extra term lacks the judge path.

    >>> import torch
    >>> everything = torch.ones(2, dtype=torch.bool)
    >>> weights = Allocation(everything, everything, torch.tensor([2.0, 1.0]))
    >>> example_loss(torch.tensor([-1.0, -3.0]), weights, SaliencySettings.paper()).total
    tensor(2.5000)

    Source: arXiv 2412.20382, eq. 5; the extra term and the factor are the authors' code's.
    """
    if len(logp_base) != len(allocation.scale):
        raise ValueError(f"{len(logp_base)} log-probabilities, but an allocation of {len(allocation.scale)} tokens")
    correct = allocation.correct and logp_judge is None
    weighted = token_terms(logp_base, allocation, settings, correct=correct).mean()
    likelihood = _likelihood(logp_base, logp_judge, allocation, settings, correct=correct).to(weighted)
    total = settings.factor * (weighted + likelihood)
    return Loss(total, {"weighted": weighted, "likelihood": likelihood})


def token_terms(
    logp_base: Float[Tensor, " n"], allocation: Allocation, settings: SaliencySettings, *, correct: bool
) -> Float[Tensor, " n"]:
    """Each token's term of eq. 5, as something to minimise.

        -S log P(base)          correct response; under `incorrect_rest="standard"` also the
                                tokens of an incorrect response that are not salient
        -S log(1 - P(base))     salient in an incorrect response, `incorrect_term="unlikelihood"`
        -S (1 - log P(base))    the same, `incorrect_term="literal"`: unbounded below

    P(base) = 1 in the unlikelihood gives log(unlikelihood_floor). For the arguments see `example_loss`.
    """
    logp = prepare(logp_base, settings, correct=correct, base=True)
    scale = allocation.scale.detach().to(logp)
    terms = scale * logp
    if not correct:
        terms = torch.where(allocation.salient, scale * _unlearn(logp, settings), terms)
    return -terms


def _unlearn(logp: Float[Tensor, " n"], settings: SaliencySettings) -> Float[Tensor, " n"]:
    if settings.incorrect_term == "literal":
        return 1.0 - logp
    return log_one_minus(logp, settings.unlikelihood_floor)


def log_one_minus(logp: Float[Tensor, " n"], floor: float) -> Float[Tensor, " n"]:
    """log(1 - P) from log P, with 1 - P no less than `floor`.

    The value stops at log(floor) as P nears 1, the gradient at -P / floor: a token the model is sure
    of still gets a gradient, which a plain clamp would remove.
    """
    rest = -torch.expm1(logp)
    # Straight through: the forward value is floored, the backward pass sees 1 - P.
    rest = rest + (rest.clamp(min=floor) - rest).detach()
    return torch.log(rest)


def _likelihood(
    logp_base: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"] | None,
    allocation: Allocation,
    settings: SaliencySettings,
    *,
    correct: bool,
) -> Float[Tensor, ""]:
    """The authors' extra term; it reads the probabilities unrounded, as their code does."""
    if settings.likelihood == 0 or allocation.excluded:
        return logp_base.new_zeros(())
    path = logp_base if correct else logp_judge
    if path is None:
        raise ValueError("the likelihood term of an incorrect response needs logp_judge")
    return -settings.likelihood * prepare(path, settings, correct=True, base=path is logp_base).mean()
