"""What `check` finds: each fault is planted once, and found once."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.data.check import CheckReport, check_file
from nlft.data.config import CheckSettings
from nlft.data.duplicates import NearDuplicates, normalised, shingles, similarity
from nlft.errors import ConfigError, DataError, ModelError
from tiny import tiny_tokenizer

WORDS = [
    "apples",
    "bags",
    "cents",
    "days",
    "eggs",
    "farms",
    "goats",
    "hats",
    "inches",
    "jars",
    "kites",
    "lamps",
    "miles",
]
RIGHT, WRONG = {"correct": True, "reason": "planted"}, {"correct": False, "reason": "planted"}


def question(number: int) -> str:
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=30)) + f" {number}?"


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "question": question(number), "reference": "#### 8"} | fields


def judged(number: int, correct: bool = True, **fields: Any) -> dict[str, Any]:
    judgment = None if correct else "2 * 4 is 8, not 9."
    response, verdict = ("#### 8", RIGHT) if correct else ("#### 9", WRONG)
    return row(number, response=response, verdict=verdict, judgment=judgment) | fields


def found(report: CheckReport) -> dict[str, int]:
    return {what: len(finding.places) for what, finding in report.findings.items()}


def test_a_clean_file(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [judged(i, correct=i % 4 > 0) for i in range(12)])
    report = check_file(path)
    assert (report.rows, report.kinds, report.graded, report.correct) == (12, {"Judged": 12}, 12, 9)
    assert (found(report), report.errors, report.graded_here) == ({}, 0, False)
    assert report.lengths["response"].most == 2
    assert report.lengths["base path"].least == report.lengths["base prompt"].least + 2
    assert {"judge prompt", "judge path", "standard path"} <= set(report.lengths)


def test_a_judgment_that_grants_a_part_calls_nothing_correct(jsonl: Callable) -> None:
    rows = [judged(i, correct=i % 2 > 0) for i in range(10)]
    partly = judged(50, correct=False, judgment="The response is correct in its first step, but then adds 3.")
    assert "judgments that call a wrong response correct" not in found(check_file(jsonl("in.jsonl", [*rows, partly])))


@pytest.mark.parametrize(
    ("planted", "what", "level"),
    [
        (judged(1, id="other"), "the same question and response again", "warning"),
        (row(1, id="other"), "the same question again", "warning"),
        (row(50, question=question(1) + " Now?"), "nearly the same question again", "warning"),
        (judged(50, response=" "), "empty responses", "error"),
        (judged(50, finish_reason="length"), "responses cut off at their token limit", "warning"),
        (judged(50, correct=False, response="#### 8"), "verdicts that contradict both of GSM8K's graders", "warning"),
        (judged(50, correct=False, judgment=None), "wrong responses without a judgment", "warning"),
        (judged(50, correct=False, judgment=""), "wrong responses without a judgment", "warning"),
        (
            judged(50, correct=False, judgment="### The response is correct. ###"),
            "judgments that call a wrong response correct",
            "error",
        ),
        (judged(50, response=7), "rows that cannot be read", "error"),
        (row(50, id="r1"), "rows that cannot be read", "error"),
        (["no object"], "rows that cannot be read", "error"),
    ],
)
def test_one_planted_fault_is_found(jsonl: Callable, planted: Any, what: str, level: str) -> None:
    rows = [judged(i, correct=i % 2 > 0) for i in range(10)]
    report = check_file(jsonl("in.jsonl", [*rows, planted, judged(99)]))
    assert what in found(report)
    assert found(report)[what] == 1
    assert report.findings[what].level == level
    assert report.findings[what].places[0].startswith("line 11")
    assert report.rows == 12


def test_lines_after_a_broken_one_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("{broken\n" + json.dumps(judged(1)) + "\n\x00\n" + json.dumps(judged(2)), encoding="utf-8")
    report = check_file(path)
    assert (report.rows, report.kinds, found(report)) == (4, {"Judged": 2}, {"rows that cannot be read": 2})
    csv = tmp_path / "in.csv"
    csv.write_text("question,answer\na,1\nb\n", encoding="utf-8")
    assert found(check_file(csv)) == {"rows that cannot be read": 1}


def test_answers_are_graded_where_no_verdict_is(jsonl: Callable) -> None:
    report = check_file(jsonl("in.jsonl", [row(i, response=f"#### {i}") for i in range(10)]))
    assert (report.graded, report.correct, report.graded_here) == (10, 1, True)
    words = check_file(jsonl("words.jsonl", [row(1, reference="New York", response="New York")]))
    assert words.graded == 0


def test_overlap_with_a_test_set(jsonl: Callable) -> None:
    train = jsonl("train.jsonl", [row(i) for i in range(8)])
    same = row(3) | {"question": question(3).upper().replace(" ", "  ")}
    near = row(5) | {"question": question(5) + " In all?"}
    test = jsonl("test.jsonl", [row(100), same | {"id": "t1"}, near | {"id": "t2"}])
    report = check_file(train, against=test)
    assert found(report) == {"questions of the test set": 1, "nearly questions of the test set": 1}
    assert report.errors == 1
    assert "line 2 of test.jsonl, t1" in report.findings["questions of the test set"].places[0]


def test_mapped_columns_are_mapped_in_the_test_set_too(jsonl: Callable) -> None:
    def raw(number: int) -> dict[str, Any]:
        return {"asked": question(number), "meta": {"key": "8"}, "said": "#### 8"}

    train = jsonl("train.jsonl", [raw(i) for i in range(6)])
    settings = CheckSettings(map={"question": "asked", "reference": "meta.key", "response": "said"})
    bare = {name: value for name, value in raw(3).items() if name != "said"}  # a test set has no responses
    for test in ([bare], [raw(3)], [row(3, id="t1")]):  # the last is mapped already
        report = check_file(train, against=jsonl("test.jsonl", test), settings=settings)
        assert found(report)["questions of the test set"] == 1
    with pytest.raises(DataError, match="no question and answer among the columns body, label") as refused:
        check_file(train, against=jsonl("test.jsonl", [{"body": "?", "label": "8"}]), settings=settings)
    assert str(refused.value.file).endswith("test.jsonl")


def test_lengths_in_tokens_and_what_is_refused(jsonl: Callable, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    path = jsonl("in.jsonl", [judged(1), judged(2, response="é" * 300 + " #### 8")])
    report = check_file(path, model=str(tmp_path / "model"), settings=CheckSettings(prompts="short"))
    assert report.unit == "tokens"
    assert report.lengths["response"].least == len("#### 8") + 1  # one token a byte, and the end of the turn
    assert report.lengths["response"].most == 600 + len(" #### 8") + 1
    longest = report.lengths["standard path"].most
    assert (
        found(
            check_file(path, model=str(tmp_path / "model"), settings=CheckSettings(prompts="short"), max_length=longest)
        )
        == {}
    )
    tight = check_file(
        path, model=str(tmp_path / "model"), settings=CheckSettings(prompts="short"), max_length=longest - 1
    )
    assert found(tight) == {"too long, would be refused": 1}
    assert tight.findings["too long, would be refused"].places == [f"line 2, r2: {longest} tokens"]
    with pytest.raises(ModelError):
        check_file(path, model=str(tmp_path / "nowhere"))


def test_files_that_cannot_be_checked(jsonl: Callable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        check_file(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no rows"):
        check_file(jsonl("empty.jsonl", []))
    with pytest.raises(ConfigError, match="no prompt set"):
        check_file(jsonl("in.jsonl", [row(1)]), settings=CheckSettings.model_construct(prompts="shrot"))


def test_the_verb_fails_where_there_are_errors(run, jsonl: Callable, capsys) -> None:
    good, bad = jsonl("good.jsonl", [judged(1)]), jsonl("bad.jsonl", [judged(1, response="", mine="\x1b[31m")])
    assert run("data", "check", good) == 0
    assert "correct: 1 of 1 (100.0%)\n" in capsys.readouterr().out
    assert run("data", "check", bad) == 1
    shown = capsys.readouterr().out
    assert "error: empty responses: 1\n  line 1, r1\n" in shown
    assert shown.endswith("1 errors, 1 warnings\n")
    assert run("data", "check", bad, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["errors"], report["rows"]) == (1, 1)


def test_the_text_form_shows_a_few_places_of_many(jsonl: Callable) -> None:
    report = check_file(jsonl("in.jsonl", [judged(i, response="") for i in range(9)]))
    text = report.to_text()
    assert "error: empty responses: 9" in text
    assert "... and 4 more (--json lists all)" in text
    assert len(report.facts()["findings"][0]["places"]) == 9


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=40), st.lists(st.sampled_from(WORDS), min_size=1, max_size=40)
)
def test_similarity_is_the_jaccard_index(first: list[str], second: list[str]) -> None:
    def runs(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}

    expected = len(runs(first) & runs(second)) / len(runs(first) | runs(second))
    assert similarity(shingles(" ".join(first)), shingles(" ".join(second))) == pytest.approx(expected)


@given(seed=st.integers(0, 10**6), changes=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_minhash_finds_what_comparing_all_finds(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=40)) for _ in range(12)]
    words = texts[draw.randrange(12)].split()
    for _ in range(changes):
        words[draw.randrange(len(words))] = draw.choice(WORDS)
    new = " ".join(words)
    collection = NearDuplicates()
    for key, text in enumerate(texts):
        collection.add(key, text)
    scores = [similarity(shingles(text), shingles(new)) for text in texts]
    best = max(scores)
    expected = (scores.index(best), pytest.approx(best)) if best >= 0.8 else None
    assert collection.like(new) == expected


def test_texts_without_words_are_no_trouble() -> None:
    collection = NearDuplicates()
    collection.add("empty", "?!")
    assert collection.like("...") == ("empty", 1.0)
    assert collection.like("word") is None
    assert normalised("?!") == ""
