"""Values at the edge give finite losses and gradients; what should not matter does not."""

import itertools
import math

import pytest
import torch
from jaxtyping import TypeCheckError

from nlft.core import Allocation, SaliencySettings, allocate, example_loss
from nlft.core.allocation import Paths, _check
from nlft.core.cluster import products
from nlft.core.loss import log_one_minus

PAPER, AUTHORS = SaliencySettings.paper(), SaliencySettings.authors()
UNLIKELIHOOD = PAPER.replace(incorrect_term="unlikelihood")
NO_FILTER = [s.replace(filter="off") for s in (PAPER, AUTHORS, UNLIKELIHOOD)]
ALL = [PAPER, AUTHORS, UNLIKELIHOOD, *NO_FILTER]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EDGES = [0.0, -1e-30, -0.05, -1.0, -20.0, -120.0, -800.0, -5e4, -math.inf]


def finite(base, standard, judge, hidden, settings):
    base = base.clone().requires_grad_()
    judge = None if judge is None else judge.clone().requires_grad_()
    allocation = allocate(base, standard, judge, hidden, settings)
    assert allocation.scale.isfinite().all()
    assert not allocation.scale.requires_grad
    loss = example_loss(base, allocation, settings, judge)
    for value in (loss.weighted, loss.likelihood, loss.total):
        assert value.isfinite()
    if loss.total.requires_grad:
        loss.total.backward()
    for path in (base, judge):
        assert path is None or path.grad is None or path.grad.isfinite().all()
    return loss


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("settings", ALL)
def test_every_pair_of_extremes_is_finite(settings, dtype):
    base, standard = torch.tensor(list(itertools.product(EDGES, EDGES)), dtype=dtype).T
    hidden = torch.randn(len(base), 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    hidden[::7] = 0
    finite(base, standard, None, hidden, settings)
    for judge in EDGES:
        finite(base, standard, torch.full_like(base, judge), hidden, settings)


@pytest.mark.parametrize("settings", ALL)
@pytest.mark.parametrize("judge", [None, math.log(0.9)])
def test_a_single_token(settings, judge):
    one = torch.tensor([math.log(0.3)])
    finite(one, one, None if judge is None else torch.tensor([judge]), torch.ones(1, 2), settings)


def test_none_and_all_salient():
    hidden = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    low, high = torch.full((5,), 0.2).log(), torch.full((5,), 0.97).log()
    none, every = (allocate(low, p, None, hidden, PAPER) for p in (low, high))
    assert not none.salient.any()
    assert not none.cluster.any()
    assert every.salient.all()
    assert every.cluster.all()
    errors = allocate(low, low, high, hidden, NO_FILTER[0])
    assert errors.salient.all()
    assert allocate(low, low, low, hidden, PAPER).scale.count_nonzero() == 0
    for paths in ((low, low, None), (low, high, None), (low, low, high), (low, low, low)):
        for settings in ALL:
            finite(*paths, hidden, settings)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_certainty_in_an_unlikelihood_term_stays_finite_and_is_pushed_down(dtype):
    error = torch.tensor([True])
    logp = torch.zeros(1, dtype=dtype, requires_grad=True)
    allocation = Allocation(error, error, torch.ones(1), correct=False)
    loss = example_loss(logp, allocation, UNLIKELIHOOD)
    assert loss.total.item() == pytest.approx(-math.log(UNLIKELIHOOD.unlikelihood_floor), rel=1e-3)
    loss.total.backward()
    assert 0 < logp.grad.item() < math.inf


def test_through_a_softmax_the_unlikelihood_gradient_is_at_most_its_scale():
    for gap in (0.0, 5.0, 20.0, 80.0):
        logits = torch.tensor([gap, 0.0], requires_grad=True)
        error = torch.tensor([True])
        logp = torch.log_softmax(logits, dim=0)[:1]
        example_loss(logp, Allocation(error, error, torch.ones(1), correct=False), UNLIKELIHOOD).total.backward()
        assert logits.grad.abs().max() <= 1.0


def test_log_one_minus_away_from_the_floor():
    p = torch.tensor([0.1, 0.5, 0.999], dtype=torch.float64)
    logp = p.log().requires_grad_()
    value = log_one_minus(logp, 1e-6)
    torch.testing.assert_close(value, torch.log1p(-p), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    torch.testing.assert_close(gradient, -p / (1 - p), rtol=1e-12, atol=0)


def test_log_one_minus_near_certainty_in_single_precision():
    # 1 - exp(-3e-6) is off by 2 % in float32; expm1 is not.
    value = log_one_minus(torch.tensor([-3e-6]), 1e-6)
    assert value.item() == pytest.approx(math.log(3e-6), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_value_at_its_threshold_is_not_above_it(dtype):
    at = torch.tensor([0.95], dtype=torch.float64).log().to(dtype)
    assert not allocate(at, at, None, torch.ones(1, 2), PAPER).salient.any()


def test_a_share_at_the_threshold_is_not_filtered():
    base, judge = torch.full((50,), 0.2).log(), torch.full((50,), 0.2).log()
    judge[:3] = math.log(0.9)  # 3 of 50 are 0.06
    assert not allocate(base, base, judge, torch.ones(50, 2), PAPER).excluded
    judge[3] = math.log(0.9)
    assert allocate(base, base, judge, torch.ones(50, 2), PAPER).excluded


def test_the_authors_flag_moves_eq_4_but_not_the_threshold():
    base, judge = torch.tensor([0.4, *[0.5] * 19]).log(), torch.tensor([0.8, *[0.5] * 19]).log()
    for settings, salient in ((AUTHORS.replace(r0=3.0), True), (PAPER.replace(r0=3.0), False)):
        allocation = allocate(base, base, judge, torch.ones(20, 2), settings)
        assert allocation.salient[0].item() is salient
        assert allocation.scale[0].item() == pytest.approx(2 / (1 + math.exp(1)) if salient else 0.0)  # r1 - r0 = -1


def test_an_excluded_example_has_no_extra_term_either():
    base, standard, judge, hidden = world()
    settings = PAPER.replace(likelihood=1.0)
    allocation = allocate(base, standard, judge, hidden, settings)
    assert allocation.excluded
    assert example_loss(base, allocation, settings, judge).total.item() == 0


def test_scales_carry_no_gradient():
    scale = torch.ones(1, requires_grad=True)
    nowhere = torch.tensor([False])
    logp = torch.tensor([-1.0], requires_grad=True)
    example_loss(logp, Allocation(nowhere, nowhere, scale), PAPER).total.backward()
    assert scale.grad is None


def test_the_authors_floor_is_a_constant():
    logp = torch.tensor([-800.0, -1.0], dtype=torch.float64, requires_grad=True)
    nowhere = torch.zeros(2, dtype=torch.bool)
    loss = example_loss(logp, Allocation(nowhere, nowhere, torch.ones(2)), AUTHORS.replace(likelihood=0.0))
    assert loss.weighted.item() == pytest.approx((-math.log(1e-5) + 1) / 2)
    loss.weighted.backward()
    assert logp.grad.tolist() == [0.0, -0.5]


def world(n=40, seed=3, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    base, standard, judge = (torch.rand(n, generator=rng, dtype=torch.float64).log() for _ in range(3))
    standard[::4] = math.log(0.97)
    hidden = torch.randn(n, 3, generator=rng, dtype=torch.float64) + 0.5
    return [x.to(dtype) for x in (base, standard, judge, hidden)]


def same(a, b, **tolerance):
    assert a.salient.tolist() == b.salient.tolist()
    assert a.cluster.tolist() == b.cluster.tolist()
    assert a.excluded == b.excluded
    torch.testing.assert_close(a.scale, b.scale, check_dtype=False, **tolerance)


@pytest.mark.parametrize("settings", ALL)
def test_hidden_states_count_up_to_a_factor_and_a_rotation(settings):
    base, standard, judge, hidden = world()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    for wrong in (None, judge):
        reference = allocate(base, standard, wrong, hidden, settings)
        same(allocate(base, standard, wrong, hidden * 2, settings), reference)
        same(allocate(base, standard, wrong, hidden @ turn, settings), reference)


@pytest.mark.parametrize("settings", ALL)
def test_a_response_read_backwards_without_phrases_is_the_same_backwards(settings):
    settings = settings.replace(cluster="none")
    base, standard, judge, hidden = world()
    for wrong in (None, judge):
        there = allocate(base, standard, wrong, hidden, settings)
        flipped = [None if x is None else x.flip(0) for x in (base, standard, wrong, hidden)]
        back = allocate(*flipped, settings)
        torch.testing.assert_close(back.scale.flip(0), there.scale)
        assert there.cluster.tolist() == there.salient.tolist()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
@pytest.mark.parametrize("settings", [PAPER, AUTHORS])
def test_lower_precision_agrees_with_double(settings, dtype, tolerance):
    # Both read the same rounded numbers, so only the arithmetic differs.
    low = world(dtype=dtype)
    high = [x.double() for x in low]
    for paths in (lambda w: (w[0], w[1], None), lambda w: (w[0], w[1], w[2])):
        a, b = (allocate(*paths(w), w[3], settings) for w in (low, high))
        same(a, b, rtol=1e-5, atol=1e-6)
        losses = [example_loss(w[0], a, settings, paths(w)[2]).total.double() for w in (low, high)]
        torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=1e-6)
        assert a.scale.dtype == torch.float32


@pytest.mark.parametrize("settings", ALL)
def test_the_gradient_is_the_slope(settings):
    base, standard, judge, hidden = world(12)
    settings = settings.replace(float32_incorrect=False)  # a rounded value has steps, no slope
    for wrong in (None, judge):
        allocation = allocate(base, standard, wrong, hidden, settings)
        inputs = [x.clone().requires_grad_() for x in (base, *([] if wrong is None else [wrong]))]

        def total(*paths, allocation=allocation):
            return example_loss(paths[0], allocation, settings, *paths[1:]).total

        if allocation.scale.count_nonzero() and not allocation.excluded:
            assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize("settings", ALL)
def test_the_loss_never_waits_for_the_device(settings):
    # A meta tensor has no values: any .item(), bool() or transfer raises.
    base = torch.zeros(6, device="meta", requires_grad=True)
    mask = torch.zeros(6, dtype=torch.bool, device="meta")
    for correct in (True, False):
        allocation = Allocation(mask, mask, torch.ones(6, device="meta"), correct=correct)
        example_loss(base, allocation, settings, None if correct else base).total.backward()


def test_a_likelihood_term_without_its_path_is_refused():
    base, standard, judge, hidden = world()
    allocation = allocate(base, standard, judge, hidden, AUTHORS)
    with pytest.raises(ValueError, match="needs logp_judge"):
        example_loss(base, allocation, AUTHORS)
    judge.requires_grad_()
    example_loss(base, allocation, AUTHORS, judge).likelihood.backward()
    torch.testing.assert_close(judge.grad, torch.full_like(judge, -1 / len(judge)))


def test_lengths_are_checked():
    empty = torch.zeros(0)
    with pytest.raises(ValueError, match="at least one token"):
        allocate(empty, empty, None, torch.zeros(0, 2), PAPER)
    base, standard, _, hidden = world()
    allocation = allocate(base, standard, None, hidden, PAPER)
    with pytest.raises(ValueError, match="but an allocation of 40"):
        example_loss(base[:5], allocation, PAPER)
    # Outside the tests the function's own check speaks; here the signature's does first.
    with pytest.raises((ValueError, TypeCheckError)):
        allocate(base, standard, None, hidden[:5], PAPER)
    with pytest.raises(ValueError, match=r"differ in length: \[5, 40\]"):
        _check(Paths(base, standard, None, products(hidden[:5])))


def test_ablations():
    base, standard, judge, hidden = world()
    ones = PAPER.replace(ones=("salient", "sub_salient", "irrelevant", "error"), filter="off")
    assert (allocate(base, standard, None, hidden, ones).scale == 1).all()
    errors = allocate(base, standard, judge, hidden, ones)
    assert errors.scale.tolist() == errors.salient.double().tolist()
    assert 0 < errors.scale.sum() < len(base)
    normal = allocate(base, standard, None, hidden, PAPER.replace(mean_one=True)).scale
    plain = allocate(base, standard, None, hidden, PAPER).scale
    torch.testing.assert_close(normal, plain / plain.mean())
    blind = allocate(base, standard, judge, hidden, PAPER.replace(use_judge=False))
    assert blind.excluded
    assert blind.scale.count_nonzero() == 0
    ratio = allocate(base, standard, None, hidden, PAPER.replace(correct_weight="log_ratio"))
    torch.testing.assert_close(ratio.scale, 2 * standard.exp() / (standard.exp() + base.exp()))
    assert ratio.salient.tolist() == (standard.exp() > 1.5 * base.exp()).tolist()


def test_zero_probability_is_for_the_base_path_alone():
    """Their code guards P(base) only: an underflowed P(standard) or P(judge) keeps its logarithm."""
    settings = AUTHORS.replace(cluster="none", filter="off", p0_incorrect=0.0, float32_incorrect=False)
    low = torch.tensor([-120.0, -1.0])  # exp(-120) is 0 in float32
    base, hidden = torch.tensor([-1.0, -1.0]), torch.zeros(2, 1)
    scale = allocate(base, low, base, hidden, settings).scale  # no error, as r1 = 1: P(standard)^0.5
    assert scale[0].item() == pytest.approx(math.exp(-60))
    loss = example_loss(base, allocate(base, low, base, hidden, settings), settings, torch.tensor([-120.0, -1.0]))
    assert loss.likelihood.item() == pytest.approx(60.5)
    assert example_loss(low, allocate(low, base, None, hidden, settings), settings).likelihood.item() == pytest.approx(
        (1 - math.log(1e-5)) / 2
    )
