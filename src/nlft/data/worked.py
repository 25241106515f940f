"""Worked solutions written by code from a generator's metadata, never by a model.

Each is a few lines in one style: one calculation per line, and `#### answer` as the last. If a solution cannot be written
in this style (such as one with a quotient that is not whole), it is None, and its problem is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

Entry = Mapping[str, Any]
LEGS = {
    0: ("snake", "sea slug", "jellyfish", "flatworm", "leech"),
    2: ("chicken", "bird", "human", "duck"),
    4: ("dog", "cat", "cow", "horse", "lion", "elephant", "giraffe", "tiger", "deer", "sheep"),
    5: ("starfish",),
    6: ("insect", "ant", "butterfly", "beetle", "bee", "wasp", "grasshopper", "cricket", "cockroach", "praying mantis",
        "firefly"),
    8: ("spider", "scorpion"),
    10: ("crab", "lobster", "shrimp"),
    14: ("woodlouse",),
}  # fmt: skip
_LEGS_OF = {animal: legs for legs, animals in LEGS.items() for animal in animals}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def worked_solution(task: str, entry: Entry) -> str | None:
    """The steps and the answer of one entry of a task in `WORKED`.

    >>> print(worked_solution("chain_sum", {"answer": "108", "metadata": {"expression": "47 + 86 - 25"}}))
    47 + 86 = 133
    133 - 25 = 108
    #### 108
    """
    lines = WORKED[task](entry["metadata"], str(entry["question"]) if "question" in entry else "")
    return None if lines is None else "\n".join([*lines, f"#### {entry['answer']}"])


def _chain_sum(given: Entry, question: str) -> list[str] | None:
    terms = str(given["expression"]).split()
    value, lines = int(terms[0]), []
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        after = value + int(term) if sign == "+" else value - int(term)
        lines.append(f"{value} {sign} {term} = {after}")
        value = after
    return lines


def _products(given: Entry, question: str) -> list[str] | None:
    left, right = (int(factor) for factor in str(given["expression"]).split(" * "))
    places = [(digit, 10**place) for place, digit in enumerate(map(int, str(right)[::-1])) if digit]
    parts = [digit * size for digit, size in places]
    lines = [f"{left} * {part} = {left * part}" for part in parts]
    value = left * parts[0] if parts else 0
    for part in parts[1:]:
        lines.append(f"{value} + {left * part} = {value + left * part}")
        value += left * part
    return lines or [f"{left} * 0 = 0"]


def _leg_counting(given: Entry, question: str) -> list[str] | None:
    lines, total = [], []
    for animal, count in given["animals"].items():
        legs = _LEGS_OF[animal]
        lines.append(f"{animal}: {count} * {legs} = {count * legs}")
        total.append(count * legs)
    value = total[0]
    for part in total[1:]:
        lines.append(f"{value} + {part} = {value + part}")
        value += part
    return lines


def _euclid(a: int, b: int) -> tuple[list[str], int]:
    a, b = max(a, b), min(a, b)
    lines = []
    while b:
        times = a // b
        lines.append(f"{a} - {times} * {b} = {a - times * b}")
        a, b = b, a - times * b
    return lines, a


def _gcd(given: Entry, question: str) -> list[str] | None:
    return _euclid(*given["numbers"])[0] if len(given["numbers"]) == 2 else None


def _lcm(given: Entry, question: str) -> list[str] | None:
    if len(given["numbers"]) != 2:
        return None
    a, b = given["numbers"]
    lines, divisor = _euclid(a, b)
    return [*lines, f"{a} / {divisor} = {a // divisor}", f"{a // divisor} * {b} = {a // divisor * b}"]


def _base_conversion(given: Entry, question: str) -> list[str] | None:
    value, source, target = (int(given[name]) for name in ("decimal_value", "source_base", "target_base"))
    lines: list[str] = []
    if value == 0:
        return None  # the generator writes 0 as no digits at all
    if source != 10:
        digits = [int(digit, 36) for digit in str(given["source_repr"])]
        running = digits[0]
        for digit in digits[1:]:
            lines.append(f"{running} * {source} + {digit} = {running * source + digit}")
            running = running * source + digit
    if target != 10:
        rest = value
        while rest >= target:
            lines.append(f"{rest} - {rest // target} * {target} = {rest % target}")
            rest //= target
    return lines


def _letter_counting(given: Entry, question: str) -> list[str] | None:
    letter = str(given["target_letter"]).lower()
    found = [(word, word.lower().count(letter)) for word in given["span"]]
    return [f"{word}: {count}" for word, count in found] + [
        f"{' + '.join(str(count) for _, count in found)} = {sum(count for _, count in found)}"
    ]


def _number_sorting(given: Entry, question: str) -> list[str] | None:
    smallest = given["direction"] == "ascending"
    left = list(given["original_numbers"])
    lines = []
    for number in given["sorted_numbers"]:
        lines.append(f"The {'smallest' if smallest else 'largest'} of {', '.join(left)} is {number}")
        left.remove(number)
    return lines[:-1]


def _time_intervals(given: Entry, question: str) -> list[str] | None:
    if given["task_type"] != "time":
        return None
    clock = re.findall(r"\b(\d\d):(\d\d)\b", question)
    if len(clock) != 2:
        return None
    (h1, m1), (h2, m2) = ((int(hours), int(minutes)) for hours, minutes in clock)
    start, end = h1 * 60 + m1, h2 * 60 + m2
    if end < start:
        return None
    hours = (end - start) // 60
    return [
        f"{h1} * 60 + {m1} = {start}",
        f"{h2} * 60 + {m2} = {end}",
        f"{end} - {start} = {end - start}",
        f"{end - start} - {hours} * 60 = {(end - start) % 60}",
    ]


def _prime_factorization(given: Entry, question: str) -> list[str] | None:
    rest, lines = int(given["number"]), []
    for factor in given["factors"][:-1]:
        lines.append(f"{rest} / {factor} = {rest // factor}")
        rest //= factor
    return [*lines, f"{rest} is prime"]


def _calendar_arithmetic(given: Entry, question: str) -> list[str] | None:
    if given["task"] != "weekday_offset":
        return None
    day = next((name for name in DAYS if f"{name}, " in question), None)
    offset = int(given["offset_days"])
    if day is None or offset == 0:
        return None
    days, sign = abs(offset), 1 if offset > 0 else -1
    weeks, rest = divmod(days, 7)
    lines = [f"{days} - {weeks} * 7 = {rest}"]
    place = DAYS.index(day)
    for _ in range(rest):
        lines.append(f"{'after' if sign > 0 else 'before'} {DAYS[place]} is {DAYS[(place + sign) % 7]}")
        place = (place + sign) % 7
    return lines


def _simple_equations(given: Entry, question: str) -> list[str] | None:
    """a*x + b = c, as the generator simplifies most of its equations to."""
    form = re.fullmatch(r"(\d+)\*[a-z](?: ([+-]) (\d+))? = (-?\d+)", str(given["equation"]))
    if form is None:
        return None
    factor, right = int(form[1]), int(form[4])
    lines = []
    if form[2]:
        sign = "-" if form[2] == "+" else "+"
        rest = right - int(form[3]) if form[2] == "+" else right + int(form[3])
        lines.append(f"{right} {sign} {form[3]} = {rest}")
        right = rest
    quotient = Fraction(right, factor)
    if quotient.denominator != 1:
        return None
    return [*lines, f"{right} / {factor} = {quotient}"]


WORKED: dict[str, Callable[[Entry, str], list[str] | None]] = {
    "base_conversion": _base_conversion,
    "calendar_arithmetic": _calendar_arithmetic,
    "chain_sum": _chain_sum,
    "gcd": _gcd,
    "lcm": _lcm,
    "leg_counting": _leg_counting,
    "letter_counting": _letter_counting,
    "number_sorting": _number_sorting,
    "prime_factorization": _prime_factorization,
    "products": _products,
    "simple_equations": _simple_equations,
    "time_intervals": _time_intervals,
}
"""The tasks with worked solutions, besides gsm_symbolic, whose generator provides its own."""
