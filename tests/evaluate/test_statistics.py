"""The statistics: golden numbers from the literature, naive twins, and the properties they must have."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.evaluate.statistics import bootstrap_interval, effective_n, exact_mcnemar, holm, wilson_interval


# Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3 (score, no continuity correction).
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_newcombes(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_interval_equals_its_formula_and_mirrors(successes: int, n: int) -> None:
    successes = min(successes, n)
    z, p = 1.959963984540054, successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson_interval(successes, n)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_wilson_interval_of_nothing_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_interval_of_whole_numbers_is_scipys(successes: int, n: int) -> None:
    from scipy.stats import binomtest

    successes = min(successes, n)
    theirs = binomtest(successes, n).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, n)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= low <= successes / n <= high <= 1


def test_seeds_that_solve_the_same_problems_are_worth_one_seed() -> None:
    solved = [[True, False, False, True, False]] * 3
    assert effective_n(solved) == 5


def test_one_seed_is_worth_its_problems() -> None:
    assert effective_n([[True, False, False, True, False]]) == 5
    assert effective_n([[False] * 7]) == 7
    assert effective_n([[True]]) == 1


def test_seeds_that_have_nothing_in_common_are_worth_their_pairs() -> None:
    generator = np.random.default_rng(5)
    n = effective_n(generator.random((2, 20_000)) < 0.3)
    assert n == pytest.approx(40_000, rel=0.03)


@given(st.integers(1, 4), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_effective_n_lies_between_problems_and_pairs(seeds: int, problems: int, share: float, seed: int) -> None:
    solved = np.random.default_rng(seed).random((seeds, problems)) < share
    assert problems <= effective_n(solved.tolist()) <= problems * seeds


def test_the_interval_of_half_correlated_seeds_covers_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(6), 0
    for _ in range(800):
        common, own = generator.random(150) < 0.3, generator.random((2, 150)) < 0.3
        solved = np.where(generator.random(150) < 0.5, common, own)
        n = effective_n(solved)
        low, high = wilson_interval(float(solved.mean()) * n, n)
        covered += low <= 0.3 <= high
    assert 0.925 <= covered / 800 <= 0.975


@given(st.integers(0, 60), st.integers(0, 60))
def test_exact_mcnemar_equals_the_sum_over_the_binomial(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    assert exact_mcnemar(only_a, only_b) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)
    assert exact_mcnemar(only_a, only_b) == pytest.approx(exact_mcnemar(only_b, only_a))


def test_bootstrap_of_one_seed_is_scipys_percentile_bootstrap() -> None:
    from scipy.stats import bootstrap

    differences = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=120)
    theirs = bootstrap((differences,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    ours = bootstrap_interval([differences.tolist()], draws=20_000, seed=3)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_over_seeds_and_problems_equals_its_naive_twin() -> None:
    generator = np.random.default_rng(4)
    table = generator.choice([-1.0, 0.0, 1.0], size=(3, 40)) + np.array([[0.0], [0.5], [1.0]])
    means = []
    for _ in range(4000):
        rows, columns = generator.integers(0, 3, 3), generator.integers(0, 40, 40)
        means.append(table[np.ix_(rows, columns)].mean())
    assert bootstrap_interval(table.tolist()) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)


def test_disagreeing_seeds_widen_the_interval() -> None:
    agreeing = bootstrap_interval([[0.5] * 50, [0.5] * 50])
    disagreeing = bootstrap_interval([[0.0] * 50, [1.0] * 50])
    assert agreeing.high - agreeing.low == pytest.approx(0)
    assert disagreeing.high - disagreeing.low == pytest.approx(1)


def test_bootstrap_is_repeatable() -> None:
    table = [[1.0, 0.0, -1.0, 1.0, 0.0]]
    assert bootstrap_interval(table, seed=7) == bootstrap_interval(table, seed=7)
    assert bootstrap_interval([[]]) == (-1.0, 1.0)


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_equals_stepping_down(p_values: dict[str, float]) -> None:
    """A hypothesis is rejected at level alpha exactly when Holm's procedure, done step by step, rejects it."""
    corrected = holm(p_values)
    assert list(corrected) == list(p_values)
    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        left = dict(p_values)
        while left:
            name = min(left, key=lambda key: left[key])
            if left[name] * len(left) > alpha:
                break
            rejected.add(name)
            del left[name]
        assert {name for name, p in corrected.items() if p <= alpha} == rejected
