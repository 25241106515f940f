"""Folds: equal in size, and no question in two of them."""

from collections import Counter

import pytest

from nlft.data.folds import fold_numbers
from nlft.errors import DataError
from nlft.records import Graded, Problem, Verdict


def problems(count: int, different: int) -> list[Problem]:
    return [Problem(id=f"p{i}", question=f"How much is {i % different}?", reference="#### 1") for i in range(count)]


def test_folds_are_of_nearly_the_same_size() -> None:
    rows = problems(11, 11)
    folds = fold_numbers(rows, 4, seed=3)
    assert sorted(Counter(folds).values()) == [2, 3, 3, 3]
    assert folds == fold_numbers(rows, 4, seed=3)
    assert folds != fold_numbers(rows, 4, seed=4)


def test_a_question_is_in_one_fold() -> None:
    rows = problems(22, 11)
    rows.append(Problem(id="again", question="how much is  3", reference="#### 1"))
    folds = fold_numbers(rows, 4)
    assert folds[:11] == folds[11:22]
    assert folds[22] == folds[3], "white space and case make no other question"
    with pytest.raises(DataError, match="11 different questions cannot make 12 folds"):
        fold_numbers(rows, 12)


def test_wrong_responses_are_dealt_out_evenly() -> None:
    def graded(row: Problem, correct: bool) -> Graded:
        return Graded(**row.model_dump(), response="r", verdict=Verdict(correct=correct, reason="made up"))

    rows = [graded(row, number >= 8) for number, row in enumerate(problems(40, 40))]
    folds = fold_numbers(rows, 4, seed=1)
    assert Counter(folds[:8]) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert Counter(folds) == {0: 10, 1: 10, 2: 10, 3: 10}
