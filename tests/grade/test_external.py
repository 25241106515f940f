"""Graders in a process of their own: what they say, and that neither a loop nor a crash stops the stage."""

from pathlib import Path

import pytest

from nlft.errors import ConfigError, DataError
from nlft.grade import get_grader, grade_one
from nlft.grade.external import ExternalGrader
from nlft.records import Attempt, Graded, Verdict

USERS = """
import os, sys, time
from nlft import Verdict

def grade(response, reference):
    print("noise on stdout")
    if response == "loop":
        while True:
            pass
    if response == "die":
        os._exit(3)
    if response == "raise":
        return 1 / 0
    if response == "dict":
        return {"correct": True, "value": "x", "reason": "said so"}
    if response == "verdict":
        return Verdict(correct=False, reason="own words")
    if response == "nothing":
        return None
    return response == reference
"""


def graded(grader: ExternalGrader, response: str, reference: str) -> Verdict:
    return grader(Attempt.model_construct(id="a", question="q", reference=reference, response=response))


@pytest.fixture
def users(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(USERS, encoding="utf-8")
    grader = ExternalGrader(f"code:{file}", deadline=20)
    yield grader
    grader.close()


def test_a_users_function_decides(users: ExternalGrader) -> None:
    assert graded(users, "{a}\n\ud800é", "{a}\n\ud800é").correct
    assert not graded(users, "a", "b").correct
    assert graded(users, "dict", "").model_dump() == {
        "correct": True,
        "value": "x",
        "extracted": None,
        "reason": "said so",
    }
    assert graded(users, "verdict", "").reason == "own words"


def test_a_loop_is_ended_and_the_next_row_is_graded(users: ExternalGrader) -> None:
    graded(users, "a", "a")
    users.deadline = 0.3
    verdict = graded(users, "loop", "a")
    assert (verdict.correct, "no verdict within 0.3 s" in verdict.reason) == (False, True)
    users.deadline = 20
    assert graded(users, "a", "a").correct


def test_a_dead_worker_is_replaced(users: ExternalGrader) -> None:
    verdict = graded(users, "die", "a")
    assert (verdict.correct, "ended without a verdict" in verdict.reason) == (False, True)
    assert graded(users, "a", "a").correct


def test_an_interrupted_answer_is_not_the_next_rows(users: ExternalGrader, monkeypatch: pytest.MonkeyPatch) -> None:
    graded(users, "a", "a")
    process = users._worker.process  # type: ignore[union-attr]
    pipe = process.stdout

    class Interrupted:
        close = pipe.close

        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(process, "stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        graded(users, "a", "a")
    assert process.poll() is not None
    assert not graded(users, "a", "b").correct


def test_an_error_in_the_function_names_its_line(users: ExternalGrader) -> None:
    with pytest.raises(ConfigError, match="ZeroDivisionError") as caught:
        graded(users, "raise", "a")
    assert caught.value.file == users.file
    assert caught.value.line == USERS.splitlines().index("        return 1 / 0") + 1
    with pytest.raises(ConfigError, match="returned NoneType"):
        graded(users, "nothing", "a")


@pytest.mark.parametrize(
    ("parameters", "expression"),
    [
        ("response, reference", "(response, reference) == ('r', '1')"),
        ("a, b", "(a, b) == ('r', '1')"),
        ("a, b, c", "(a, b, c) == ('r', '1', 'q')"),
        ("a, b, c", "0.5 + 0.5"),
        ("response, reference, tolerance=0.1", "(response, reference, tolerance) == ('r', '1', 0.1)"),
        ("response, reference, question", "(response, reference, question) == ('r', '1', 'q')"),
        ("response, reference, *, question=None", "(response, reference, question) == ('r', '1', 'q')"),
        ("record", "(record['id'], record['own'], record['verdict']['correct']) == ('a', [{'x': 1}], False)"),
    ],
)
def test_a_users_function_gets_what_it_asks_for(tmp_path: Path, parameters: str, expression: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def grade({parameters}):\n    return {expression}\n", encoding="utf-8")
    row = {"id": "a", "question": "q", "reference": "1", "response": "r", "own": [{"x": 1}]}
    earlier = Graded.model_validate({**row, "verdict": {"correct": False, "reason": "-"}})
    assert grade_one(earlier, f"code:{file}").verdict.correct


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def grade(:", "SyntaxError"),
        ("x = 1", "defines no function grade"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_grade_is_refused(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        graded(ExternalGrader(f"code:{file}"), "a", "a")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        get_grader(f"code:{tmp_path / 'none.py'}")


@pytest.fixture(scope="module")
def math():
    pytest.importorskip("math_verify")
    grader = ExternalGrader("math", deadline=60)
    yield grader
    grader.close()


@pytest.mark.parametrize(
    ("response", "reference", "correct"),
    [
        ("#### 18", "9 * 2 = 18\n#### 18", True),
        ("#### $18 a day", "#### 18", True),
        ("#### 1,200", "#### 1200", True),
        ("#### 17", "#### 18", False),
        (r"so \boxed{\frac{1}{2}}", "0.5", True),
        ("the answer is $x^2-1$", "$(x-1)(x+1)$", True),
        (r"$\{1, 2\}$", r"$\{2, 1\}$", True),
        (r"\boxed{2\sqrt{3}}", r"$\sqrt{12}$", True),
        ("The answer is 18.", "18", True),
        ("It is 5.\nNo: 18 apples", "18", True),
        ("", "18", False),
        ("a" * 100_000 + " 18", "18", True),
    ],
)
def test_math(math: ExternalGrader, response: str, reference: str, correct: bool) -> None:
    verdict = graded(math, response, reference)
    assert verdict.correct is correct, verdict
    assert verdict.reason


def test_math_refuses_a_reference_it_cannot_read(math: ExternalGrader) -> None:
    with pytest.raises(DataError, match="no mathematical expression"):
        graded(math, "18", "####")


def test_a_tower_of_powers_does_not_stop_the_stage(math: ExternalGrader) -> None:
    assert graded(math, "#### 1", "#### 1").correct
    math.deadline = 1
    assert not graded(math, "10^(10^10)", "5").correct
    math.deadline = 60
    assert graded(math, "#### 1", "#### 1").correct
