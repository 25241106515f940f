"""Problems of any reasoning-gym task: deterministic, apart by seed, solved by their own worked solutions."""

import sys
from datetime import date
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.data.reasoning_tasks import reasoning_task, task_names
from nlft.data.sources import _generators as gsm_symbolic_generators
from nlft.data.worked import WORKED
from nlft.errors import ConfigError, DataError
from nlft.evaluate import read_evaluation
from nlft.grade import grade_one
from nlft.grade.numeric import flexible
from nlft.grade.task_scorer import grade_by_task, score_entry
from nlft.records import Attempt, Graded, Problem, read_records, write_records
from nlft.steps.arithmetic import equations

NARROW = {
    "calendar_arithmetic": {"tasks": ["weekday_offset"]},
    "time_intervals": {"task_types": ["time"]},
    "letter_counting": {"max_words": 8},
}


def attempt(problem: Problem, response: str) -> Attempt:
    return Attempt.model_validate({**dict(problem), "response": response})


@pytest.mark.parametrize("task", sorted(WORKED))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_worked_solution_convinces_the_tasks_own_scorer_and_every_equation_in_it_is_true(task: str, seed: int):
    for problem in reasoning_task(task, 60, seed, NARROW.get(task), form="worked"):
        steps, mark, answer = problem.reference.rpartition("#### ")
        assert mark
        assert steps.count("####") == 0
        assert score_entry(problem.entry, answer) == 1.0  # type: ignore[attr-defined]
        assert grade_by_task(attempt(problem, problem.reference), strict=True).correct
        assert [e for e in equations(steps) if e.verdict != "right"] == []


@pytest.mark.parametrize("task", ["chain_sum", "products", "leg_counting", "gcd", "lcm", "simple_equations"])
def test_the_last_line_of_the_working_arrives_at_the_answer(task: str):
    for problem in reasoning_task(task, 60, 5, form="worked"):
        steps, _, answer = problem.reference.rpartition("\n#### ")
        last = equations(steps)[-1] if task != "gcd" else None
        if last is not None:
            assert str(last.right) == answer
        else:  # Euclid: the last remainder is 0, and what was divided by is the answer
            assert steps.splitlines()[-1].endswith(" = 0")
            assert steps.splitlines()[-1].split(" * ")[1].split(" = ")[0] == answer


def test_zero_has_no_digits_in_base_conversion_and_is_passed_over():
    problems = reasoning_task("base_conversion", 4, 0, {"max_value": 5, "min_base": 9, "max_base": 10}, form="worked")
    assert all(problem.entry["metadata"]["decimal_value"] for problem in problems)


def test_the_same_arguments_give_the_same_problems_and_more_begin_with_fewer():
    few, many = reasoning_task("gcd", 5, 3), reasoning_task("gcd", 20, 3)
    assert many[:5] == few == reasoning_task("gcd", 5, 3)
    assert len({p.question for p in many}) == 20


def test_no_date_of_today_is_kept():
    for problem in reasoning_task("time_intervals", 20, 0, {"task_types": ["time", "time_seconds"]}):
        assert f"{date.today():%Y-%m-%d}" not in problem.model_dump_json()


def test_neighbouring_seeds_share_no_problems_though_the_librarys_do():
    a, b = ({p.question for p in reasoning_task("products", 50, seed)} for seed in (7, 8))
    assert not a & b


def test_questions_can_be_excluded():
    few = reasoning_task("lcm", 5, 0)
    others = reasoning_task("lcm", 4, 0, exclude=[few[2].question])
    assert [p.question for p in others] == [p.question for p in few if p != few[2]]


def test_forms_differ_in_the_reference_alone():
    worked, final = (reasoning_task("chain_sum", 5, 0, form=form) for form in ("worked", "final"))
    for w, f in zip(worked, final, strict=True):
        assert w.question == f.question
        assert w.id == f.id
        assert f.reference == "#### " + w.reference.rpartition("#### ")[2]


def test_gsm_symbolic_is_one_of_the_tasks():
    problem = reasoning_task("gsm_symbolic", 1, 0, {"kinds": [43]}, form="final")[0]
    assert problem.reference.startswith("#### ")
    assert problem.entry["answer"] in problem.reference
    assert flexible(problem.reference, problem.reference).correct
    assert grade_by_task(attempt(problem, problem.reference)).correct


def test_the_scorer_reads_answers_as_the_task_does():
    problem = reasoning_task("number_sorting", 1, 0)[0]
    answer = problem.entry["answer"]  # type: ignore[attr-defined]
    assert grade_by_task(attempt(problem, f"Sorted:\n{answer}")).correct  # no #### : the last line
    assert not grade_by_task(attempt(problem, f"Sorted:\n{answer}"), strict=True).correct
    assert not grade_by_task(attempt(problem, "#### ['1']")).correct
    assert not grade_by_task(attempt(problem, "")).correct


def test_partial_credit_is_wrong():
    problem = reasoning_task("time_intervals", 1, 0, {"task_types": ["time"]})[0]
    answer = problem.entry["answer"]  # type: ignore[attr-defined]
    off = f"{answer[:-1]}{(int(answer[-1]) + 1) % 10}"
    assert 0 < score_entry(problem.entry, off) < 1  # type: ignore[attr-defined]
    assert not grade_by_task(attempt(problem, f"#### {off}")).correct


@pytest.mark.parametrize(
    ("task", "config", "form"),
    [("chain_sums", {}, "final"), ("chain_sum", {"max_term": 3}, "final"), ("sudoku", {}, "worked")],
)
def test_what_does_not_exist_is_refused(task: str, config: dict[str, int], form: str):
    with pytest.raises(ConfigError):
        reasoning_task(task, 2, 0, config, form=form)  # type: ignore[arg-type]


def test_a_task_that_runs_out_of_problems_says_so():
    with pytest.raises(DataError, match="different problems"):
        reasoning_task("chain_sum", 400, 0, {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})


def test_many_tasks_go_through_json_and_their_scorer_accepts_their_own_answer():
    for task in ("base_conversion", "calendar_arithmetic", "count_bits", "fraction_simplification", "spell_backward"):
        assert task in task_names()
        for problem in reasoning_task(task, 5, 1):
            again = Problem.model_validate_json(problem.model_dump_json())
            assert again == problem
            assert score_entry(again.entry, again.entry["answer"]) == 1.0


def test_from_the_command_line_to_grades_and_an_evaluation_of_weekdays(tmp_path: Path, capsys):
    asked = ["data", "reasoning-gym", "--task", "calendar_arithmetic", "--n", "3", "--config", "tasks=[weekday_offset]"]
    problems, answers, graded = (tmp_path / f"{name}.jsonl" for name in ("problems", "answers", "graded"))
    assert run([*asked, "--form", "worked", "-o", str(problems)]) == 0
    rows = list(read_records(problems, Problem))
    assert rows == reasoning_task("calendar_arithmetic", 3, 0, {"tasks": ["weekday_offset"]}, form="worked")
    responses = (rows[0].reference, rows[1].reference.rpartition("#### ")[2], "Noday\n#### Noday")
    write_records(answers, [attempt(p, response) for p, response in zip(rows, responses, strict=True)])
    for grader, correct in (("reasoning-gym", [True, True, False]), ("reasoning-gym-strict", [True, False, False])):
        assert run(["grade", str(answers), "-o", str(graded), "--grader", grader]) == 0
        assert [row.verdict.correct for row in read_records(graded, Graded)] == correct
    (tmp_path / "recorded.jsonl").write_text(answers.read_text())
    words = ["evaluate", str(problems), "--answerer", f"replay:{tmp_path / 'recorded.jsonl'}", "-o"]
    assert run([*words, str(tmp_path / "e.json"), "--grader", "reasoning-gym"]) == 0
    found = read_evaluation(tmp_path / "e.json")
    assert (found.flexible.count, found.strict.count, found.formatted.count) == (2, 1, 2)
    capsys.readouterr()
    assert run([*words, str(tmp_path / "f.json")]) == 1
    assert "no number can be read from the reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "base_conversions"], 'did you mean "base_conversion"?'),
        (["--task", "sudoku", "--form", "worked"], "sudoku has no worked solutions"),
        (["--task", "chain_sum", "--config", "max_term=3"], "does not take {'max_term': 3}"),
        (["--task", "chain_sum", "--form", "works"], 'did you mean "worked"?'),
        ([], "Missing option '--task'"),
    ],
)
def test_mistakes_on_the_command_line_are_told(tmp_path: Path, capsys, words: list[str], said: str):
    assert run(["data", "reasoning-gym", *words, "-o", str(tmp_path / "p.jsonl")]) == 2
    assert said in capsys.readouterr().err


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    for use in (task_names, lambda: gsm_symbolic_generators.__wrapped__()):
        with pytest.raises(ConfigError, match="needs the package reasoning-gym") as caught:
            use()
        assert "nlft[reasoning-gym]" in str(caught.value)


def test_a_record_without_an_entry_is_refused():
    record = Attempt(id="a", question="q", reference="1", response="1")
    with pytest.raises(DataError, match="no entry"):
        grade_one(record, "reasoning-gym")
