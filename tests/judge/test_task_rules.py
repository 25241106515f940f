"""The rule judge beyond arithmetic: its words for labels and fields, and no words where no rules fit."""

import json
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.errors import DataError
from nlft.grade import grade
from nlft.judge import RuleJudge, judge
from nlft.records import Attempt, Graded, Verdict

TICKETS = [
    ("The parcel came late again and nobody answers", "complaint", "complaint"),
    ("Late again, and the driver was rude", "complaint", "I would say refund."),
    ("Please send my money back", "refund", "refund"),
    ("I want my money back for the broken lamp", "refund", "complaint or refund"),
    ("Where do I find my invoice?", "billing", "It is spam."),
]


def tickets() -> list[Graded]:
    rows = [Attempt(id=str(i), question=q, reference=ref, response=r) for i, (q, ref, r) in enumerate(TICKETS)]
    return list(grade(rows, "label"))


def test_a_wrong_label_is_told_with_the_words_that_point_to_the_right_one() -> None:
    words = [row.judgment for row in judge(tickets(), RuleJudge()).judged]
    assert words == [
        None,
        'It says refund; the right label is complaint. The words "late" and "again" point there.',
        None,
        'It names several labels (complaint, refund); the right label is refund. The words "money" and "back" point there.',
        "It gives none of the labels; the right label is billing.",
    ]


def test_several_labels_are_told_one_by_one() -> None:
    rows = [Attempt(id="a", question="q", reference="billing; refund", response="refund and complaint")]
    rows.append(Attempt(id="b", question="r", reference="complaint", response="complaint"))
    (first, _) = judge(grade(rows, "label"), RuleJudge()).judged
    assert first.judgment == "It says refund and complaint; billing is missing and complaint does not belong there."


def test_wrong_fields_are_told_and_a_right_extraction_gets_no_nonsense() -> None:
    reference = '{"total": 125, "date": "1 May"}'
    rows = [
        Attempt(id="a", question="q", reference=reference, response='{"total": 12.5}'),
        Attempt(id="b", question="q", reference=reference, response='{"total": 125.0, "date": "1 May"}'),
        Attempt(id="c", question="q", reference=reference, response="no idea"),
    ]
    words = [row.judgment for row in judge(grade(rows, "json"), RuleJudge()).judged]
    assert words == [
        "Field total is 12.5, should be 125; field date is missing.",
        None,
        f"It gives no JSON; it should give {reference}.",
    ]


def test_references_that_are_no_labels_are_not_read_as_labels() -> None:
    wrong = Verdict(correct=False, reason="f([1]) gives [1], should be [-1]")
    minus, plain = (
        Graded(
            id=f"row{sign}",
            question=f"q{sign}",
            reference=f"return [{sign}x for x in xs]",
            response="return xs",
            verdict=wrong,
        )
        for sign in ("-", "")
    )
    words = [row.judgment for row in judge([minus, plain], RuleJudge("code")).judged]
    assert words == ["The code does not do what is asked: f([1]) gives [1], should be [-1]."] * 2
    with pytest.raises(DataError, match="case and punctuation do not count"):
        judge([minus, plain], RuleJudge("label"))


def test_rules_follow_the_grader_the_task_or_the_reference() -> None:
    wrong = Verdict(correct=False, reason="said so")
    bare = Graded(id="a", question="q", reference='{"total": 125}', response="{}", verdict=wrong)
    (row,) = judge([bare], RuleJudge()).judged
    assert row.judgment == "Field total is missing."
    own = bare.model_copy(update={"grades": {"code:mine.py": wrong}})
    with pytest.raises(DataError, match=r"no rules for verdicts of code:mine\.py") as caught:
        judge([own], RuleJudge())
    assert "--rules math, label, json or code" in str(caught.value)
    assert judge([own], RuleJudge("json")).judged[0].judgment == "Field total is missing."
    with pytest.raises(DataError, match="cannot tell which rules"):
        judge([bare.model_copy(update={"reference": "in our house style"})], RuleJudge())


def test_the_commands_take_a_task(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers, graded, judged = (tmp_path / name for name in ("answers.jsonl", "graded.jsonl", "judged.jsonl"))
    rows = [row.model_dump(include={"id", "question", "reference", "response"}) for row in tickets()]
    answers.write_text("\n".join(map(json.dumps, rows)))
    assert run(["grade", str(answers), "-o", str(graded), "--task", "label"]) == 0
    assert "2 correct (40.0%) by label" in capfd.readouterr().out
    assert run(["judge", str(graded), "-o", str(judged), "--task", "label"]) == 0
    assert '"late" and "again"' in [json.loads(line)["judgment"] for line in judged.read_text().splitlines()][1]
    assert run(["judge", str(graded), "-o", str(judged), "--judge", "replay:x", "--rules", "json"]) == 2
    assert "`rules` has no effect" in capfd.readouterr().err
    assert run(["grade", str(answers), "-o", str(graded), "--threshold", "0.5"]) == 2
    assert "no partial credit" in capfd.readouterr().err
