"""Rows that use wrong responses in other ways: what the student is asked, and what it learns to answer."""

from __future__ import annotations

import pytest
from tests.revise.test_revise import GOOD, REFERENCE, SHORT, SLIP, WORDS, Says, row

from nlft.lm import encode_example
from nlft.prompts import load_prompts
from nlft.records import Judged, Verdict
from nlft.revise import corrections, pairs, revise_rows, verdict_prompts

RIGHT, WRONG = row("right", response=GOOD, question="Another?"), row("wrong")
INCORRECT = "Give an incorrect answer to this problem."


@pytest.mark.parametrize("swapped", [False, True])
def test_wrong_rows_are_asked_for_an_incorrect_answer(swapped: bool) -> None:
    rows = verdict_prompts([RIGHT, WRONG], SHORT, swapped=swapped)
    assert [INCORRECT in each.question for each in rows] == [swapped, not swapped]
    for made, given in zip(rows, [RIGHT, WRONG], strict=True):
        assert made.question.startswith(given.question)
        assert made.model_copy(update={"question": given.question}) == given, "nothing else changes"


def test_a_correction_asks_what_revise_asks() -> None:
    (made,) = corrections([RIGHT, WRONG, row("mute").model_copy(update={"judgment": None})], SHORT)
    assert SHORT.base(made.question) == SHORT.correct(WRONG.question, SLIP, WORDS)
    assert (made.id, made.response, made.judgment) == ("wrong#correction", REFERENCE, None)
    assert made.verdict.correct


def test_a_revised_row_is_corrected_by_its_own_answer_and_paired_with_it() -> None:
    cut = WRONG.model_copy(update={"finish_reason": "length"})
    revised = revise_rows([RIGHT, cut], Says(GOOD), prompts=SHORT, ways=["answer"]).rows
    (made,) = corrections(revised, SHORT)
    assert made.response == GOOD
    assert SLIP in made.question
    same, pair = pairs(revised)
    assert same == RIGHT
    assert (pair.response, pair.judgment, pair.verdict.correct, pair.finish_reason) == (SLIP, WORDS, False, "length")
    assert (pair.model_extra or {})["preferred"] == GOOD


def test_a_wrong_row_is_paired_with_the_standard_answer() -> None:
    same, pair = pairs([RIGHT, WRONG])
    assert same == RIGHT
    assert pair.model_dump() == {**WRONG.model_dump(), "preferred": REFERENCE}


def test_what_was_said_of_one_response_is_not_kept_for_another() -> None:
    said = {"weights": [{"text": "pens", "weight": 0.5}], "marks": [{"text": "12"}], "token_weights": [1.0]}
    (made,) = corrections([WRONG.model_copy(update=said)], SHORT)
    assert not set(said) & set(made.model_extra or {})
    revised = revise_rows([WRONG], Says(GOOD), prompts=SHORT, ways=["answer"]).rows
    (pair,) = pairs([row.model_copy(update=said) for row in revised])
    assert pair.response == SLIP
    assert not set(said) & set(pair.model_extra or {})


def test_a_pair_forks_at_the_first_token_that_differs(lm: object) -> None:
    tokenizer = lm.tokenizer  # type: ignore[attr-defined]
    (pair,) = pairs([WRONG])
    example = encode_example(tokenizer, pair, load_prompts("short"))
    assert example.preferred is not None
    assert example.preferred.prompt == example.base.prompt
    shared = "Two boxes hold 2 * 6 = 12 pens.\n"  # one token per byte; then "T" and "S"
    assert example.fork == len(shared)
    alone = encode_example(tokenizer, Judged(**WRONG.model_dump()), load_prompts("short"))
    assert (alone.preferred, alone.fork) == (None, 0)


def test_verdicts_stay_as_they_are() -> None:
    assert isinstance(verdict_prompts([WRONG], SHORT)[0].verdict, Verdict)
    assert not verdict_prompts([WRONG], SHORT)[0].verdict.correct
