"""The suite's problems and training rows, made on the spot from a domain's name and a seed.

Seeds: 9000 development, 1000 test (drawn for the confirmation only), 1 to 4 the training draws.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import yaml

from nlft.data.reasoning_tasks import Form, reasoning_task
from nlft.grade import grade_one
from nlft.judge.rule import rule_judgment
from nlft.judge.slips import slip
from nlft.records import Attempt, Judged, Problem

HERE = Path(__file__).parent
DEV_SEED, TEST_SEED, EXAMPLE_SEED = 9000, 1000, 77
MIXTURES = {"teacher": 0.15, "half": 0.5}  # the share of wrong responses


def domains() -> dict[str, dict[str, Any]]:
    """Every candidate by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "domains.yaml").read_text("utf-8"))
    return found


def draw(name: str, n: int, seed: int, form: Form = "worked", exclude: tuple[str, ...] = ()) -> list[Problem]:
    """Problems of a domain; with `exclude`, none of those questions."""
    domain = domains()[name]
    return reasoning_task(domain["task"], n, seed, domain["config"], form=form, exclude=exclude)


def training_rows(name: str, n: int, seed: int, form: Form = "worked", mixture: str = "teacher") -> list[Judged]:
    """Judged rows of one draw: a teacher's responses, by code, the wrong ones with a rule judgment.

    A right response is the worked solution told in one of the teacher's three manners, so that responses are not the
    standard answers. A wrong one is the same with one slip of arithmetic carried to its end (`nlft.judge.slips`). Which
    rows are wrong is drawn, their number is not: the mixture's share of n. In the form "final" the standard answer has
    no working, and the judge sees none either. The questions of the development set do not come up.
    """
    asked = tuple(problem.question for problem in draw(name, 200, DEV_SEED))
    problems = draw(name, n, seed, "worked", asked)
    rng = Random(f"{name}:{seed}:{mixture}")  # noqa: S311 - repeatable, guards nothing
    order = rng.sample(range(n), n)
    wrong: dict[int, str] = {}
    for place in order:
        if len(wrong) < round(MIXTURES[mixture] * n) and (made := slip(problems[place].reference, rng)) is not None:
            wrong[place] = made.response
    rows = []
    for place, problem in enumerate(problems):
        response = told(wrong.get(place, problem.reference), rng)
        reference = problem.reference if form == "worked" else f"#### {problem.reference.rpartition('#### ')[2]}"
        fields = {**dict(problem), "reference": reference, "response": response, "finish_reason": "stop"}
        graded = grade_one(Attempt.model_validate(fields), "gsm8k-strict")
        if graded.verdict.correct == (place in wrong):
            raise ValueError(f"{problem.id}: the grade is not what was made: {graded.verdict.reason}")
        judged = Judged.model_validate(dict(graded))
        if not graded.verdict.correct:
            judged = judged.model_copy(update={"judgment": rule_judgment(graded), "judge": "rule"})
        rows.append(judged)
    return rows


def told(solution: str, rng: Random) -> str:
    """A worked solution in one of three manners: as it is, with words of order (sentences as a list), or with numbered steps."""
    body, _, answer = solution.rpartition("\n#### ")
    lines = body.splitlines()
    manner = rng.choice(("plain", "words", "steps"))
    if manner == "words" and any(line[0].isupper() for line in lines):
        lines = [f"- {line}" for line in lines]  # sentences of their own take no words of order
    elif manner == "words":
        links = ["First, ", *(rng.choice(("Then ", "Next, ", "After that, ")) for _ in lines[1:])]
        if len(lines) > 1:
            links[-1] = rng.choice(("So ", "Finally, "))
        lines = [link + line for link, line in zip(links, lines, strict=True)]
    elif manner == "steps":
        lines = [f"Step {number}: {line}" for number, line in enumerate(lines, start=1)]
    return "\n".join([*lines, f"#### {answer}"])
