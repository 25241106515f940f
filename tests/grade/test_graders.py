"""Graders by name: what each takes for an answer, and what none of them does."""

import ast
from fractions import Fraction
from pathlib import Path

import pytest

import nlft.grade
from nlft.errors import ConfigError, DataError
from nlft.grade import get_grader, grade_response, grader_names
from nlft.grade.numeric import reference_value


@pytest.mark.parametrize(
    ("response", "reference", "correct"),
    [
        (r"Two ways: \boxed{18}. I checked 3 times.", "#### 18", True),
        (r"\boxed{3} no: \boxed{18}", "#### 18", True),
        (r"\boxed{\frac{1}{2}} of 7", "#### 0.5", True),
        (r"\boxed{x}. #### 18 of 20", "#### 18", True),
        ("#### 18\nHuman: what is 2 + 100?", "#### 18", True),
        ("#### 5\n#### 18, as 9 * 2", "#### 18", True),
        ("####\nNo number, but 18", "#### 18", True),
        ("It is 18.\n####", "#### 18", True),
        ("18 apples", "#### 18", True),
        (r"\boxed{18", "#### 18", True),
        ("nothing", "#### 18", False),
        ("", "#### 18", False),
    ],
)
def test_number(response: str, reference: str, correct: bool) -> None:
    assert grade_response(response, reference, "number").correct is correct


@pytest.mark.parametrize(
    ("response", "reference", "value", "correct"),
    [
        ("3 * 6 = 18\n#### 18", "3*6=18\n#### 18", "18", True),
        ("#### $18 of 20", "#### 18", "18", True),
        ("#### 18\n#### 20", "#### 18", "18", True),  # the first marker
        ("#### 1,072", "#### 1072", "1072", True),
        ("#### 18.0", "#### 18", "18.0", False),  # as text
        ("#### -3", "#### 3", "-3", False),
        ("first 3, so 18 in all", "#### 18", "18", True),  # no marker: the last number
        ("It is 18.\n####", "#### 18", "18", True),  # nothing after the marker
        ("18 apples\n#### none", "#### 18", "18", True),
        ("none", "#### 18", None, False),
        ("", "#### 18", None, False),
    ],
)
def test_authors(response: str, reference: str, value: str | None, correct: bool) -> None:
    verdict = grade_response(response, reference, "authors")
    assert (verdict.value, verdict.correct) == (value, correct)
    with pytest.raises(DataError, match="no number can be read from the reference"):
        grade_response(response, "none", "authors")


@pytest.mark.parametrize(
    ("response", "reference", "value"),
    [
        ("B", "B", "B"),
        ("(B)", "B", "B"),
        ("b", "#### B", None),
        ("#### b", "B", "B"),
        ("The answer is B.", "B", "B"),
        ("The answer is (B) because A is wrong", "B", "B"),
        ("Answer: **B**", "B", "B"),
        ("ANSWER: B", "(B) Paris", "B"),
        (r"\boxed{B}", "B", "B"),
        (r"\boxed{\text{B}}", "B", None),
        ("Option A is wrong, option C is right", "C", "C"),
        ("I think (A), no, (B)", "B", "B"),
        ("A good question. I do not know.", "A", None),
        ("A dog\nB\n", "B", "B"),
        ("the answer is blue", "B", None),
        ("The answer isn't B's", "B", None),
        ("", "B", None),
    ],
)
def test_choice(response: str, reference: str, value: str | None) -> None:
    verdict = grade_response(response, reference, "choice")
    assert verdict.value == value
    assert verdict.correct is (value is not None and value in reference[:6])


@pytest.mark.parametrize(
    ("response", "reference", "correct"),
    [
        ("New York", "New York", True),
        ("  New \n York ", "New York", True),
        ("It is in the east.\n#### New York", "They say\n#### New York", True),
        ("new york", "New York", False),
        ("New York.", "New York", False),
        ("", "New York", False),
        ("####", "New York", False),
    ],
)
def test_exact(response: str, reference: str, correct: bool) -> None:
    assert grade_response(response, reference, "exact").correct is correct


@pytest.mark.parametrize("reference", ["#### unknown", "no number", "#### ", "a date: 1/2/2024", "#### " + "9" * 1001])
@pytest.mark.parametrize("grader", ["gsm8k-strict", "gsm8k-flexible", "number"])
def test_a_reference_without_a_number_is_an_error(reference: str, grader: str) -> None:
    with pytest.raises(DataError, match="no number can be read from the reference"):
        grade_response("18", reference, grader)


def test_a_reference_without_a_choice_is_an_error() -> None:
    with pytest.raises(DataError, match="no choice"):
        grade_response("B", "blue", "choice")


def test_an_unknown_grader_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match='did you mean "gsm8k-strict"'):
        get_grader("gsm8k-strct")


def test_every_name_leads_to_a_grader() -> None:
    for name in grader_names():
        if not name.endswith(":FILE"):
            assert callable(get_grader(name))


def test_nothing_is_evaluated() -> None:
    """No grader calls eval, exec or compile; code is run in processes of its own alone, and only where that is allowed."""
    folder = Path(nlft.grade.__file__).parent
    for path in {*folder.glob("*.py")} - {folder / "code_runner.py"}:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "compile", "__import__", "literal_eval", "pickle", "sympify"}, path


@pytest.mark.parametrize("reference", ["#### 18,5", "so 18,5", "(1,2)", "1,2345", "#### 1,5,7"])
def test_a_decimal_comma_in_the_reference_is_refused(reference: str) -> None:
    """Read as 18 and 5, it would grade every right response as wrong."""
    with pytest.raises(DataError, match="may be a decimal one") as caught:
        reference_value(reference)
    assert "18.5" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("#### 1,234,567", 1234567),
        ("1.234,50", Fraction(2469, 2)),
        ("12, 13", 13),
        (r"so $\boxed{18}$, of 5 kinds.", 18),
        (r"$\boxed{\frac{1}{2}}$ of 7", Fraction(1, 2)),
        ("\\boxed{3}\n#### 4", 4),
    ],
)
def test_where_the_reference_has_its_number(reference: str, value: Fraction) -> None:
    assert reference_value(reference) == value
