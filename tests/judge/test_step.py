"""The judge stage: which rows are asked, what is set aside, the report, the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nlft.answer import Journal, Reply, Request
from nlft.answer.types import OnReply
from nlft.cli.app import run
from nlft.errors import DataError
from nlft.files import failed_path, journal_path, rejected_path
from nlft.judge import ModelJudge, ReplayJudge, RuleJudge, judge, judge_file, quality_report
from nlft.judge.quality import near_duplicates
from nlft.prompts import load_prompts, says_correct
from nlft.records import Graded, Judged, Verdict, read_records, write_records
from tiny import tiny_model

PAPER = load_prompts("paper")
A1_CORRECT = "### The response is correct. ###"


class Saying:
    """A model that says what it is told to, by the question it is asked about."""

    name, cacheable = "saying", True

    def __init__(self, **words: str) -> None:
        self.words = words
        self.asked: list[Request] = []

    def settings(self) -> dict[str, Any]:
        return {"model": "saying"}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        for request in requests:
            self.asked.append(request)
            words = self.words[request.row.id]
            on_reply(request, Reply(words, "stop") if words != "!" else Reply(failure="no luck"))


def row(name: str, correct: bool, response: str = "2 + 2 = 5\n#### 5", **extra: Any) -> Graded:
    verdict = Verdict(correct=correct, value="5", extracted="5", reason="made up")
    reference = "2 + 2 = 4\n#### 4"
    return Graded(id=name, question=f"{name}: 2 + 2?", reference=reference, response=response, verdict=verdict, **extra)


def test_only_incorrect_rows_are_judged_and_the_others_pass_through() -> None:
    who = Saying(a="At the first step.")
    judgments = judge([row("r", True, topic="sums"), row("a", False)], ModelJudge(who, PAPER))
    assert [request.row.id for request in who.asked] == ["a"]
    assert [(j.id, j.judgment, j.judge) for j in judgments.judged] == [
        ("r", None, None),
        ("a", "At the first step.", "saying"),
    ]
    assert judgments.judged[0].model_extra == {"topic": "sums"}


def test_words_of_the_data_are_kept_and_those_of_another_judge_replaced(tmp_path: Path, capsys: Any) -> None:
    rows = [
        row("own", False, judgment="Four, not five."),
        row("signed", False, judgment="Old words.", judge="rule"),
        row("blank", False, judgment=" "),
        row("right", True, judgment="Not needed."),
    ]
    who = Saying(signed="New words.", blank="Words.")
    judgments = judge(rows, ModelJudge(who, PAPER))
    assert [(j.id, j.judgment, j.judge) for j in judgments.judged] == [
        ("own", "Four, not five.", None),
        ("signed", "New words.", "saying"),
        ("blank", "Words.", "saying"),
        ("right", None, None),
    ]
    write_records(tmp_path / "graded.jsonl", rows)
    assert run(["judge", str(tmp_path / "graded.jsonl"), "-o", str(tmp_path / "judged.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "4 rows, 2 of them with a judgment by rule" in shown
    assert "judgments of the data kept: 1" in shown


def test_what_a_judge_is_told() -> None:
    known, a1 = Saying(a="x"), Saying(a="x")
    judge([row("a", False)], ModelJudge(known, PAPER))
    judge([row("a", False)], ModelJudge(a1, PAPER, prompt="a1"))
    assert known.asked[0].messages[0]["content"] == PAPER.judging_wrong
    assert a1.asked[0].messages[0]["content"] == PAPER.judging
    for who in (known, a1):
        told = who.asked[0].messages[1]["content"]
        assert "a: 2 + 2?" in told
        assert "2 + 2 = 5\n#### 5" in told
        assert "2 + 2 = 4\n#### 4" in told
    assert known.asked[0].key != a1.asked[0].key


@pytest.mark.parametrize("prompt", ["a1", "known-wrong"])
def test_a_judgment_that_contradicts_the_grade_is_set_aside(prompt: Any) -> None:
    who = Saying(a=A1_CORRECT, b="The response is correct up to step two, then it adds.", c="!")
    rows = [row("a", False), row("b", False), row("c", False)]
    judgments = judge(rows, ModelJudge(who, PAPER, prompt=prompt))
    assert [r.id for r in judgments.judged] == ["b"]
    assert [(r.id, r.judgment) for r in judgments.rejected] == [("a", A1_CORRECT)]
    assert "the grade calls it wrong" in judgments.rejected[0].contradiction
    assert [(r.id, r.failure) for r in judgments.failed] == [("c", "no luck")]


def test_a_judge_that_calls_a_response_correct_may_be_believed(tmp_path: Path, capsys: Any) -> None:
    """As in the authors' code: the judgment is dropped, and the row is trained on as correct."""
    who = Saying(a=A1_CORRECT, b="It adds wrongly.")
    judgments = judge([row("a", False), row("b", False)], ModelJudge(who, PAPER, prompt="a1"), contradictions="accept")
    assert [(r.id, r.verdict.correct, r.judgment, r.judge) for r in judgments.judged] == [
        ("a", True, None, None),
        ("b", False, "It adds wrongly.", "saying"),
    ]
    assert judgments.judged[0].verdict.reason == "the judge calls it correct, against the grade (made up)"
    assert (judgments.rejected, judgments.accepted) == ([], 1)
    write_records(tmp_path / "graded.jsonl", [row("a", False)])
    recorded = tmp_path / "recorded.jsonl"
    write_records(recorded, [Judged(**row("a", False).model_dump(), judgment=A1_CORRECT)])
    words = ["judge", str(tmp_path / "graded.jsonl"), "-o", str(tmp_path / "judged.jsonl")]
    assert run([*words, "--judge", f"replay:{recorded}", "--contradictions", "accept"]) == 0
    assert "1 wrong responses count as correct now" in capsys.readouterr().out
    assert run([*words, "--contradictions", "accept"]) == 2
    assert "no effect with the rule" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("### The response is correct.", True),
        ("### The response is correct. ###", True),
        ("**THE RESPONSE IS CORRECT!**", True),
        ("I have checked it. The response is correct.", True),
        ("the response is correct", True),
        ("The response is correct in part.", False),
        ("The response is not correct.", False),
        ("It claims that the response is correct.", False),
        ("", False),
    ],
)
def test_when_words_call_a_response_correct(words: str, expected: bool) -> None:
    assert says_correct(words, PAPER.correct_mark) is expected


def test_judgments_are_kept_and_not_asked_twice() -> None:
    who, journal = Saying(a="Here."), Journal()
    judge([row("a", False)], ModelJudge(who, PAPER), journal=journal)
    judge([row("a", False)], ModelJudge(who, PAPER), journal=journal)
    assert len(who.asked) == 1
    judge([row("a", False, "3 + 3 = 5")], ModelJudge(who, PAPER), journal=journal)
    assert len(who.asked) == 2, "another response is another question"


def test_files_beside_the_output(tmp_path: Path) -> None:
    source, output = tmp_path / "graded.jsonl", tmp_path / "judged.jsonl"
    write_records(source, [row("r", True), row("a", False), row("b", False), row("c", False)])
    judge_file(source, output, ModelJudge(Saying(a="Here.", b=A1_CORRECT, c="!"), PAPER))
    assert [r.id for r in read_records(output, Judged)] == ["r", "a"]
    assert ids(rejected_path(output)) == ["b"]
    assert ids(failed_path(output)) == ["c"]
    who = Saying(c="There.")
    judge_file(source, output, ModelJudge(who, PAPER), retry_failed=True)
    assert [r.row.id for r in who.asked] == ["c"]
    assert [r.id for r in read_records(output, Judged)] == ["r", "a", "c"]
    assert not failed_path(output).exists()
    judge_file(source, output, RuleJudge())
    assert not rejected_path(output).exists()
    assert len(list(read_records(output, Judged))) == 4


def test_a_recording_is_found_by_question_and_response(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    lines = [row("x", False).model_dump() | {"id": "y", "question": "a: 2 + 2?", "judgment": "Recorded words."}]
    lines.append(lines[0] | {"id": "z", "question": "b: 2 + 2?", "judgment": A1_CORRECT})
    lines[0].pop("verdict")
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [row("a", False), row("b", False), row("a2", False, "3 + 3 = 5")]
    judgments = judge(rows, ReplayJudge(recorded))
    assert [(r.id, r.judgment, r.judge) for r in judgments.judged] == [
        ("a", "Recorded words.", "replay:recorded.jsonl")
    ]
    assert [r.id for r in judgments.rejected] == ["b"]
    assert judgments.failed[0].failure == "recorded.jsonl holds no judgment of this response"


def test_a_response_that_is_no_text_fails_alone_and_is_not_sent() -> None:
    who = Saying(a="Here.")
    judgments = judge([row("odd", False, "half \ud83d"), row("a", False)], ModelJudge(who, PAPER))
    assert [r.id for r in judgments.judged] == ["a"]
    assert "lone surrogate" in judgments.failed[0].failure
    assert len(judge([row("odd", False, "half \ud83d")], RuleJudge()).judged) == 1


def test_two_responses_to_one_question_get_judgments_of_their_own(tmp_path: Path) -> None:
    rows = [row("a", False, "2 + 2 = 5"), row("a", False, "2 + 2 = 6")]
    by_rule = [r.judgment or "" for r in judge(rows, RuleJudge()).judged]
    assert ["= 5" in words for words in by_rule] == [True, False]
    recorded = tmp_path / "recorded.jsonl"
    write_records(recorded, [Judged(**r.model_dump(), judgment=f"Of {r.response}.", judge="x") for r in rows])
    assert [r.judgment for r in judge(rows, ReplayJudge(recorded)).judged] == ["Of 2 + 2 = 5.", "Of 2 + 2 = 6."]


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        ReplayJudge(tmp_path / "nowhere.jsonl")


def judged(name: str, judgment: str | None, response: str = "First 7 * 3 = 22.\n#### 22") -> Judged:
    verdict = Verdict(correct=judgment is None, reason="made up")
    return Judged(
        id=name, question="Seven bags of three?", reference="There are 7 bags of 3, so 7 * 3 = 21 apples.\n#### 21",
        response=response, verdict=verdict, judgment=judgment,
    )  # fmt: skip


def test_the_quality_report_counts_what_it_says() -> None:
    rows = [
        judged("right", None),
        judged("good", 'The calculation goes wrong at "First 7 * 3 = 22": that is 21, not 22.'),
        judged("twin", 'The calculation goes wrong at "First 8 * 3 = 22": that is 24, not 22.'),
        judged("answer", "The answer is 21."),
        judged("parrot", "There are 7 bags of 3, so 7 * 3 = 21 apples."),
        judged("vague", "The student has not understood the problem and should study multiplication again with care."),
    ]
    rows[1] = rows[1].model_copy(update={"finish_reason": "length"})
    report = quality_report(rows, failed=2, contradictions=3)
    assert (report.incorrect, report.judged, report.failed, report.contradictions) == (10, 5, 2, 3)
    assert report.words == (4, 14, 16)
    assert report.near_duplicates == (("good", "twin"),)
    assert report.only_repeat_answer == ("answer", "parrot")
    assert report.say_nothing_of_error == ("answer", "parrot", "vague")
    assert report.cut_off == ("good",)
    assert "contradict the grade     3 of 10 (30%)" in report.text()
    assert "of cut-off responses     1 of 5 (20%): good" in report.text()


def test_a_report_of_nothing() -> None:
    assert "incorrect responses      0" in quality_report([]).text()


def test_near_duplicates_in_many_texts_are_the_pairs_a_slow_twin_finds() -> None:
    import itertools
    import random

    draw = random.Random(0)
    base = [" ".join(draw.choices("abcdefgh", k=20)) for _ in range(12)]
    texts = [(str(i), text) for i, text in enumerate(base + [text + " z" for text in base[:5]])]
    grams = {name: {tuple(text.split()[i : i + 3]) for i in range(len(text.split()) - 2)} for name, text in texts}
    pairs = itertools.combinations(grams, 2)
    slow = {(a, b) for a, b in pairs if len(grams[a] & grams[b]) >= 0.8 * len(grams[a] | grams[b])}
    assert set(near_duplicates(texts)) == slow == {(str(i), str(12 + i)) for i in range(5)}


def test_the_command_judges_by_rule_without_key_or_journal(tmp_path: Path, capsys: Any) -> None:
    source, output = tmp_path / "graded.jsonl", tmp_path / "judged.jsonl"
    write_records(source, [row("r", True), row("a", False)])
    assert run(["judge", str(source), "-o", str(output), "--report"]) == 0
    told = capsys.readouterr().out
    assert f"{output}: 2 rows, 1 of them with a judgment by rule" in told
    assert "with a judgment          1 of 1 (100%)" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graded.jsonl", "judged.jsonl"]
    assert run(["judge", str(output), "--report"]) == 0
    assert "length in words" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["local", "self"])
def test_the_command_with_a_local_judge(kind: str, tmp_path: Path, capsys: Any) -> None:
    source, output = tmp_path / "graded.jsonl", tmp_path / "judged.jsonl"
    model = tiny_model(tmp_path / "model")
    write_records(source, [row("r", True), row("a", False)])
    command = ["judge", str(source), "-o", str(output), "--judge", kind, "--model", str(model), "--device", "cpu"]
    assert run([*command, "--prompts", "short", "--max-new-tokens", "20", "--temperature", "2"]) == 0
    name = f"self:{model.name}" if kind == "self" else model.name
    assert f"1 of them with a judgment by {name}" in capsys.readouterr().out
    assert [r.judge for r in read_records(output, Judged)] == [None, name]
    assert journal_path(output).exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-o", "j.jsonl", "--judge", "rul"], 2, 'did you mean "rule"?'),
        (["-o", "j.jsonl", "--prompt", "a2"], 2, 'did you mean "a1"?'),
        (["-o", "j.jsonl", "--judge", "local"], 2, "needs a model"),
        (["-o", "j.jsonl", "--judge", "openai", "--model", "m"], 2, "OPENAI_API_KEY"),
        (["-o", "j.jsonl", "--judge", "replay:no.jsonl"], 1, "no such file"),
        (["-o", "graded.jsonl"], 2, "same file"),
        ([], 2, "no output given"),
    ],
)
def test_wrong_usage(
    options: list[str], code: int, words: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    write_records("graded.jsonl", [row("a", False)])
    assert run(["judge", "graded.jsonl", *options]) == code
    assert words in capsys.readouterr().err


def test_ungraded_answers_are_sent_to_grading_first(tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "answers.jsonl"
    rows = [row("r", True).model_dump(), row("a", False).model_dump() | {"verdict": None}]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert run(["judge", str(source), "-o", str(tmp_path / "j.jsonl")]) == 1
    told = capsys.readouterr().err
    assert f"{source}:2: these answers are not graded" in told
    assert "grade them first: nlft grade" in told


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
