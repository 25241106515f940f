"""272 ways to write an answer, each with the verdict it must get and why."""

import json
from pathlib import Path

import pytest

from nlft.grade import grade_response

ROWS = [json.loads(line) for line in Path(__file__).with_name("corpus.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["why"])
def test_verdict(row: dict) -> None:
    response, reference = row["response"], row["reference"]
    strict = grade_response(response, reference, "gsm8k-strict")
    flexible = grade_response(response, reference, "gsm8k-flexible")
    assert (strict.correct, flexible.correct, flexible.value) == (row["strict"], row["flexible"], row["value"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["why"])
@pytest.mark.parametrize("grader", ["gsm8k-strict", "gsm8k-flexible", "number"])
def test_a_verdict_explains_itself(row: dict, grader: str) -> None:
    verdict = grade_response(row["response"], row["reference"], grader)
    assert verdict.reason
    assert verdict == grade_response(row["response"], row["reference"], grader)
    if verdict.extracted is not None:
        assert verdict.extracted in row["response"]
    if verdict.correct:
        assert verdict.value is not None
        assert verdict.extracted


def test_the_corpus_is_large_and_gives_reasons() -> None:
    assert len(ROWS) >= 200
    assert all(row["why"] for row in ROWS)
    assert len({(row["response"], row["reference"]) for row in ROWS}) == len(ROWS)
    assert len({row["why"] for row in ROWS}) == len(ROWS)
