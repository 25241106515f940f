"""The reading of arithmetic from words: each row is a text and what must, or must not, be found in it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.steps.arithmetic import equations, numbers

RIGHT = [
    "He has 2 x 15 = 30 monkeys.",
    "30 minutes x 5 days = 150 minutes a week.",
    "$10 + $4 \\times 20 = $10 + $80 = $90.",
    "The tip is $90 * 0.20 = $<<90*0.20=18>>18",
    "804 students * 75% = 603 students",
    "20% of 50 = 10",
    "100% - 35% = 65%",
    "150 / 400 = 37.5%",
    "98 / 6 = 16.3333",
    "16 * (1/3) = 16/3 = 5.33 gallons",
    "\\[ \\text{Cost} = 4 + (4 \\times 0.75) = 4 + 3 = 7 \\]",
    "\\frac{1}{4} \\times 180 = 45",
    "\\(\\frac{5 \\text{ seconds}}{60 \\text{ seconds per minute}} = \\frac{1}{12} \\text{ minutes}\\)",
    "8 x 30 minutes = 4 hours",
    "$1 / 2 = 50 cents",
    "$15/hour x 3 hours = $45",
    "28 / 1/5 = 28 * 5 = 140 cups",
    "12 x 1 and 1/4 = 15 cups",
    "1,200 + 1,300 = 2,500",
    "−3 + 5 = 2",
    "2(3 + 4) = 14",
    "12 ÷ 4 × 3 − 2 = 7",
    "**5 + 3 = 8**",
    "5 + 3 = 8 + 2 = 10",
    "3/3 - 2/3 = 1/3 of 150 is left",
    "- 5 x 3 = 15",
    "1. 5 x 3 = 15",
    "10 boxes × 50 bottles/box = 500 bottles",
    "They sit together.1400 + 350 = 1750 seats",
    "1{,}200 + 300 = 1{,}500",
    "1\u202f200 + 300 = 1\u202f500",
    "1.234.567 + 1 = 1.234.568",
    "½ x 10 = 5 and 1½ x 10 = 15",
    "15 -5 = 10",
    "48/2 = 24",
    "2 + ３ = 5",
]
WRONG = [
    ("He has 15 + 30 + 25 + 33 + 11 = 136 total animals.", "114", "136"),
    ("Brady will make $450 + $1,500 = $2,000 more", "1950", "2000"),
    ("$14 - (35% x $14) = $8.10 left", "91/10", "81/10"),
    ("804 - (804 x 75%) = 162", "201", "162"),
    ("she has <<80/2=41>>41", "40", "41"),
    ("\\frac{1}{2} \\times 10 = 6", "5", "6"),
    ("2 x 30 x .1 = 60", "6", "60"),
    ("10 * 0.1 = 1.5", "1", "3/2"),
]
UNREADABLE = [
    "2x + 3 = 7",
    "6b + b + 3b = 180",
    "10b = 180",
    "3 + y = 5",
    "y = 7",
    "2^3 + 1 = 9",
    "At 7:50 + 30 minutes = 8:20 a.m.",
    "$80 000 x 20/100 = $16 000",
    "1/0 = 5",
    "4 pounds - 6 ounces = 58 ounces",
    "twenty - 5 = 15",
    "5 = 5",
    "x = (3 + 4",
    "the total = all of it",
    "(" * 200 + "1" + ")" * 200 + " = 1",
    "9" * 500 + " + 1 = 3",
    "3.1.4 + 1 = 5",
    "2 x 10^3 = 20",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_steps_are_found_and_found_right(text: str) -> None:
    found = equations(text)
    assert found, "nothing was read"
    assert [e.verdict for e in found] == ["right"] * len(found)


@pytest.mark.parametrize(("text", "left", "right"), WRONG)
def test_wrong_steps_are_found_with_the_right_value(text: str, left: str, right: str) -> None:
    (found,) = [e for e in equations(text) if e.verdict == "wrong"]
    assert (found.left, found.right) == (Fraction(left), Fraction(right))
    assert text[found.start : found.end].replace(" ", "").startswith(found.left_text.replace(" ", ""))


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_for_certain_is_never_called_wrong(text: str) -> None:
    assert [e for e in equations(text) if e.verdict == "wrong"] == []


def test_rounding_to_a_whole_number_is_told_from_a_mistake() -> None:
    assert [e.verdict for e in equations("7 / 2 = 3 boxes, and 7 / 2 = 4, and 7 / 2 = 5")] == [
        "rounded", "rounded", "wrong",
    ]  # fmt: skip


def test_partial_values_are_kept() -> None:
    (found,) = equations("1 + 2 + 3 = 6")
    assert {Fraction(1), Fraction(3), Fraction(6)} <= found.partial


OPERANDS = st.integers(0, 999)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("+-*/"), OPERANDS), min_size=1, max_size=6), OPERANDS, st.booleans())
def test_plain_arithmetic_agrees_with_a_slow_twin(rest: list[tuple[str, int]], first: int, parens: bool) -> None:
    """The twin folds products first, then sums, on a list; the parser descends by precedence."""
    values, signs = [Fraction(first)], []
    for sign, number in rest:
        if sign in "*/":
            if sign == "/" and number == 0:
                return
            values[-1] = values[-1] * number if sign == "*" else values[-1] / number
        else:
            signs.append(sign)
            values.append(Fraction(number))
    total = values[0]
    for sign, value in zip(signs, values[1:], strict=True):
        total = total + value if sign == "+" else total - value
    text = str(first) + "".join(f" {sign} {number}" for sign, number in rest)
    text = f"({text}) * 1" if parens else text
    (found,) = equations(f"{text} = {total.numerator}/{total.denominator}" if total >= 0 else f"{text} = {total}")
    assert found.left == total
    assert found.verdict == "right"
    (off,) = equations(f"{text} = {int(total) + 3}")
    assert off.verdict == "wrong"


@settings(deadline=None)
@given(st.text(alphabet="0123456789+-*/=().,%$ x\\{}<>\nabof:^", max_size=80))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for equation in equations(text):
        assert 0 <= equation.start < equation.end <= len(text)
    for number in numbers(text):
        assert text[number.start : number.end].strip()


@pytest.mark.parametrize("piece", ["1 + ", "(", "1/", "=", "a b c 1 ", "1 = ", "\\frac{", "- ", "1 x ", "5 apples "])
def test_long_texts_are_read_in_linear_time(piece: str) -> None:
    """Counted, not timed: the tokens looked at grow as the text does."""
    import sys

    def calls(size: int) -> int:
        count = 0

        def usage(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(usage)
        try:
            equations(piece * size)
        finally:
            sys.setprofile(None)
        return count

    small, large = calls(500), calls(2000)
    assert large <= 5 * small + 100


def test_labels_and_subscripts_count_nothing() -> None:
    text = "**Step 3: Add 4 and 5.**\n### Part 2. 7 pens\n- 6 more\n\\( A_3 \\) is x_{12}, step 8 of 9"
    assert [int(number.value) for number in numbers(text)] == [4, 5, 7, 6, 8, 9]  # a step in a sentence may be a thing


def test_a_fraction_that_cannot_be_read_leaves_no_rest_to_check() -> None:
    assert equations(r"2 \left( \frac{A}{2} \right) + 5 = A + 5") == []
    assert equations(r"\frac{A}{2} + 5 = 930") == []
    assert [e.verdict for e in equations(r"\frac{6}{2} + 5 = 8")] == ["right"]
