"""Which candidate to take, and what the paired comparisons allow to say about it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlft.choose.candidates import is_plain
from nlft.evaluate import Comparison, best_shares, correct
from nlft.evaluate.evaluation import Grade
from nlft.evaluate.table import Table, interval, p_value, percent
from nlft.pipeline.report import Point, compare_two
from nlft.progress import duration

LEVEL = 0.05


@dataclass(frozen=True)
class Choice:
    """The outcome of a comparison of candidates.

    Attributes:
        grader: the grader that decided.
        ranked: the candidates, the one that solved most first.
        against: the best against each other candidate, in the order of `ranked`.
        taken: the candidate to take.
        untrained: the untrained model, if it was evaluated, and the candidate to take against it.
    """

    grader: Grade
    ranked: tuple[Point, ...]
    against: tuple[Comparison, ...]
    taken: Point
    untrained: tuple[Point, Comparison] | None

    @property
    def tied(self) -> list[Comparison]:
        """Those of `against` that do not tell the two apart."""
        return [each for each in self.against if (each.p_holm or 0.0) >= LEVEL]

    def text(self) -> str:
        """The recommendation in a few sentences."""
        best, tied = self.ranked[0], self.tied
        lines = [f"Solved most: {best.method}, {percent(best.accuracy(self.grader))} of {_count(best)} problems."]
        if tied:
            lines.append("Not told apart from it: " + "; ".join(map(_told, tied)) + ".")
        if worse := [each for each in self.against if each not in tied]:
            lines.append(
                "Worse: " + "; ".join(f"{_told(each)}, p {p_value(each.p_holm or 0.0)}" for each in worse) + "."
            )
        if not tied:
            why = "it is better than every other candidate"
        elif is_plain(self.taken.method):
            why = "of those not told apart, the plain SFT that solved most"
        else:
            why = "it solved most, and no plain SFT is among those not told apart from it"
        lines.insert(0, f"Take {self.taken.method}: {why}.")
        if self.untrained is not None:
            lines.append(_gain(self.untrained[1]))
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """The same for a program: who is taken, and how the best compares with each of the others."""
        return {
            "take": self.taken.method,
            "best": self.ranked[0].method,
            "accuracy": {point.method: point.accuracy(self.grader) for point in self.ranked},
            "grader": self.grader,
            "best_against": self.against,
        }

    def table(self) -> Table:
        """One row per candidate, and one for the untrained model."""
        best = self.ranked[0]
        other: Grade = "strict" if self.grader == "flexible" else "flexible"
        header = (
            "", self.grader, "95 %", other, "in format", f"against {best.method}", "95 %", "p (Holm)", "most in", "training",
        )  # fmt: skip
        shares = best_shares([_solved(point, self.grader) for point in self.ranked])
        compared = {each.a: each for each in self.against}
        rows = []
        for point, share in zip(self.ranked, shares, strict=True):
            c = compared.get(point.method)
            paired = (
                ("", "", "") if c is None else (f"{-100 * c.difference:+.1f}", _turned(c), p_value(c.p_holm or 0.0))
            )
            seconds = [result.training.seconds for result in point.results if result.training is not None]
            time = duration(sum(seconds) / len(seconds)) if seconds else ""
            rows.append((*_accuracy(point, self.grader, other), *paired, percent(share), time))
        if self.untrained is not None:
            rows.append((*_accuracy(self.untrained[0], self.grader, other), "", "", "", "", ""))
        return Table(header, tuple(rows))


def choose(found: Sequence[Point], grader: Grade) -> Choice:
    """Choose among the trained candidates.

    Every pair is compared over the problems (exact McNemar), with Holm's correction over all pairs, because which one
    is best is known only from the same data. Of the best and those not told apart from it, take the best plain SFT; the
    best where none is plain.

    Args:
        found: One point per candidate, on the same problems, and at most one of the untrained model.
        grader: The grader that decides.
    """
    trained = sorted((point for point in found if point.size), key=lambda point: -point.accuracy(grader))
    pairs = itertools.combinations(trained, 2)
    corrected = correct([each for a, b in pairs if (each := compare_two(b, a, grader)) is not None])
    against = tuple(each for each in corrected if each.b == trained[0].method)
    tied = {each.a for each in against if (each.p_holm or 0.0) >= LEVEL}
    group = [trained[0], *(point for point in trained if point.method in tied)]
    taken = next((point for point in group if is_plain(point.method)), group[0])
    untrained = None
    for base in (point for point in found if not point.size):
        gains = correct([gain for point in trained if (gain := compare_two(base, point, grader)) is not None])
        untrained = base, next(gain for gain in gains if gain.b == taken.method)
    return Choice(grader, tuple(trained), against, taken, untrained)


def _gain(gain: Comparison) -> str:
    told = f"{100 * gain.difference:+.1f} points ({interval(gain.interval)}, p {p_value(gain.p_holm or 0.0)})"
    if (gain.p_holm or 0.0) < LEVEL and gain.difference > 0:
        return f"Against the untrained model: {told}."
    return f"It is not shown to be better than the untrained model: {told}."


def _told(each: Comparison) -> str:
    return f"{each.a} ({-100 * each.difference:+.1f}, {_turned(each)})"


def _turned(each: Comparison) -> str:
    """The interval of a - b, as the table shows differences from the best."""
    low, high = (round(-end, 6) + 0.0 for end in (each.interval.high, each.interval.low))  # never "-0.0"
    return interval(type(each.interval)(low, high))


def _accuracy(point: Point, grader: Grade, other: Grade) -> tuple[str, ...]:
    ends = interval(point.interval(grader))
    return point.method, percent(point.accuracy(grader)), ends, percent(point.accuracy(other)), percent(point.formatted)


def _solved(point: Point, grader: Grade) -> list[float]:
    """For each problem, the share of the seeds under which it was solved."""
    seeds = list(point.solved(grader).values())
    return [sum(seed[problem] for seed in seeds) / len(seeds) for problem in sorted(seeds[0])]


def _count(point: Point) -> int:
    return len(_solved(point, "flexible"))
