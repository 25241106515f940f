"""A slip is one wrong calculation, carried on to another answer, and the rule judge quotes it."""

import doctest
from importlib import import_module
from pathlib import Path
from random import Random

import pytest

from nlft.data.reasoning_tasks import reasoning_task
from nlft.grade.numeric import strict
from nlft.judge.rule import rule_judgment
from nlft.records import Judged
from nlft.steps.arithmetic import equations
from nlft.steps.first_error import locate_first_error

DOMAINS = {
    "chain_sum": {"min_terms": 3, "max_terms": 4, "max_digits": 2},
    "products": {"min_digits": 2, "max_digits": 2},
    "leg_counting": {"min_animals": 2, "max_animals": 4},
    "simple_equations": {},
    "gsm_symbolic": {"kinds": [6, 14, 16, 20, 58, 67, 72, 91]},
}


@pytest.fixture
def slips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "recipes" / "small-domains"))
    return import_module("slips")


@pytest.mark.parametrize("task", DOMAINS)
@pytest.mark.parametrize("form", ["worked", "final"])
def test_a_slip_is_the_only_wrong_step_and_the_judgment_leads_back_to_it(slips, task: str, form: str):
    made = 0
    for index, problem in enumerate(reasoning_task(task, 60, 3, DOMAINS[task], form="worked")):
        wrong = slips.slip(problem.reference, Random(index))
        if wrong is None:
            continue
        made += 1
        assert not strict(wrong.response, problem.reference).correct
        body = wrong.response.rpartition("\n#### ")[0]
        assert [e.start for e in equations(body) if e.verdict != "right"] == [wrong.start]
        reference = problem.reference if form == "worked" else "#### " + problem.reference.rpartition("#### ")[2]
        verdict = strict(wrong.response, reference)
        row = Judged.model_validate(
            {**dict(problem), "reference": reference, "response": wrong.response, "verdict": verdict}
        )
        row = row.model_copy(update={"judgment": rule_judgment(row)})
        located = locate_first_error(row)
        assert located.wrong is not None, row.judgment
        assert located.wrong[0] <= wrong.start < located.wrong[1], (row.response, row.judgment)
        assert located.agreed <= wrong.start
    assert made >= 40


def test_the_same_seed_slips_alike(slips):
    solution = "47 + 86 = 133\n133 - 25 = 108\n#### 108"
    assert slips.slip(solution, Random(5)) == slips.slip(solution, Random(5))
    assert len({slips.slip(solution, Random(seed)).response for seed in range(30)}) > 5


@pytest.mark.parametrize("solution", ["#### 5", "no steps\n#### 5", "1 + 1 = 2"])
def test_nothing_to_slip_on(slips, solution: str):
    assert slips.slip(solution, Random(0)) is None


def test_the_examples_are_true(slips):
    assert doctest.testmod(slips) == (0, 2)
