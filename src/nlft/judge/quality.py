"""How good the judgments are, as far as a program can tell: what to look at before training."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from nlft.data.duplicates import NearDuplicates, shingles
from nlft.records import Judged
from nlft.steps.arithmetic import numbers

SIMILAR = 0.8


@dataclass(frozen=True)
class QualityReport:
    """Counts over the incorrect responses of a file; `words` is min, median, longest of the judgments' lengths.

    The lists hold ids, so that a user can look at the rows. `cut_off` are those whose response was cut off
    at its token limit: it may contain no error at all, and a judge told that it is wrong then invents one.
    """

    incorrect: int
    judged: int
    failed: int
    contradictions: int
    words: tuple[int, int, int]
    near_duplicates: tuple[tuple[str, ...], ...]
    only_repeat_answer: tuple[str, ...]
    say_nothing_of_error: tuple[str, ...]
    cut_off: tuple[str, ...] = ()

    def text(self) -> str:
        """The report in lines for a terminal."""
        low, middle, high = self.words
        copies = sum(len(group) - 1 for group in self.near_duplicates)
        lines = [
            f"incorrect responses      {self.incorrect}",
            f"with a judgment          {_share(self.judged, self.incorrect)}",
            f"failed for good          {_share(self.failed, self.incorrect)}",
            f"contradict the grade     {_share(self.contradictions, self.incorrect)}",
            f"length in words          {low} to {high}, median {middle}",
            f"near-duplicates          {_share(copies, self.judged)}{_some(g[0] for g in self.near_duplicates)}",
            f"only repeat the answer   {_share(len(self.only_repeat_answer), self.judged)}"
            f"{_some(self.only_repeat_answer)}",
            f"say nothing of the error {_share(len(self.say_nothing_of_error), self.judged)}"
            f"{_some(self.say_nothing_of_error)}",
            f"of cut-off responses     {_share(len(self.cut_off), self.judged)}{_some(self.cut_off)}",
        ]
        return "\n".join(lines)


def quality_report(judged: Iterable[Judged], *, failed: int = 0, contradictions: int = 0) -> QualityReport:
    """Report on judged rows.

    Args:
        judged: The rows; correct ones are ignored.
        failed: How many incorrect rows got no judgment.
        contradictions: How many got one that contradicts the grade.
    """
    wrong = [row for row in judged if not row.verdict.correct]
    told = [row for row in wrong if row.judgment and row.judgment.strip()]
    lengths = sorted(len((row.judgment or "").split()) for row in told) or [0]
    return QualityReport(
        incorrect=len(wrong) + failed + contradictions,
        judged=len(told),
        failed=failed,
        contradictions=contradictions,
        words=(lengths[0], int(median(lengths)), lengths[-1]),
        near_duplicates=tuple(near_duplicates([(row.id, row.judgment or "") for row in told])),
        only_repeat_answer=tuple(row.id for row in told if only_repeats_answer(row)),
        say_nothing_of_error=tuple(row.id for row in told if says_nothing_of_error(row)),
        cut_off=tuple(row.id for row in told if row.finish_reason == "length"),
    )


def only_repeats_answer(row: Judged) -> bool:
    """Whether the judgment is little more than the standard answer: nearly all its phrases are from there.

    A judgment of at most twelve words that holds the answer and quotes no other number counts too.
    """
    judgment = row.judgment or ""
    phrases = _phrases(judgment)
    if len(phrases & _phrases(row.reference)) >= SIMILAR * len(phrases):
        return True
    stated = {number.value for number in numbers(judgment)}
    final = [number.value for number in numbers(row.reference)][-1:]
    return len(judgment.split()) <= 12 and bool(final) and stated == set(final)


def says_nothing_of_error(row: Judged) -> bool:
    """Whether the judgment has no phrase and no number that only the response has.

    Phrases and numbers that the question or the standard answer have too do not count, for they say
    nothing about this response.
    """
    judgment, given = row.judgment or "", row.question + "\n" + row.reference
    own_phrases = _phrases(row.response) - _phrases(given)
    own_numbers = _values(row.response) - _values(given)
    return not own_phrases & _phrases(judgment) and not own_numbers & _values(judgment)


def near_duplicates(texts: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Groups of ids whose texts, numbers left out, are near duplicates of the first of the group."""
    firsts = NearDuplicates(SIMILAR)
    groups: dict[str, list[str]] = {}
    for identity, text in texts:
        text = re.sub(r"\d[\d,.]*", "0", text)
        found = firsts.like(text)
        if found is None:
            firsts.add(identity, text)
        groups.setdefault(identity if found is None else found[0], []).append(identity)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _phrases(text: str) -> set[int]:
    return set(shingles(text).tolist())


def _values(text: str) -> set[object]:
    return {number.value for number in numbers(text)}


def _share(count: int, of: int) -> str:
    return f"{count} of {of} ({count / of:.0%})" if of else "0"


def _some(ids: Iterable[str]) -> str:
    listed = list(ids)
    more = ", ..." if len(listed) > 3 else ""
    return ": " + ", ".join(listed[:3]) + more if listed else ""
