"""Any way of writing a number is the same value."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nlft.grade.numbers import (
    MARGIN,
    MAX_DIGITS,
    WINDOW,
    canonical,
    find_numbers,
    first_number,
    last_number,
    read_plain,
)

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12)
SEPARATORS = [",", "\u00a0", "\u202f", "\u2009", "'", "’", "_", "{,}", r"\,", r",\!"]
MINUSES = "-−–‐‑‒﹣－➖"
SCRIPTS = [0x30, 0xFF10, 0x660, 0x966, 0x1D7CE]
# What may stand around a number without being part of one.
BEFORE = st.sampled_from(["", "so ", "= ", "(", "**", r"\boxed{", "#### ", "is: ", "≈", "答案是", "\n"])
AFTER = st.sampled_from(["", ".", " apples", ")", "**", "}", "%", " %", "\n", "!", "元。", " and so on.", ";"])


def grouped(digits: str, separator: str) -> str:
    head = len(digits) % 3 or 3
    return separator.join([digits[:head], *(digits[i : i + 3] for i in range(head, len(digits), 3))])


@given(
    value=DECIMALS,
    separator=st.sampled_from(["", *SEPARATORS]),
    minus=st.sampled_from(MINUSES),
    script=st.sampled_from(SCRIPTS),
    currency=st.sampled_from(["", "$", r"\$", "€", "£"]),
    minus_first=st.booleans(),
    zeros=st.integers(0, 4),
    before=BEFORE,
    after=AFTER,
)
def test_any_way_of_writing_a_decimal(
    value, separator, minus, script, currency, minus_first, zeros, before, after
) -> None:
    whole, _, part = format(abs(value), "f").partition(".")
    part = part.rstrip("0") + "0" * zeros
    text = grouped(whole, separator) if separator else whole
    text += f".{part}" if part else ""
    text = text.translate({0x30 + digit: chr(script + digit) for digit in range(10)})
    sign = minus if value < 0 else ""
    text = sign + currency + text if minus_first or not currency else currency + sign + text
    found = last_number(before + text + after)
    assert found is not None
    assert found.value == Fraction(value)


@given(
    top=st.integers(0, 10**6),
    bottom=st.integers(1, 10**6),
    form=st.sampled_from(["{}/{}", r"\frac{{{}}}{{{}}}", r"\dfrac {{{}}} {{{}}}", "{}⁄{}"]),
    sign=st.sampled_from(["", *MINUSES]),
    before=BEFORE,
    after=AFTER,
)
def test_any_way_of_writing_a_fraction(top, bottom, form, sign, before, after) -> None:
    found = last_number(before + sign + form.format(top, bottom) + after)
    assert found is not None
    assert found.value == Fraction(-top if sign else top, bottom)


@given(
    mantissa=st.integers(1, 999),
    exponent=st.integers(-30, 30),
    form=st.sampled_from(["{}e{}", "{}E{}", "{} x 10^{}", "{}×10^{{{}}}", r"{} \times 10^{{{}}}", "{} * 10**{}"]),
    before=BEFORE,
)
def test_any_way_of_writing_a_power_of_ten(mantissa, exponent, form, before) -> None:
    found = last_number(before + form.format(mantissa, exponent))
    assert found is not None
    assert found.value == mantissa * Fraction(10) ** exponent


@given(st.fractions(max_denominator=10**9))
@example(Fraction(1, 3))
@example(Fraction(-5, 4))
@example(Fraction(0))
def test_the_canonical_form_reads_back(value: Fraction) -> None:
    found = last_number(canonical(value))
    assert found is not None
    assert found.value == value
    assert found.text == canonical(value)


@given(st.fractions(), st.fractions())
def test_the_canonical_form_tells_values_apart(a: Fraction, b: Fraction) -> None:
    assert (canonical(a) == canonical(b)) == (a == b)


TEXTS = st.text(alphabet=st.sampled_from("0123456789.,-+/$ eE^x10½⅓\\frac{}\n%'_–１２٣ab#"), max_size=80)


@given(TEXTS)
@example("1.2.3 4")
@example("5-3")
def test_the_last_number_is_the_last_of_all_numbers(text: str) -> None:
    numbers = list(find_numbers(text))
    assert last_number(text) == (numbers[-1] if numbers else None)
    assert first_number(text) == (numbers[0] if numbers else None)


@given(TEXTS)
def test_numbers_are_verbatim_pieces_in_order(text: str) -> None:
    end = 0
    for number in find_numbers(text):
        assert number.start >= end
        assert text[number.start : number.start + len(number.text)] == number.text
        end = number.start + len(number.text)


@given(st.text(max_size=40))
def test_any_text_can_be_searched(text: str) -> None:
    last_number(text)
    first_number(text)


@pytest.mark.parametrize("gap", [0, WINDOW - 3, WINDOW, WINDOW + 2, 3 * WINDOW, WINDOW + MARGIN])
@pytest.mark.parametrize("filler", ["a", "-", "é", " ", "{"])
def test_a_number_far_from_the_end_is_found(gap: int, filler: str) -> None:
    """The search goes through windows; a number is found whole wherever their edges fall."""
    for number in ("1,234,567.5", "½", r"\frac{12}{345}", "9" * MAX_DIGITS):
        expected = next(find_numbers(number))
        for shift in range(4):
            text = f"3 x {number} " + filler * (gap + shift)
            found = last_number(text)
            assert found is not None
            assert (found.text, found.value) == (number, expected.value)
            found = first_number(filler * (gap + shift) + f" {number} x 3")
            assert found is not None
            assert found.text == number


def test_a_number_across_the_edge_of_a_window_is_read_once() -> None:
    for shift in range(12):
        text = "7 " + "1,234,567" + " " * (WINDOW - shift)
        found = last_number(text)
        assert found is not None
        assert found.text == "1,234,567"
        skipped = last_number("7 " + "12/05/2024" + " " * (WINDOW - shift))
        assert skipped is not None
        assert skipped.text == "7"


@pytest.mark.parametrize(
    ("text", "value"), [("18.", 18), ("-.5", Fraction(-1, 2)), ("1.2.3", None), ("", None), ("-", None)]
)
def test_read_plain(text: str, value: Fraction | None) -> None:
    assert read_plain(text) == value
