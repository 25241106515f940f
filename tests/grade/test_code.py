"""The grader `code`: what the tests say, and that no response stops the stage."""

import json
import os
import time
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.errors import ConfigError, DataError
from nlft.grade import get_grader, grade
from nlft.grade.code import ALLOWED, find_code
from nlft.judge import RuleJudge, judge
from nlft.records import Attempt, Verdict

TESTS = ["assert add(1, 2) == 3", "assert add([1], [2]) == [1, 2]"]


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")


def attempt(response: str, **more: object) -> Attempt:
    row = {"id": "a", "question": "Add.", "reference": "def add(a, b):\n    return a + b", "tests": TESTS}
    return Attempt.model_validate({**row, "response": response, **more})


def graded(response: str, grader: str = "code", **more: object) -> Verdict:
    return get_grader(grader)(attempt(response, **more))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("def add(a, b):\n    return a + b", "passes all 2 tests"),
        ("Sure!\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.", "passes all 2 tests"),
        ("def add(a, b):\n    return a + b\n\nThis adds them.", "passes all 2 tests"),
        ("def add(a, b):\n    return a - b", "add(1, 2) gives -1, should be 3 (0 of 2 tests pass)"),
        ("def add(a, b):\n    return 3", "add([1], [2]) gives 3, should be [1, 2] (1 of 2 tests pass)"),
        ("def add(a, b):\n    return a / 0", "add(1, 2) raises ZeroDivisionError: division by zero"),
        ("def sub(a, b):\n    return 3", "add(1, 2) raises NameError"),
        ("x = 1 / 0", "the code raises ZeroDivisionError"),
        ("import sys\ndef add(a, b):\n    sys.exit()", "add(1, 2) raises SystemExit"),
        ("import os\ndef add(a, b):\n    os._exit(0)", "the code ends the process"),
        ("def add(a, b):\n    return [0] * 10**10", "add(1, 2) raises MemoryError"),
        ("def add(a, b):\n    print('noise')\n    return a + b", "passes all 2 tests"),
        ("I would add them.", "no Python code in the response"),
        ("", "the response is empty"),
    ],
)
def test_the_failing_test_is_told_with_its_values(response: str, said: str) -> None:
    verdict = graded(response)
    assert verdict.reason.startswith(said)
    assert verdict.correct is said.startswith("passes")


def test_partial_credit_is_the_share_of_tests() -> None:
    assert graded("def add(a, b):\n    return 3").score == 0.5
    assert get_grader("code", threshold=0.5)(attempt("def add(a, b):\n    return 3")).correct


def test_alone_means_code_and_nothing_else() -> None:
    assert graded("def add(a, b):\n    return a + b", "code-strict").correct
    fenced = graded("```python\ndef add(a, b):\n    return a + b\n```", "code-strict")
    assert (fenced.correct, fenced.value) == (False, None)


def test_a_loop_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlft.grade.code.SECONDS", 1.0)
    start = time.monotonic()
    verdict = graded("def add(a, b):\n    while True:\n        pass")
    assert "does not end within 1 s" in verdict.reason
    assert time.monotonic() - start < 60


def test_the_environment_is_empty_and_the_folder_a_temporary_one(tmp_path: Path) -> None:
    os.environ["NLFT_TEST_SECRET"] = "told"
    look = "import os\ndef add(a, b):\n    return [sorted(os.environ), os.getcwd() != " + repr(str(Path.cwd())) + "]"
    verdict = graded(
        look, tests=["assert [e for e in add(1, 2)[0] if not e.startswith('LC_')] == []", "assert add(1, 2)[1]"]
    )
    assert verdict.correct, verdict.reason


def test_assertions_in_the_reference_are_tests_too() -> None:
    assert graded("def add(a, b):\n    return a", tests=None, reference="assert add(1, 1) == 2").reason.startswith(
        "add(1, 1) gives 1, should be 2"
    )
    with pytest.raises(DataError, match="no tests"):
        graded("def f(): pass", tests=None)


def test_the_rule_judge_names_the_test_and_its_values() -> None:
    (row,) = judge(grade([attempt("def add(a, b):\n    return a - b")], "code"), RuleJudge()).judged
    assert row.judgment == ("The code does not do what is asked: add(1, 2) gives -1, should be 3 (0 of 2 tests pass).")


def test_without_permission_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(ALLOWED)
    with pytest.raises(ConfigError, match="code that a model wrote"):
        graded("def add(a, b):\n    return 3")
    answers, graded_file = tmp_path / "answers.jsonl", tmp_path / "graded.jsonl"
    answers.write_text(json.dumps(attempt("def add(a, b):\n    return a + b").model_dump()))
    command = ["grade", str(answers), "-o", str(graded_file), "--task", "code"]
    assert run(command) == 2
    assert "add --allow-code" in capfd.readouterr().err
    assert run([*command, "--allow-code"]) == 0
    assert "1 correct (100.0%) by code" in capfd.readouterr().out
    monkeypatch.delenv(ALLOWED)
    mine, recipe = tmp_path / "mine.py", tmp_path / "recipe.yaml"
    mine.write_text("def grade(response, reference):\n    return True")
    recipe.write_text(
        f"name: r\nmodel: M\noutput: {tmp_path}/out\ndata: {{source: {answers}}}\ngrade: {{grader: code:mine.py}}\ntrain: null\n"
    )
    assert run(["run", str(recipe)]) == 2
    assert "which runs code" in capfd.readouterr().err
    learnt = "judge: null, train: {trust_remote_code: true}"
    recipe.write_text(f"{{name: r, model: M, output: {tmp_path}/out, data: {{source: {answers}}}, {learnt}}}\n")
    assert run(["run", str(recipe)]) == 2
    assert "the step train has trust_remote_code" in capfd.readouterr().err


def test_code_is_found_in_a_fence_or_from_its_first_line() -> None:
    assert find_code("Here:\nimport math\ndef f():\n    return 1\nDone.") == "import math\ndef f():\n    return 1\n"
    assert find_code("no code") is None
