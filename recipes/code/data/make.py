"""Make train.jsonl and test.jsonl: small Python functions on lists of numbers, with tests.

A function picks numbers, changes them and combines them; every combination is there once. The same seed gives the same
bytes: python make.py
"""

import itertools
import json
from pathlib import Path
from random import Random

PICKS = {
    "the even numbers": "x % 2 == 0", "the odd numbers": "x % 2 == 1", "the positive numbers": "x > 0",
    "the negative numbers": "x < 0", "the numbers above {k}": "x > {k}", "the numbers below {k}": "x < {k}",
    "the multiples of {k}": "x % {k} == 0", "the numbers other than {k}": "x != {k}",
}  # fmt: skip
CHANGES = {
    "": "x", "the squares of ": "x * x", "the doubles of ": "2 * x", "the absolute values of ": "abs(x)",
    "one more than each of ": "x + 1", "the opposites of ": "-x",
}  # fmt: skip
COMBINES = {
    "the sum of ": "sum({})", "how many distinct values there are among ": "len(set({}))", "the list of ": "list({})",
    "the sorted list of ": "sorted({})", "the largest of (0 if there is none) ": "max({}, default=0)",
    "the smallest of (0 if there is none) ": "min({}, default=0)",
}  # fmt: skip


def rows(rng: Random) -> list[dict[str, object]]:
    """Every combination, in random order."""
    made = []
    for (pick, test), (change, value), (combine, result) in itertools.product(
        PICKS.items(), CHANGES.items(), COMBINES.items()
    ):
        k = str(rng.randrange(3, 8))
        pick, test = pick.replace("{k}", k), test.replace("{k}", k)
        body = result.replace(
            "{}",
            f"{value} for x in xs if {test}"
            if "(" in result and "," not in result
            else f"({value} for x in xs if {test})",
        )
        code = f"def f(xs):\n    return {body}"
        question = f"Write a Python function f(xs) that returns {combine}{change}{pick} in the list xs."
        made.append({"question": question, "reference": code, "tests": [test_of(code, rng) for _ in range(3)]})
    rng.shuffle(made)
    return made


def test_of(code: str, rng: Random) -> str:
    """An assertion with the value that the function gives."""
    numbers = [rng.randrange(-9, 15) for _ in range(rng.randrange(3, 7))]
    space: dict[str, object] = {}
    exec(code, space)  # noqa: S102 - made above
    return f"assert f({numbers}) == {space['f'](numbers)!r}"  # type: ignore[operator]


def main() -> None:
    """Write 50 rows to train on and 238 others to test on."""
    made = rows(Random(22))
    for name, part in (("train", made[:50]), ("test", made[50:])):
        lines = [json.dumps({"id": f"{name}-{i}", **row}) for i, row in enumerate(part)]
        (Path(__file__).parent / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
