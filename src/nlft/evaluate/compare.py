"""Paired comparison of evaluations: same problems, one difference, an exact test and an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from nlft.config import Config
from nlft.errors import DataError
from nlft.evaluate.evaluation import Accuracy, Evaluation, Grade
from nlft.evaluate.statistics import Interval, bootstrap_interval, exact_mcnemar, holm


class Comparison(Config):
    """b against a, on the same problems."""

    a: str
    b: str
    grader: str
    accuracy_a: Accuracy
    accuracy_b: Accuracy
    only_a: int = Field(description="problems on which a did better")
    only_b: int = Field(description="problems on which b did better")
    difference: float = Field(description="accuracy of b minus accuracy of a")
    interval: Interval = Field(
        description="95 %, paired bootstrap over problems (and over seeds, if there are several)"
    )
    p_value: float = Field(description="exact McNemar over problems, two-sided")
    p_holm: float | None = Field(default=None, description="Holm-corrected over the comparisons of the same table")


def compare(
    a: Evaluation, b: Evaluation, *, grader: Grade = "flexible", names: tuple[str, str] = ("a", "b")
) -> Comparison:
    """Compare two evaluations problem by problem.

    Args:
        a: The baseline, with its rows.
        b: The evaluation to compare with it, with its rows.
        grader: Which verdict counts.
        names: The names of the two in the result.

    Raises:
        DataError: if the two did not answer the same problems, or were not graded alike.
    """
    for side, name in ((a, names[0]), (b, names[1])):
        if len(side.rows) != side.n:
            raise DataError(f"the rows of {name} are missing", remedy="keep its .jsonl file next to it")
    if a.data_hash != b.data_hash:
        raise _different(names)
    if a.grader != b.grader:
        said = [side.grader or "gsm8k" for side in (a, b)]
        raise DataError(
            f"{names[0]} was graded by {said[0]}, but {names[1]} by {said[1]}",
            remedy="evaluate both with the same --grader",
        )
    solved = [{row.id: getattr(row, grader).correct for row in side.rows} for side in (a, b)]
    return compare_solved(solved[:1], solved[1:], grader=a.column(grader), names=names)


def compare_solved(
    a: Sequence[Mapping[str, bool]], b: Sequence[Mapping[str, bool]], *, grader: str, names: tuple[str, str]
) -> Comparison:
    """Compare two methods over several seeds: for each seed, whether each problem (by id) was solved.

    The test counts problems, not (problem, seed) pairs, which would treat two runs on one problem as
    independent: a problem is b's when b solves it under more seeds than a does. With one seed this is
    McNemar's test. The interval resamples problems and seeds.

    Raises:
        DataError: if the numbers of seeds or the problems differ.
    """
    if len(a) != len(b) or not a:
        raise DataError(
            f"{names[0]} has {len(a)} evaluations and {names[1]} {len(b)}",
            remedy="pass one evaluation per seed on both sides",
        )
    problems = sorted(a[0])
    if any(sorted(solved) != problems for solved in (*a, *b)):
        raise _different(names)
    differences = [[y[p] - x[p] for p in problems] for x, y in zip(a, b, strict=True)]
    sums = [sum(column) for column in zip(*differences, strict=True)]
    only_a, only_b = sum(s < 0 for s in sums), sum(s > 0 for s in sums)
    n = len(problems) * len(a)
    return Comparison(
        a=names[0],
        b=names[1],
        grader=grader,
        accuracy_a=Accuracy(count=sum(sum(x.values()) for x in a), n=n),
        accuracy_b=Accuracy(count=sum(sum(y.values()) for y in b), n=n),
        only_a=only_a,
        only_b=only_b,
        difference=sum(sums) / n if n else 0.0,
        interval=bootstrap_interval(differences),
        p_value=exact_mcnemar(only_a, only_b),
    )


def _different(names: tuple[str, str]) -> DataError:
    return DataError(
        f"{names[0]} and {names[1]} answered different problems (their data hashes differ)",
        remedy="evaluate both on the same file, with the same --n",
    )


def compare_many(
    baseline: Evaluation, others: dict[str, Evaluation], *, grader: Grade = "flexible", name: str = "a"
) -> list[Comparison]:
    """Compare each of `others` with the baseline, with Holm-corrected p-values."""
    return correct([compare(baseline, other, grader=grader, names=(name, key)) for key, other in others.items()])


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one table with `p_holm` set."""
    corrected = holm({str(i): c.p_value for i, c in enumerate(comparisons)})
    return [c.model_copy(update={"p_holm": corrected[str(i)]}) for i, c in enumerate(comparisons)]
