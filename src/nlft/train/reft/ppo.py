"""PPO as ReFT uses it: rewards, advantages and the two clipped losses, as pure functions.

Every tensor is (rows, tokens) over the tokens of sampled responses, padded on the right; `mask` is True
for real ones. Values at padded positions never count.

Source: ReFT, arXiv 2401.08967, section 3.2; where the paper does not say (how a loss is averaged, how
advantages are whitened), its authors' released code.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def token_rewards(
    terminal: Float[Tensor, " rows"],
    logp_old: Float[Tensor, "rows tokens"],
    logp_reference: Float[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    *,
    kl_coefficient: float,
) -> Float[Tensor, "rows tokens"]:
    """The reward of each token: the answer's reward at the last one, and everywhere the cost of leaving the reference.

    r_t = [t is the last token] terminal - β (log π_old(y_t) - log π_ref(y_t))

    The bracket's mean over what the policy samples is the KL divergence of the two policies.

    Args:
        terminal: the reward of the answer.
        logp_old: log-probabilities under the policy that sampled, nats.
        logp_reference: the same under the policy after the warm-up, nats.
        mask: which tokens are real; a row without any gets no reward.
        kl_coefficient: β.

    Example:
        >>> old, reference = torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-1.5, -1.0, 9.0]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> token_rewards(torch.tensor([1.0]), old, reference, mask, kl_coefficient=0.1)
        tensor([[-0.0500,  1.1000,  0.0000]])

    Source: arXiv 2401.08967, section 3.2 (r_total).
    """
    rewards = torch.where(mask, -kl_coefficient * (logp_old - logp_reference), 0.0)
    places = torch.arange(mask.shape[1], device=mask.device)
    last = mask & (places == mask.sum(-1, keepdim=True) - 1)
    return rewards + torch.where(last, terminal[:, None], 0.0)


def advantages_and_returns(
    rewards: Float[Tensor, "rows tokens"],
    values: Float[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    *,
    gamma: float,
    lam: float,
) -> tuple[Float[Tensor, "rows tokens"], Float[Tensor, "rows tokens"]]:
    """Generalised advantage estimates A_t, and the λ-returns R_t = A_t + V_t that values are fitted to.

    δ_t = r_t + γ V_{t+1} - V_t,   A_t = δ_t + γ λ A_{t+1};   after the last token V and A are 0.

    Args:
        rewards: r_t.
        values: V_t, the value of the state in which token t is chosen.
        mask: which tokens are real; at the others both results are 0.
        gamma: γ, the discount.
        lam: λ; 0 trusts the values, 1 the rewards.

    Source: Schulman et al., arXiv 1506.02438, equations 11 and 16; arXiv 2401.08967, section 3.2.
    """
    values = torch.where(mask, values, 0.0)
    rewards = torch.where(mask, rewards, 0.0)
    following = torch.zeros_like(values[:, 0])
    running = torch.zeros_like(values[:, 0])
    backwards: list[Tensor] = []
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = torch.where(mask[:, t], delta + gamma * lam * running, 0.0)
        following = values[:, t]
        backwards.append(running)
    advantages = torch.stack(backwards[::-1], dim=1)
    return advantages, advantages + values


def whitened(
    advantages: Float[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"], real: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "rows tokens"]:
    """Advantages with mean 0 and variance 1 over all real tokens of a rollout; 0 at the others.

    (A - mean) / sqrt(var + 1e-8), var with n - 1 in the denominator; of fewer than two tokens it is 0.

    Args:
        advantages: A_t of some rows of the rollout.
        mask: which of their tokens are real.
        real: A_t of all the rollout's real tokens; where None, the rows are the whole rollout.

    Source: the authors' code (`adv_whitening="global"`).
    """
    real = advantages[mask] if real is None else real
    variance = real.var() if real.numel() > 1 else real.new_zeros(())
    mean = real.mean() if real.numel() else real.new_zeros(())
    return torch.where(mask, (advantages - mean) * torch.rsqrt(variance + 1e-8), 0.0)


def mean_over_rows(x: Float[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]) -> Float[Tensor, ""]:
    """The mean over rows of each row's mean over its real tokens, as both losses of the authors' code have it.

    A row without real tokens counts as 0.
    """
    sums = torch.where(mask, x, 0.0).sum(-1)
    return (sums / mask.sum(-1).clamp(min=1)).mean()


def policy_loss(
    logp: Float[Tensor, "rows tokens"],
    logp_old: Float[Tensor, "rows tokens"],
    advantages: Float[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    *,
    clip: float,
) -> Float[Tensor, ""]:
    """PPO's clipped objective, as something to minimise.

    -min(ρ A, clip(ρ, 1 - ε, 1 + ε) A),   ρ = π(y_t) / π_old(y_t)

    If the ratio has already moved by more than ε in the direction of A, the gradient is 0.

    Args:
        logp: under the policy being trained, nats, with gradient.
        logp_old: under the policy that sampled, nats.
        advantages: A_t.
        mask: which tokens are real.
        clip: ε.

    Source: Schulman et al., arXiv 1707.06347, equation 7; arXiv 2401.08967, section 3.2.
    """
    # A padded position may hold anything; a zero there keeps the exponential and its gradient finite.
    ratio = torch.where(mask, logp - logp_old, 0.0).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return mean_over_rows(-torch.minimum(ratio * advantages, clipped * advantages), mask)


def value_loss(
    values: Float[Tensor, "rows tokens"],
    values_old: Float[Tensor, "rows tokens"],
    returns: Float[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    *,
    clip: float,
) -> Float[Tensor, ""]:
    """The squared error of the values, or of the values kept near the old ones, whichever is larger.

    1/2 max( (V - R)², (clip(V, V_old - ε, V_old + ε) - R)² )

    So the gradient is 0 once V has moved by more than ε towards the return.

    Args:
        values: V_t, with gradient.
        values_old: when the response was sampled.
        returns: R_t.
        mask: which tokens are real.
        clip: ε.

    Source: arXiv 2401.08967, section 3.2 (its clip of R - V to A ± ε is the same thing, since A = R - V_old).
    """
    values, values_old, returns = (torch.where(mask, x, 0.0) for x in (values, values_old, returns))
    near = torch.maximum(torch.minimum(values, values_old + clip), values_old - clip)
    return 0.5 * mean_over_rows(torch.maximum((values - returns) ** 2, (near - returns) ** 2), mask)


def explained_variance(values: Float[Tensor, " n"], returns: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """How much of the returns' variance the values explain: 1 - var(R - V) / var(R), not below -1.

    1: the values are the returns; 0: no better than their mean. 0 also for fewer than two tokens.
    """
    if returns.numel() < 2:
        return returns.new_zeros(())
    return (1 - (returns - values).var() / (returns.var() + 1e-8)).clamp(min=-1.0)
