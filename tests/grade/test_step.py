"""The stage and the verb: rows in, the same rows with verdicts out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nlft.cli import app as cli
from nlft.errors import ConfigError, DataError
from nlft.grade import grade
from nlft.grade.step import grade_rows
from nlft.records import Attempt, Graded, Judged, read_records

ROWS = [
    {"id": "a", "question": "9*2?", "reference": "#### 18", "response": "#### 18", "mine": {"kept": [1]}},
    {"id": "b", "question": "9*2?", "reference": "#### 18", "response": "It is 18.", "judgment": None},
    {"id": "c", "question": "9*2?", "reference": "#### 18", "response": "It is \x1b[31m7"},
    {"id": "d", "question": "9*2?", "reference": "#### 18", "response": ""},
]

Run = Callable[..., int]


@pytest.fixture
def run() -> Run:
    return lambda *arguments: cli.run([*map(str, arguments)])


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(["", *map(json.dumps, ROWS)]), encoding="utf-8")
    return path


def test_both_conventions_stand_side_by_side() -> None:
    rows = list(grade([Attempt.model_validate(row) for row in ROWS]))
    assert [type(row) for row in rows] == [Graded] * 4
    assert [row.verdict.correct for row in rows] == [True, True, False, False]
    assert [row.grades["gsm8k-strict"].correct for row in rows] == [True, False, False, False]
    assert all(row.verdict == row.grades["gsm8k-flexible"] for row in rows)
    assert rows[0].model_extra == {"mine": {"kept": [1]}}


def test_the_chosen_grader_decides() -> None:
    rows = list(grade([Attempt.model_validate(row) for row in ROWS], "gsm8k-strict", also=["number"]))
    assert [row.verdict.correct for row in rows] == [True, False, False, False]
    assert [list(row.grades) for row in rows] == [["gsm8k-strict", "gsm8k-flexible", "number"]] * 4


def test_a_judged_row_is_graded_anew_and_keeps_its_judgment() -> None:
    old = {"correct": True, "reason": "old"}
    judged = Judged.model_validate({**ROWS[2], "verdict": old, "judgment": "wrong", "judge": "me"})
    (row,) = grade([judged])
    assert isinstance(row, Judged)
    assert (row.verdict.correct, row.judgment, row.judge) == (False, "wrong", "me")


@pytest.mark.parametrize("judge", ["rule", None])
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("row", [ROWS[0], ROWS[2]], ids=["right", "wrong"])
def test_what_was_made_of_a_verdict_that_turned_goes(row: dict, earlier: bool, judge: str | None) -> None:
    old = {"verdict": {"correct": earlier, "reason": "old"}, "judgment": "no", "judge": judge, "scores": {"form": 1}}
    (graded,) = grade([Attempt.model_validate({**row, **old})])
    fields = dict(graded)
    turned = graded.verdict.correct != earlier
    assert ("scores" in fields) == (not turned)
    assert ("judgment" in fields) == ("judge" in fields) == (not (turned and graded.verdict.correct and judge))


def test_a_reference_in_words_has_no_numeric_grades() -> None:
    row = Attempt(id="a", question="?", reference="New York", response="#### New York")
    (graded,) = grade([row], "exact")
    assert list(graded.grades) == ["exact"]
    with pytest.raises(DataError, match="row 'a': no number can be read from the reference"):
        list(grade([row]))


def test_a_grader_that_does_not_exist_is_told_before_any_row() -> None:
    with pytest.raises(ConfigError):
        next(grade(iter(()), "nonsense"), None)


def test_the_verb_writes_what_the_function_gives(run: Run, answers: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "graded.jsonl"
    assert run("grade", answers, "-o", output) == 0
    written = list(read_records(output, Graded))
    assert written == list(grade(read_records(answers, Attempt)))
    assert "4 rows graded, 2 correct (50.0%) by gsm8k-flexible" in capsys.readouterr().out
    again = tmp_path / "again.jsonl"
    assert run("grade", output, "-o", again) == 0
    assert again.read_bytes() == output.read_bytes()


def test_explain_lists_where_they_differ(run: Run, answers: Path, capsys) -> None:
    assert run("grade", answers, "--explain") == 0
    shown = capsys.readouterr().out
    assert "the graders differ on 1 of 4 rows" in shown
    assert "gsm8k-strict    wrong    -: no #### in the response" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "question": "?", "reference": "none", "response": "18"}', "no number can be read"),
        ('{"id": "x", "question": "?", "reference": "#### 18"}', 'the field "response" is missing'),
        ('{"id": "a", "question": "?", "reference": "#### 18", "response": "18"}', "is already on line 2"),
        ('{"id": "x", ', "broken JSON"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    run: Run, answers: Path, tmp_path: Path, capsys, line: str, message: str
) -> None:
    answers.write_text(answers.read_text(encoding="utf-8") + "\n" + line, encoding="utf-8")
    output = tmp_path / "graded.jsonl"
    output.write_text("before", encoding="utf-8")
    assert run("grade", answers, "-o", output) == 1
    told = capsys.readouterr().err
    assert f"{answers}:6: " in told
    assert message in told
    assert "remedy:" in told
    assert output.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.glob(".*")) == []


def test_usage_errors_leave_with_2(run: Run, answers: Path, tmp_path: Path, capsys) -> None:
    assert run("grade", answers) == 2
    assert run("grade", answers, "-o", tmp_path / "g.jsonl", "--grader", "gsm8k-flexibel") == 2
    assert 'did you mean "gsm8k-flexible"' in capsys.readouterr().err
    assert run("grade", tmp_path / "none.jsonl", "-o", tmp_path / "g.jsonl") == 1
    assert not (tmp_path / "g.jsonl").exists()


def test_grading_in_place(answers: Path) -> None:
    report = grade_rows(answers, answers, "gsm8k-flexible")
    assert (report.rows, report.correct["gsm8k-flexible"], report.differing) == (4, 2, 1)
    assert len(list(read_records(answers, Graded))) == 4
