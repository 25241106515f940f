"""`pairs`: against its formula written out, and what must not move it."""

import math
from typing import Any

import pytest
import torch

from nlft.errors import ConfigError, DataError
from nlft.objectives import Example, Needs, get_objective


def logps(n: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, generator=rng, dtype=torch.float64).log().requires_grad_()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"beta": 0.5}, {"likelihood": 0.0}, {"span": 4}, {"span": 100}])
def test_it_is_its_formula(options: dict[str, Any], seed: int) -> None:
    example = Example(logps(20, seed), correct=False, logp_preferred=logps(15, seed + 9), fork=6)
    beta, likelihood, span = (options.get(k, d) for k, d in (("beta", 2.0), ("likelihood", 1.0), ("span", 0)))
    wrong, right = (each.tolist() for each in (example.logp_base, example.logp_preferred))
    last = 6 + span if span else None
    margin = sum(right[6:last]) / len(right[6:last]) - sum(wrong[6:last]) / len(wrong[6:last])
    expected = math.log(1 + math.exp(-beta * margin)) - likelihood * sum(right) / len(right)
    loss = get_objective("pairs", **options).loss(example, None)
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-12)
    assert float(loss.parts["margin"]) == pytest.approx(margin)


def test_what_the_two_share_is_not_compared() -> None:
    example = Example(logps(9, 0), correct=False, logp_preferred=logps(7, 1), fork=4)
    get_objective("pairs", likelihood=0.0).loss(example, None).total.backward()
    assert example.logp_base.grad is not None
    assert example.logp_preferred is not None
    assert example.logp_preferred.grad is not None
    for gradient, sign in ((example.logp_base.grad, 1), (example.logp_preferred.grad, -1)):
        assert torch.equal(gradient[:4], torch.zeros(4, dtype=torch.float64))
        assert bool((sign * gradient[4:] > 0).all()), "the wrong one's end is pushed down, the right one's up"


def test_a_right_row_is_sft() -> None:
    example = Example(logps(9, 0), correct=True)
    pairs, sft = (get_objective(name).loss(example, None).total for name in ("pairs", "sft"))
    assert torch.equal(pairs, sft)


def test_a_response_that_is_the_others_beginning_still_has_an_end() -> None:
    example = Example(logps(4, 0), correct=False, logp_preferred=logps(9, 1), fork=4)
    assert math.isfinite(float(get_objective("pairs").loss(example, None).total.detach()))


def test_a_wrong_row_needs_its_right_response() -> None:
    assert get_objective("pairs").needs(correct=False) == Needs(loss=frozenset({"preferred"}))
    assert get_objective("pairs").needs(correct=True) == Needs()
    with pytest.raises(DataError, match="right response of the pair"):
        get_objective("pairs").loss(Example(logps(4, 0), correct=False), None)


@pytest.mark.parametrize("options", [{"beta": 0.0}, {"beta": math.inf}, {"likelihood": -1.0}, {"span": -1}])
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"pairs' {next(iter(options))} cannot be"):
        get_objective("pairs", **options)
