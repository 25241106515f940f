"""`first-error` and `clipped-ratio`: against their formulas written out token by token."""

import math

import pytest
import torch

from nlft.errors import ConfigError, DataError
from nlft.objectives import Example, Needs, get_objective

NAMES = ("first-error", "clipped-ratio")


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def row(*, correct, n=40, seed=0):
    rng = torch.Generator().manual_seed(seed)
    base, standard, judge = (torch.rand(n, generator=rng, dtype=torch.float64).log() for _ in range(3))
    weights = None if correct else tensor([1.0] * 12 + [-1.0] * 9 + [0.0] * (n - 24) + [1.0] * 3)
    return Example(base.requires_grad_(), correct, standard, judge, token_weights=weights)


def naive_first_error(
    example,
    threshold=1.2,
    weight=1.0,
    floor=0.1,
    right="likelihood",
    standard_threshold=0.0,
    ratio=lambda base, other: 1.0,
):
    """The formula, a token at a time, in plain floats."""
    total = 0.0
    for t in range(len(example.logp_base)):
        base = math.exp(float(example.logp_base[t].detach()))
        if example.correct:
            standard = math.exp(float(example.logp_standard[t]))
            w = 2 / (1 + base / standard) if right == "log_ratio" else 1.0
            total += -w * ratio(base, standard) * math.log(base)
            continue
        judge, v = math.exp(float(example.logp_judge[t])), float(example.token_weights[t])
        if v >= 0:
            total += -v * ratio(base, judge) * math.log(base)
        elif judge / base > threshold and judge / math.exp(float(example.logp_standard[t])) > standard_threshold:
            total += -weight * ratio(base, judge) * math.log(max(1 - base, floor))
    return total / len(example.logp_base)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 2.0},
        {"weight": 0.3},
        {"weight": 0.0},
        {"floor": 0.5},
        {"right": "log_ratio"},
        {"standard_threshold": 1.5},
    ],
)
def test_first_error_is_its_formula(options, correct, seed):
    example = row(correct=correct, seed=seed)
    loss = get_objective("first-error", **options).loss(example, None)
    assert float(loss.total.detach()) == pytest.approx(naive_first_error(example, **options), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("correct", [True, False])
def test_clipped_ratio_is_its_formula(correct, seed):
    example = row(correct=correct, seed=seed)
    loss = get_objective("clipped-ratio", epsilon=0.3, strength=0.7).loss(example, None)
    expected = naive_first_error(example, ratio=lambda base, other: 1 + 0.7 * (min(max(other / base, 0.7), 1.3) - 1))
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-12)


def test_golden_by_hand():
    """P(base) .5 .8 .4 .9 .5, P(judge) .5 .4 .6 .1 .5: only the third token is pushed down: -(ln .5 + ln(1 - .4) + ln .5)/5."""
    base, judge = tensor([0.5, 0.8, 0.4, 0.9, 0.5]).log(), tensor([0.5, 0.4, 0.6, 0.1, 0.5]).log()
    example = Example(base, correct=False, logp_judge=judge, token_weights=tensor([1.0, -1.0, -1.0, 0.0, 1.0]))
    loss = get_objective("first-error").loss(example, None).total
    assert float(loss) == pytest.approx(0.37942400, abs=1e-8)


def test_the_gradient_reaches_each_token_as_it_should_and_is_bounded():
    base = tensor([0.5, 0.999999, 0.3, 0.5], grad=True)
    judge = tensor([0.5, 0.9999999, 0.6, 0.5])
    example = Example(base.log(), correct=False, logp_judge=judge.log(), token_weights=tensor([1.0, -1.0, -1.0, 0.0]))
    get_objective("first-error", threshold=0.9).loss(example, None).total.backward()
    # d(-log P)/dP = -1/P; d(-log(1 - P))/dP = 1/(1 - P), with 1 - P at least 0.1
    torch.testing.assert_close(base.grad, tensor([-2.0, 10.0, 1 / 0.7, 0.0]) / 4)


def test_threshold_zero_takes_the_whole_step():
    example = row(correct=False)
    assert get_objective("first-error", threshold=0.0).weigh(example).salient.sum() == 9
    assert 0 < get_objective("first-error").weigh(example).salient.sum() < 9


@pytest.mark.parametrize("name", NAMES)
def test_stored_scales_give_the_same_loss(name):
    for correct in (True, False):
        example = row(correct=correct)
        objective = get_objective(name)
        now, later = objective.loss(example, None), objective.loss(example, objective.weigh(example))
        assert float(now.total.detach()) == float(later.total.detach())


def test_needs_are_the_paths_that_are_read():
    plain, ratio = get_objective("first-error"), get_objective("first-error", right="log_ratio")
    assert plain.needs(correct=True) == Needs()
    assert plain.needs(correct=False) == Needs(weigh=frozenset({"judge"}))
    assert ratio.needs(correct=True) == Needs(weigh=frozenset({"standard"}))
    both = get_objective("first-error", standard_threshold=1.2)
    assert both.needs(correct=False) == Needs(weigh=frozenset({"judge", "standard"}))
    assert get_objective("clipped-ratio").needs(correct=True) == Needs(weigh=frozenset({"standard"}))


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_row_without_weights_is_refused(name):
    example = Example(tensor([0.5]).log(), correct=False, logp_judge=tensor([0.5]).log())
    with pytest.raises(DataError, match="token weights") as caught:
        get_objective(name).loss(example, None)
    assert "with_step_weights" in str(caught.value.remedy)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_summed_in_single(name, dtype):
    full = row(correct=False)
    half = Example(
        full.logp_base.detach().to(dtype), False, full.logp_standard.to(dtype), full.logp_judge.to(dtype),
        token_weights=full.token_weights,
    )  # fmt: skip
    exact = Example(half.logp_base.double(), False, half.logp_standard.double(), half.logp_judge.double(),
                    token_weights=full.token_weights)  # fmt: skip
    assert get_objective(name).loss(half, None).total.dtype == torch.float32
    assert float(get_objective(name).loss(half, None).total.detach()) == pytest.approx(
        float(get_objective(name).loss(exact, None).total), rel=1e-5
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("first-error", {"threshold": -1.0}),
        ("first-error", {"floor": 0.0}),
        ("first-error", {"weight": -0.1}),
        ("first-error", {"right": "ratio"}),
        ("first-error", {"standard_threshold": -1.0}),
        ("clipped-ratio", {"epsilon": 1.0}),
        ("clipped-ratio", {"strength": -1.0}),
        ("clipped-ratio", {"floor": 1.5}),
    ],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(ConfigError):
        get_objective(name, **options)
