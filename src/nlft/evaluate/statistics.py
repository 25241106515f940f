"""Intervals and paired tests: what a difference between two accuracies can support."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Lower and upper end, as shares (0 to 1) or differences of shares (-1 to 1)."""

    low: float
    high: float


def wilson_interval(successes: float, n: float) -> Interval:
    """Wilson's 95 % score interval of a share.

    Args:
        successes: The number of successes among the `n`.
        n: The number of trials, or of independent trials they are worth (`effective_n`), so neither need be
            whole; 0 gives the uninformative interval (0, 1).

    Source: Wilson 1927; for whole n what `scipy.stats.binomtest(...).proportion_ci(method="wilson")` gives.

    >>> low, high = wilson_interval(10, 100)
    >>> round(low, 4), round(high, 4)
    (0.0552, 0.1744)
    """
    from scipy.stats import norm

    if n == 0:
        return Interval(0.0, 1.0)
    share, z = successes / n, float(norm.ppf((1 + CONFIDENCE) / 2))
    centre = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    # Rounding must not move an end past the share itself, or outside 0 to 1.
    return Interval(min(share, max(0.0, low)), max(share, min(1.0, high)))


def effective_n(solved: Sequence[Sequence[bool]]) -> float:
    """How many independent problems the runs of several seeds on the same problems are worth.

    Args:
        solved: One row per seed, one column per problem.

    Returns:
        The n whose binomial variance equals the variance seen between problems: between the number of problems
        (further seeds added nothing) and problems x seeds (as good as more problems).

    Seeds mostly solve the same problems, so an interval that counted every pair would be too
    narrow. It does not include variation between seeds: it is the interval of these runs on new problems.

    Source: Korn and Graubard 1998, the effective sample size of clustered shares.

    >>> effective_n([[True, False, False, True]] * 2)
    4.0
    """
    import numpy as np

    table = np.asarray(solved, dtype=np.float64)
    seeds, problems = table.shape
    share = table.mean()
    between = table.mean(axis=0).var(ddof=1) / problems if problems > 1 else 0.0
    if between == 0.0 or share * (1 - share) == 0.0:
        return float(problems)
    return float(np.clip(share * (1 - share) / between, problems, problems * seeds))


def exact_mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test.

    Under the null hypothesis a problem that only one side solves belongs to either side with probability ½.

    Args:
        only_a: Problems (or other pairs) that only side a solved.
        only_b: Problems that only side b solved; with no such pairs, p is 1.

    Source: McNemar 1947, exact form: a binomial test on the discordant pairs.

    >>> exact_mcnemar(0, 5)
    0.0625
    """
    from scipy.stats import binomtest

    discordant = only_a + only_b
    return float(binomtest(only_b, discordant, 0.5).pvalue) if discordant else 1.0


def bootstrap_interval(differences: Sequence[Sequence[float]], *, draws: int = 10_000, seed: int = 0) -> Interval:
    """95 % percentile interval of a mean paired difference, resampling problems and seeds.

    Args:
        differences: One row per seed, one column per problem: b's share correct minus a's, -1 to 1.
        draws: The number of resamples.
        seed: Resampling seed, so that a table can be reproduced exactly.

    Rows and columns are drawn with replacement, independently, so that the interval holds for new
    problems *and* new seeds; with one row it is the ordinary paired bootstrap over problems. No
    column at all gives (-1, 1).

    >>> bootstrap_interval([[1.0, 1.0, 1.0]])
    Interval(low=1.0, high=1.0)
    """
    import numpy as np

    table = np.asarray(differences, dtype=np.float64)
    if table.size == 0:
        return Interval(-1.0, 1.0)
    rows, columns = table.shape
    generator = np.random.default_rng(seed)
    # How often each row and each column was drawn describes a resample fully.
    row_counts = generator.multinomial(rows, np.full(rows, 1 / rows), size=draws)
    column_counts = generator.multinomial(columns, np.full(columns, 1 / columns), size=draws)
    means = np.einsum("ds,sp,dp->d", row_counts, table, column_counts, optimize=True) / table.size
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def best_shares(solved: Sequence[Sequence[float]], *, draws: int = 10_000, seed: int = 0) -> list[float]:
    """How often each method solves most when the problems are drawn anew; a tie is shared.

    Args:
        solved: One row per method, one column per problem: the share of its runs that solved it.
        draws: The number of resamples.
        seed: Resampling seed.

    >>> best_shares([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    [0.5, 0.0, 0.5]
    """
    import numpy as np

    table = np.asarray(solved, dtype=np.float64)
    problems = table.shape[1]
    counts = np.random.default_rng(seed).multinomial(problems, np.full(problems, 1 / problems), size=draws)
    sums = counts @ table.T
    first = sums > sums.max(axis=1, keepdims=True) - 1e-9
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return [float(share) for share in shares]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: p-values that can be read together.

    The i-th smallest of m values is multiplied by m - i (i from 0), then made monotone and capped at 1.

    Source: Holm 1979.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected: dict[str, float] = {}
    floor = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        floor = max(floor, min(1.0, p * (len(p_values) - rank)))
        corrected[name] = floor
    return {name: corrected[name] for name in p_values}
