from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.answer import deduplicate, limit_incorrect, mix
from nlft.errors import ConfigError
from nlft.records import Attempt, Graded, Verdict


def graded(name: str, correct: bool, question: str = "q") -> Graded:
    verdict = Verdict(correct=correct, reason="made up")
    return Graded(id=name, question=question, reference="r", response=f"by {name}", verdict=verdict)


def attempts(*responses: str) -> list[Attempt]:
    return [Attempt(id=str(i), question="q", reference="r", response=text) for i, text in enumerate(responses)]


def test_the_first_of_what_is_the_same_stays() -> None:
    kept = deduplicate(attempts("It is 3 + 4 = 7.", "it  is **3 + 4 = 7**", "It is 3 - 4 = 7.", "It is 3 + 4 = 8."))
    assert [row.id for row in kept] == ["0", "2", "3"]
    other = Attempt(id="x", question="another", reference="r", response="It is 3 + 4 = 7.")
    assert len(deduplicate([*kept, other])) == 4


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.floats(0, 1), st.integers(0, 5))
def test_incorrect_rows_are_kept_up_to_their_share_and_no_fewer(flags: list[bool], share: float, seed: int) -> None:
    rows = [graded(str(i), flag) for i, flag in enumerate(flags)]
    kept = limit_incorrect(rows, share, seed=seed)
    assert [row for row in rows if row.verdict.correct] == [row for row in kept if row.verdict.correct]
    assert [row.id for row in kept] == sorted((row.id for row in kept), key=int)
    wrong = sum(not row.verdict.correct for row in kept)
    assert share == 1 or wrong <= share * len(kept) + 1e-6
    dropped = len(rows) - len(kept)
    if dropped and share < 1:
        assert (wrong + 1) > share * (len(kept) + 1) - 1e-6, "one more would have fitted"
    assert kept == limit_incorrect(rows, share, seed=seed)


def test_by_default_one_in_five_is_incorrect() -> None:
    rows = [graded(f"r{i}", True) for i in range(8)] + [graded(f"w{i}", False) for i in range(50)]
    assert sum(not row.verdict.correct for row in limit_incorrect(rows)) == 2
    assert limit_incorrect(rows, None) == rows


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.floats(0, 1), st.integers(0, 3))
def test_the_teachers_share_is_what_was_asked(students: int, teachers: int, share: float, seed: int) -> None:
    student = [graded(f"s{i}", i % 2 == 0, f"q{i}") for i in range(students)]
    teacher = [graded(f"t{i}", True, f"q{i}") for i in range(teachers)]
    mixed = mix(student, teacher, share, seed=seed)
    count = sum(row.id.startswith("t") for row in mixed)
    assert len({row.id for row in mixed}) == len(mixed)
    assert mixed == mix(student, teacher, share, seed=seed)
    assert abs(count - share * len(mixed)) <= 1


def test_problems_the_student_has_not_solved_get_the_teacher_first() -> None:
    student = [graded(f"s{i}", i < 4, f"q{i}") for i in range(6)]
    teacher = [graded(f"t{i}", True, f"q{i}") for i in range(6)]
    assert [row.id for row in mix(student, teacher, 0.25)][6:] == ["t4", "t5"]


def test_a_teachers_row_that_is_a_students_word_for_word_is_passed_over() -> None:
    row = graded("s", True)
    assert mix([row], [row], 0.5) == []
    assert mix([row], [row], 0.0) == [row]


def test_shares_lie_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match="teacher_share"):
        mix([], [], 1.5)
    with pytest.raises(ConfigError, match="share"):
        limit_incorrect([], -0.1)
