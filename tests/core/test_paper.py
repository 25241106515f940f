"""The preset `paper` against its slow twin on random responses, and by hand."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlft.core import Allocation, SaliencySettings, allocate, example_loss
from nlft.core.allocation import Paths, allocate_all
from nlft.core.cluster import Products, phrases, products, products_of

_spec = importlib.util.spec_from_file_location("paper_twin", Path(__file__).parent / "paper_twin.py")
twin = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(twin)

PAPER = SaliencySettings.paper()
NEAR = 1e-9  # a decision nearer than this to its threshold is rounding's

probabilities = st.one_of(st.floats(1e-6, 1.0), st.sampled_from([1.0, 0.99, 0.96, 0.94, 0.3, 0.009]))


@st.composite
def responses(draw, paths: int):
    n = draw(st.integers(1, 24))
    width = draw(st.integers(1, 4))
    columns = [draw(st.lists(probabilities, min_size=n, max_size=n)) for _ in range(paths)]
    # In steps, as squares of numbers near the least float vanish in one form of the cosine and not in another.
    vector = st.lists(st.integers(-2000, 3000).map(lambda x: x / 1000), min_size=width, max_size=width)
    return [*columns, draw(st.lists(vector, min_size=n, max_size=n))]


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def agree(allocation: Allocation, salient, cluster, scale):
    assert allocation.salient.tolist() == salient
    assert allocation.cluster.tolist() == cluster
    torch.testing.assert_close(allocation.scale, tensor(scale), rtol=1e-9, atol=1e-12)


@given(responses(2))
@settings(max_examples=150, deadline=None)
def test_correct_agrees_with_the_twin(response):
    base, standard, hidden = response
    salient, cluster, scale, loss, margin = twin.correct(base, standard, hidden)
    assume(margin > NEAR)
    allocation = allocate(tensor(base).log(), tensor(standard).log(), None, tensor(hidden), PAPER)
    agree(allocation, salient, cluster, scale)
    assert not allocation.excluded
    ours = example_loss(tensor(base).log(), allocation, PAPER)
    assert ours.total.item() == pytest.approx(loss, rel=1e-9, abs=1e-12)
    assert ours.likelihood.item() == 0


@given(responses(3), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_incorrect_agrees_with_the_twin(response, more):
    base, standard, judge, hidden = response
    # Lengthened by tokens that are no errors, so that the filter strikes some responses and not others.
    base, standard, judge = base + [0.5] * more, standard + [0.5] * more, judge + [0.5] * more
    hidden = hidden + [[1.0] * len(hidden[0])] * more
    salient, cluster, scale, excluded, loss, margin = twin.incorrect(base, standard, judge, hidden)
    assume(margin > NEAR)
    allocation = allocate(tensor(base).log(), tensor(standard).log(), tensor(judge).log(), tensor(hidden), PAPER)
    agree(allocation, salient, cluster, scale)
    assert allocation.excluded == excluded
    ours = example_loss(tensor(base).log(), allocation, PAPER, tensor(judge).log())
    assert ours.total.item() == pytest.approx(loss, rel=1e-9, abs=1e-12)


@given(
    st.integers(1, 80),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["similarity", "distance"]),
    st.sampled_from([0.05, 0.4, 0.6, 0.9]),
    st.sampled_from([0.05, 0.3, 0.9]),
)
@settings(max_examples=150, deadline=None)
def test_phrases_agree_with_the_walk_token_by_token(n, width, seed, measure, threshold, share):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, width)) + rng.choice([0, 1])
    hidden *= rng.choice([1e-3, 1, 1e3], size=(n, 1))  # lengths differ widely, so the centre does too
    salient = rng.random(n) < share

    def joins(near):
        value = near if measure == "similarity" else 1 - near
        return value > threshold, abs(value - threshold)

    expected, margin = twin.walk(salient.tolist(), hidden.tolist(), joins)
    assume(margin > NEAR)
    states = torch.from_numpy(hidden)
    for found in (products(states), products_of(states @ states.T)):
        ours = phrases(found, found.near.numpy(), salient, PAPER.replace(cluster=measure, cluster_threshold=threshold))
        assert ours.tolist() == expected


@pytest.mark.parametrize("seed", range(6))
def test_long_walks_agree_with_the_walk_token_by_token(seed):
    """States that drift slowly: walks join hundreds of tokens on their left, and turn right with the centre of these."""
    n, threshold = 600, 0.6
    rng = np.random.default_rng(seed)
    angle = np.cumsum(rng.normal(scale=0.02, size=n)) + np.repeat(rng.normal(scale=1.5, size=3), n // 3)
    hidden = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.5, 2, size=(n, 1))
    salient = np.zeros(n, dtype=bool)
    salient[rng.integers(0, n, 12)] = True
    asked = []

    def far(ends, found):
        asked.append(len(ends))
        return found.far(ends)

    expected, margin = twin.walk(
        salient.tolist(), hidden.tolist(), lambda near: (near > threshold, abs(near - threshold))
    )
    assert margin > NEAR
    assert sum(expected) > 150
    states = torch.from_numpy(hidden)
    for found in (products(states), products_of(states @ states.T)):
        counted = Products(found.near, lambda ends, found=found: far(ends, found))
        assert (
            phrases(counted, found.near.numpy(), salient, PAPER.replace(cluster_threshold=threshold)).tolist()
            == expected
        )
    assert len(asked) == 2  # for all such walks of a response together


def test_rows_weighed_together_are_weighed_as_one_by_one(monkeypatch):
    """For one transfer from the device."""
    rng = torch.Generator().manual_seed(0)
    rows = []
    for n in (1, 5, 130, 300):
        base, standard, judge = (torch.rand(n, generator=rng).log() for _ in range(3))
        hidden = torch.randn(n, 8, generator=rng) + 0.7
        rows += [(base, standard, None, hidden), (base, standard, judge, hidden)]
    alone = [allocate(*row, PAPER) for row in rows]
    transfers = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor, cpu=torch.Tensor.cpu: transfers.append(1) or cpu(tensor))
    together = allocate_all([Paths(*paths, products(hidden)) for *paths, hidden in rows], PAPER)
    assert transfers == [1]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.salient, other.salient)
        assert torch.equal(one.cluster, other.cluster)
        assert torch.equal(one.scale, other.scale)
        assert one.excluded == other.excluded


def test_the_centre_moves_on_from_left_to_right():
    # From token 1 the walk joins token 0, and the centre turns towards it; token 2 is similar to
    # token 1 (cosine 0.71) but no longer to the centre (0.45).
    hidden = tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    standard = tensor([0.5, 0.99, 0.5]).log()
    assert allocate(standard, standard, None, hidden, PAPER).cluster.tolist() == [True, True, False]


def test_eq_3_by_hand():
    # p = 0.99: 1 + (0.04 / 0.05)^5 = 1.32768; p = 0.475: 0.5^0.3 in the phrase, 0.5^0.6 outside.
    standard = tensor([0.99, 0.475, 0.475]).log()
    hidden = tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    scale = allocate(tensor([0.5] * 3).log(), standard, None, hidden, PAPER).scale
    torch.testing.assert_close(scale, tensor([1.32768, 0.5**0.3, 0.5**0.6]), rtol=1e-12, atol=0)


def test_eq_4_lies_between_1_and_2():
    # r1 = 0.8 / 0.4 = 2: 2 / (1 + exp(-0.5)) = 1.2449186624037092
    paths = [tensor([p, *[0.5] * 19]).log() for p in (0.4, 0.4, 0.8)]
    allocation = allocate(*paths, torch.ones(20, 2, dtype=torch.float64), PAPER)
    assert allocation.scale[0].item() == pytest.approx(1.2449186624037092, rel=1e-12)
    assert allocation.scale[1:].count_nonzero() == 0
    assert allocation.cluster.all()


def test_eq_5_of_an_error_by_hand():
    # literal: -S (1 - log P) = -2 (1 + 1) = -4; unlikelihood: -S log(1 - P) = -2 log(1 - exp(-1)).
    one = torch.tensor([True])
    allocation = Allocation(one, one, tensor([2.0]), correct=False)
    assert example_loss(tensor([-1.0]), allocation, PAPER).total.item() == pytest.approx(-4.0)
    unlikelihood = PAPER.replace(incorrect_term="unlikelihood")
    expected = -2 * math.log(1 - math.exp(-1))
    assert example_loss(tensor([-1.0]), allocation, unlikelihood).total.item() == pytest.approx(expected)


def test_the_filter():
    def run(settings):
        base = tensor([0.2, 0.5, 0.5, 0.5]).log()
        judge = tensor([0.8, 0.5, 0.5, 0.5]).log()
        hidden = torch.eye(4, dtype=torch.float64)  # under `distance` a right angle joins: use similarity
        return allocate(base, base, judge, hidden, settings.replace(cluster="similarity", cluster_threshold=0.6))

    dropped = run(PAPER)  # a quarter of the tokens are errors
    assert dropped.excluded
    assert dropped.salient.tolist() == [True, False, False, False]
    assert dropped.scale.count_nonzero() == 0
    assert run(PAPER.replace(filter="off")).scale.count_nonzero() == 1
    masked = run(SaliencySettings.authors())
    assert not masked.excluded
    assert masked.scale.count_nonzero() == 1
    kept = run(SaliencySettings.authors().replace(filter="off"))
    torch.testing.assert_close(kept.scale[1:], tensor([0.5**0.5] * 3))
