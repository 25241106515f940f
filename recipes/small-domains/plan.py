"""Is the plan right even if the arithmetic is not? A second look at the results of `screen.py`.

    python recipes/small-domains/plan.py FOLDER --domain gsm-counts --rate 1e-3 [--against sft-response]

A response's plan is right when its own equations, computed exactly with each result carried on, lead to the
standard answer. This separates a student that chooses wrong numbers from one that calculates wrongly.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from draws import DEV_SEED, DOMAINS, draw
from scipy.stats import binomtest

from nlft.grade.numbers import canonical
from nlft.steps.arithmetic import equations, numbers


def planned_value(response: str) -> Fraction | None:
    """The result of the response's steps with each calculated correctly; None without a readable step.

    >>> planned_value("4 * 6 = 25" + chr(10) + "25 - 5 = 19" + chr(10) + "#### 19")
    Fraction(19, 1)
    """
    body, end = response.partition("####")[0], 0
    while (wrong := next((e for e in equations(body) if e.start >= end and e.verdict != "right"), None)) is not None:
        behind = body.rindex("=", wrong.start, wrong.end)
        number = next((n for n in numbers(body) if behind <= n.start < wrong.end), None)
        if number is None:
            return None
        old, new = body[number.start : number.end], canonical(wrong.left)
        head, rest = body[: number.start] + new, body[number.end :]
        for later in reversed(numbers(rest)):
            if rest[later.start : later.end] == old:
                rest = rest[: later.start] + new + rest[later.end :]
        body, end = head + rest, len(head)
    found = equations(body)
    return found[-1].right if found else None


def cells(folder: Path, domain: str, form: str, rate: float, draw: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method of a domain, form, rate and training draw (seed 0), its rows by id."""
    for file in sorted(folder.glob(f"{domain}-{form}-teacher-50-d{draw}-s0-*-{rate:g}.jsonl")):
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        yield file.stem.split("-s0-")[1].removesuffix(f"-{rate:g}"), {row["id"]: row for row in rows}


def paired(ours: dict[str, bool], theirs: dict[str, bool]) -> str:
    """Better, worse, and the exact McNemar test."""
    better = sum(ours[i] and not theirs[i] for i in ours)
    worse = sum(theirs[i] and not ours[i] for i in ours)
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return f"{better - worse:+3d} ({better:2d} better, {worse:2d} worse, p {p:.2f})"


def main() -> None:
    """Print both counts, one line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--domain", required=True, choices=list(DOMAINS))
    parser.add_argument("--form", default="worked")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--draw", type=int, default=1)
    parser.add_argument("--against", default="sft-response")
    args = parser.parse_args()
    wanted = {p.id: Fraction(p.reference.rpartition("#### ")[2]) for p in draw(args.domain, 500, DEV_SEED)}
    answers, plans, false = {}, {}, {}
    for name, rows in cells(args.folder, args.domain, args.form, args.rate, args.draw):
        answers[name] = {i: bool(row["flexible"]["correct"]) for i, row in rows.items()}
        plans[name] = {i: planned_value(row["response"]) == wanted[i] for i, row in rows.items()}
        steps = [e for row in rows.values() for e in equations(row["response"])]
        false[name] = sum(e.verdict != "right" for e in steps) / max(1, len(steps))
    for name in sorted(plans, key=lambda each: -sum(plans[each].values())):
        line = f"{name:<20} answer {sum(answers[name].values()):3d}/{len(answers[name])}"
        line += f"  plan {sum(plans[name].values()):3d}  equations false {false[name]:.0%}"
        if name != args.against and args.against in plans:
            line += f"  vs {args.against}: answer {paired(answers[name], answers[args.against])}"
            line += f", plan {paired(plans[name], plans[args.against])}"
        print(line)


if __name__ == "__main__":
    main()
