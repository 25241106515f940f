"""The suite's problems and training rows, generated from a domain's name and a seed.

Seeds: 9000 development, 1000 test (drawn for the confirmation only), 1 to 4 the training draws.
"""

from __future__ import annotations

from random import Random
from typing import Any

from slips import misreading, slip

from nlft.data.config import Form
from nlft.data.reasoning_tasks import reasoning_task
from nlft.grade import grade_one
from nlft.judge.rule import rule_judgment
from nlft.records import Attempt, Judged, Problem
from nlft.steps.arithmetic import numbers

DEV_SEED, TEST_SEED, EXAMPLE_SEED = 9000, 1000, 77
MIXTURES = {"teacher": 0.15, "half": 0.5, "poor": 0.8}  # the share of wrong responses

DOMAINS: dict[str, tuple[str, dict[str, Any]]] = {
    "gsm-counts": ("gsm_symbolic", {"kinds": [6, 14, 16, 20, 58, 67, 72, 91]}),
    "gsm-small": ("gsm_symbolic", {"kinds": [6, 14, 16, 20, 58, 67, 72, 91]}),  # no number above LARGEST
    "gsm-prices": ("gsm_symbolic", {"kinds": [9, 15, 23, 71, 73, 81, 92, 99]}),
    "sums": ("chain_sum", {"min_terms": 3, "max_terms": 4, "min_digits": 2, "max_digits": 3}),
    "products": ("products", {"min_digits": 2, "max_digits": 2}),
    "legs": ("leg_counting", {"min_animals": 2, "max_animals": 4, "max_instances": 12}),
    "small-sums": (
        "chain_sum",
        {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    ),  # after sums failed
    "pair-sums": ("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 3}),  # after sums failed
    "small-products": ("products", {"min_digits": 1, "max_digits": 2}),  # beside products
    "few-legs": ("leg_counting", {"min_animals": 2, "max_animals": 2, "max_instances": 6}),  # after legs failed
    "gcd": ("gcd", {"min_value": 10, "max_value": 150}),
    "lcm": ("lcm", {"min_value": 4, "max_value": 40}),
    "equations": ("simple_equations", {"min_terms": 2, "max_terms": 3, "max_value": 30}),
    "bases": ("base_conversion", {"min_base": 2, "max_base": 9, "max_value": 200}),
    "letters": ("letter_counting", {"min_words": 4, "max_words": 6}),
    "sorting": (
        "number_sorting",
        {"min_numbers": 4, "max_numbers": 5, "max_decimals": 0, "min_value": 0, "max_value": 200},
    ),
    "times": ("time_intervals", {"task_types": ["time"]}),
    "weekdays": ("calendar_arithmetic", {"tasks": ["weekday_offset"], "offset_upper_bound": 60}),
    "factors": ("prime_factorization", {"min_value": 20, "max_value": 300}),
}
"""The candidates, each a narrowed reasoning-gym task; README.md says which passed the gate."""


LARGEST = {"gsm-small": 100}  # problems with a larger number in their solution are left out


def draw(name: str, n: int, seed: int, form: Form = "worked", exclude: tuple[str, ...] = ()) -> list[Problem]:
    """Problems of a domain; none of the questions in `exclude`."""
    task, config = DOMAINS[name]
    if name not in LARGEST:
        return reasoning_task(task, n, seed, config, form=form, exclude=exclude)
    asked, found = n, []
    while len(found) < n:
        asked *= 2
        worked = reasoning_task(task, asked, seed, config, form="worked", exclude=exclude)
        found = [at for at, each in enumerate(worked) if _largest(each.reference) <= LARGEST[name]]
    made = worked if form == "worked" else reasoning_task(task, asked, seed, config, form=form, exclude=exclude)
    return [made[at] for at in found[:n]]


def _largest(solution: str) -> float:
    return max(abs(float(number.value)) for number in numbers(solution))


def training_rows(
    name: str, n: int, seed: int, form: Form = "worked", mixture: str = "teacher", errors: str = "slips"
) -> list[Judged]:
    """Judged rows of one draw: a simulated teacher's responses, the wrong ones with a judgment.

    A correct response is the worked solution. A wrong one has one wrong step, carried through to its answer
    (`slips.py`). Which rows are wrong is random; their number is fixed, the mixture's share of n. In the form
    "final" the standard answer has no working. Questions of the development set are excluded.

    Args:
        name: The domain.
        n: Rows.
        seed: The draw.
        form: The form of the standard answers.
        mixture: One of `MIXTURES`.
        errors: "slips" (one miscalculation, judged by rule; right responses in one of three styles) or "misreads"
            (another operation, correctly calculated; judged by a simulated expert, who quotes the wrong step and says
            what it should be, and no more).
    """
    asked = tuple(problem.question for problem in draw(name, 200, DEV_SEED))
    problems = draw(name, n, seed, "worked", asked)
    rng = Random(f"{name}:{seed}:{mixture}" + ("" if errors == "slips" else f":{errors}"))  # noqa: S311 - repeatable, guards nothing
    err = slip if errors == "slips" else misreading
    wrong: dict[int, str] = {}
    for place in rng.sample(range(n), n):
        if len(wrong) < round(MIXTURES[mixture] * n) and (made := err(problems[place].reference, rng)) is not None:
            wrong[place] = made.response
    rows = []
    for place, problem in enumerate(problems):
        response = wrong.get(place, problem.reference)
        if errors == "slips":
            response = told(response, rng)
        reference = problem.reference if form == "worked" else f"#### {problem.reference.rpartition('#### ')[2]}"
        fields = {**dict(problem), "reference": reference, "response": response, "finish_reason": "stop"}
        graded = grade_one(Attempt.model_validate(fields), "gsm8k-strict")
        if graded.verdict.correct == (place in wrong):
            raise ValueError(f"{problem.id}: the grade does not match the generated response: {graded.verdict.reason}")
        judged = Judged.model_validate(dict(graded))
        if not graded.verdict.correct:
            words = rule_judgment(graded) if errors == "slips" else expert(response, problem.reference)
            judged = judged.model_copy(update={"judgment": words, "judge": "rule" if errors == "slips" else "expert"})
        rows.append(judged)
    return rows


def expert(response: str, solution: str) -> str:
    """What a simulated expert says of a wrong response: its first wrong step, and the right one in its place."""
    wrong, right = next(
        pair for pair in zip(response.splitlines(), solution.splitlines(), strict=True) if len(set(pair)) > 1
    )
    return f'The step "{wrong}" is wrong. It should be "{right}".'


def told(solution: str, rng: Random) -> str:
    """A worked solution in one of three styles: as it is, with "First", "Then" (sentences as a list), or with numbered steps."""
    body, _, answer = solution.rpartition("\n#### ")
    lines = body.splitlines()
    style = rng.choice(("plain", "words", "steps"))
    if style == "words" and any(line[0].isupper() for line in lines):
        lines = [f"- {line}" for line in lines]  # full sentences would read badly after "First"
    elif style == "words":
        links = ["First, ", *(rng.choice(("Then ", "Next, ", "After that, ")) for _ in lines[1:])]
        if len(lines) > 1:
            links[-1] = rng.choice(("So ", "Finally, "))
        lines = [link + line for link, line in zip(links, lines, strict=True)]
    elif style == "steps":
        lines = [f"Step {number}: {line}" for number, line in enumerate(lines, start=1)]
    return "\n".join([*lines, f"#### {answer}"])
