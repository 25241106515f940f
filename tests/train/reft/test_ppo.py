"""ReFT's maths against numbers worked out by hand, and against plain loops."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nlft.train.reft import ppo

YES, NO = True, False


def tensor(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def close(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), atol=1e-12, rtol=0)


def test_the_penalty_is_in_every_reward_and_the_answers_reward_in_the_last() -> None:
    # Row 1: log-ratios 0.2, -1, 0; times -0.05: -0.01, +0.05, 0; the last token adds the partial reward 0.1.
    # Row 2 ends after one token, log-ratio 0.4: 1 - 0.05 * 0.4 = 0.98; what is padded counts for nothing.
    old = tensor([-1.0, -2.0, -0.5], [-0.1, 3.0, math.nan])
    reference = tensor([-1.2, -1.0, -0.5], [-0.5, -math.inf, 1.0])
    mask = torch.tensor([[YES, YES, YES], [YES, NO, NO]])
    terminal = torch.tensor([0.1, 1.0], dtype=torch.float64)
    found = ppo.token_rewards(terminal, old, reference, mask, kl_coefficient=0.05)
    close(found, [[-0.01, 0.05, 0.1], [0.98, 0.0, 0.0]])


def test_advantages_of_three_tokens_by_hand() -> None:
    # gamma 1, lambda 0.95. Row 1: r = 0, 0, 1 and V = 0.2, 0.5, 0.4, so
    #   delta_3 = 1 - 0.4 = 0.6,  delta_2 = 0.4 - 0.5 = -0.1,  delta_1 = 0.5 - 0.2 = 0.3
    #   A_3 = 0.6,  A_2 = -0.1 + 0.95 * 0.6 = 0.47,  A_1 = 0.3 + 0.95 * 0.47 = 0.7465;  R = A + V
    # Row 2 has two tokens: r = -0.05, 1.1 and V = 0.5, 0.1, so delta_2 = 1.0, delta_1 = -0.05 + 0.1 - 0.5 = -0.45,
    #   A_2 = 1.0,  A_1 = -0.45 + 0.95 = 0.5. The value 7 stands on padding: the state after the last token is worth 0.
    rewards = tensor([0.0, 0.0, 1.0], [-0.05, 1.1, 5.0])
    values = tensor([0.2, 0.5, 0.4], [0.5, 0.1, 7.0])
    mask = torch.tensor([[YES, YES, YES], [YES, YES, NO]])
    advantages, returns = ppo.advantages_and_returns(rewards, values, mask, gamma=1.0, lam=0.95)
    close(advantages, [[0.7465, 0.47, 0.6], [0.5, 1.0, 0.0]])
    close(returns, [[0.9465, 0.97, 1.0], [1.0, 1.1, 0.0]])


def test_a_discount_by_hand() -> None:
    # gamma 0.5, lambda 0.5: delta_2 = 1 - 0.2 = 0.8, delta_1 = 0.5 * 0.2 - 0.4 = -0.3, A_1 = -0.3 + 0.25 * 0.8 = -0.1
    mask = torch.tensor([[YES, YES]])
    found, _ = ppo.advantages_and_returns(tensor([0.0, 1.0]), tensor([0.4, 0.2]), mask, gamma=0.5, lam=0.5)
    close(found, [[-0.1, 0.8]])


def test_whitening_by_hand() -> None:
    # 1, 2, 3 over both rows: mean 2, variance (1 + 0 + 1) / 2 = 1.
    mask = torch.tensor([[YES, YES], [YES, NO]])
    found = ppo.whitened(tensor([1.0, 3.0], [2.0, math.nan]), mask)
    torch.testing.assert_close(found, tensor([-1.0, 1.0], [0.0, 0.0]), atol=1e-7, rtol=0)
    assert ppo.whitened(tensor([5.0, 1.0]), torch.tensor([[YES, NO]])).tolist() == [[0.0, 0.0]]


def test_part_of_a_rollout_is_whitened_as_in_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    advantages, mask = torch.randn(4, 5, generator=generator), torch.rand(4, 5, generator=generator) > 0.3
    part = ppo.whitened(advantages[2:], mask[2:], advantages[mask])
    torch.testing.assert_close(part, ppo.whitened(advantages, mask)[2:])
    assert (part - ppo.whitened(advantages[2:], mask[2:])).abs().max() > 1e-3


def test_the_policy_loss_is_clipped_on_the_side_the_advantage_points_to() -> None:
    # epsilon 0.2. Ratio, A -> min(ratio A, clipped A):
    #   1.5,  1 -> min(1.5, 1.2) = 1.2, clipped: gradient 0
    #   0.5, -1 -> min(-0.5, -0.8) = -0.8, clipped: gradient 0
    #   0.5,  1 -> min(0.5, 0.8) = 0.5, d/dlogp = ratio A = 0.5
    #   1.5, -2 -> min(-3, -2.4) = -3, d/dlogp = -3
    # The row's loss: -(1.2 - 0.8 + 0.5 - 3) / 4 = 0.525. Row 2, one token, ratio 1, A = 2: -2. Mean: -0.7375.
    ratio = tensor([1.5, 0.5, 0.5, 1.5], [1.0, 9.0, 9.0, 9.0])
    logp = ratio.log().requires_grad_()
    old = torch.zeros_like(ratio)
    advantages = tensor([1.0, -1.0, 1.0, -2.0], [2.0, 4.0, 4.0, 4.0])
    mask = torch.tensor([[YES] * 4, [YES, NO, NO, NO]])
    loss = ppo.policy_loss(logp, old, advantages, mask, clip=0.2)
    close(loss.detach(), -0.7375)
    loss.backward()
    # Divided by 4 tokens (row 1) or 1 (row 2), and by 2 rows.
    close(logp.grad, [[0.0, 0.0, -0.5 / 8, 3.0 / 8], [-2.0 / 2, 0.0, 0.0, 0.0]])


def test_the_value_loss_is_clipped_where_the_value_has_gone_far_enough() -> None:
    # V_old 0, epsilon 0.2. V, R -> max((V - R)^2, (near - R)^2):
    #   0.5,  1 -> near 0.2: max(0.25, 0.64) = 0.64, gradient 0: it has gone towards R by more than 0.2
    #   0.5,  0 -> near 0.2: max(0.25, 0.04) = 0.25, gradient of the half: 0.5
    #   0.1,  1 -> near 0.1: 0.81, gradient of the half: -0.9
    #  -0.5, -1 -> near -0.2: max(0.25, 0.64) = 0.64, gradient 0
    # Half of the mean: (0.64 + 0.25 + 0.81 + 0.64) / 4 / 2 = 0.2925.
    values = tensor([0.5, 0.5, 0.1, -0.5, 99.0]).requires_grad_()
    returns = tensor([1.0, 0.0, 1.0, -1.0, 0.0])
    mask = torch.tensor([[YES, YES, YES, YES, NO]])
    loss = ppo.value_loss(values, torch.zeros_like(returns), returns, mask, clip=0.2)
    close(loss.detach(), 0.2925)
    loss.backward()
    # At 0.1 both branches are one and the same; torch gives each half of the gradient.
    close(values.grad, [[0.0, 0.125, -0.225, 0.0, 0.0]])


def test_explained_variance_by_hand() -> None:
    # R = 1, 2, 3, 4: var 5/3. R - V = 0, 0, 0, 1: var 0.25. 1 - 0.25 / (5/3) = 0.85.
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = ppo.explained_variance(torch.tensor([1.0, 2.0, 3.0, 3.0]), returns)
    assert float(found) == pytest.approx(0.85, abs=1e-7)
    assert float(ppo.explained_variance(-9 * returns, returns)) == -1.0


@st.composite
def rollouts(draw: st.DrawFn) -> dict[str, Tensor]:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.lists(st.integers(1, width), min_size=rows, max_size=rows)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    names = ("rewards", "values", "values_old", "returns", "logp", "logp_old", "advantages")
    made = {name: torch.randn(rows, width, generator=generator, dtype=torch.float64) for name in names}
    return {**made, "mask": torch.arange(width)[None] < lengths[:, None]}


@given(rollouts(), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_advantages_are_the_sum_of_later_deltas(rollout: dict[str, Tensor], gamma: float, lam: float) -> None:
    """The definition as a double loop: A_t is the sum over l of (gamma lambda)^l delta_{t+l}."""
    rewards, values, mask = rollout["rewards"], rollout["values"], rollout["mask"]
    found, returns = ppo.advantages_and_returns(rewards, values, mask, gamma=gamma, lam=lam)
    for row in range(len(mask)):
        n = int(mask[row].sum())
        worth = [*values[row, :n].tolist(), 0.0]
        deltas = [float(rewards[row, t]) + gamma * worth[t + 1] - worth[t] for t in range(n)]
        for t in range(n):
            expected = sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, n))
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-9)
            assert float(returns[row, t]) == pytest.approx(expected + worth[t], abs=1e-9)
        assert found[row, n:].abs().sum() == returns[row, n:].abs().sum() == 0


@given(rollouts())
@settings(max_examples=50, deadline=None)
def test_both_losses_token_by_token(rollout: dict[str, Tensor]) -> None:
    mask, policy, value = rollout["mask"], [], []
    for row in range(len(mask)):
        n = int(mask[row].sum())
        one, two = 0.0, 0.0
        for t in range(n):
            ratio = math.exp(float(rollout["logp"][row, t] - rollout["logp_old"][row, t]))
            advantage = float(rollout["advantages"][row, t])
            one -= min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            v, old, back = (float(rollout[name][row, t]) for name in ("values", "values_old", "returns"))
            two += 0.5 * max((v - back) ** 2, (min(max(v, old - 0.2), old + 0.2) - back) ** 2)
        policy.append(one / n)
        value.append(two / n)
    found = ppo.policy_loss(rollout["logp"], rollout["logp_old"], rollout["advantages"], mask, clip=0.2)
    assert float(found) == pytest.approx(sum(policy) / len(policy), abs=1e-9)
    found = ppo.value_loss(rollout["values"], rollout["values_old"], rollout["returns"], mask, clip=0.2)
    assert float(found) == pytest.approx(sum(value) / len(value), abs=1e-9)


@given(rollouts(), st.sampled_from([math.nan, math.inf, -1e30]))
@settings(max_examples=50, deadline=None)
def test_what_is_padded_never_counts(rollout: dict[str, Tensor], junk: float) -> None:
    """Neither in a number nor, for the losses, in a gradient."""
    mask = rollout["mask"]
    dirty = {name: x if name == "mask" else torch.where(mask, x, junk) for name, x in rollout.items()}
    terminal = rollout["rewards"][:, 0]

    def everything(of: dict[str, Tensor]) -> list[Tensor]:
        logp, values = of["logp"].clone().requires_grad_(), of["values"].clone().requires_grad_()
        policy = ppo.policy_loss(logp, of["logp_old"], of["advantages"], mask, clip=0.2)
        value = ppo.value_loss(values, of["values_old"], of["returns"], mask, clip=0.2)
        (policy + value).backward()
        return [
            ppo.token_rewards(terminal, of["logp"], of["logp_old"], mask, kl_coefficient=0.05),
            *ppo.advantages_and_returns(of["rewards"], of["values"], mask, gamma=1.0, lam=0.95),
            ppo.whitened(of["advantages"], mask),
            ppo.explained_variance(of["values"][mask], of["returns"][mask]),
            policy.detach(), value.detach(), logp.grad * mask, values.grad * mask,
        ]  # fmt: skip

    for clean, found in zip(everything(rollout), everything(dirty), strict=True):
        torch.testing.assert_close(found, clean, atol=0, rtol=0)
