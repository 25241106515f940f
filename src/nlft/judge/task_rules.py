"""The `rule` judge beyond arithmetic: labels, fields and tests; and which rules fit a verdict."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from nlft.errors import DataError
from nlft.grade.fields import RIGHT, compare_fields, find_json, reference_json
from nlft.grade.graders import BOTH
from nlft.grade.label import Labels, split_labels
from nlft.grade.numeric import reference_value
from nlft.records import Graded
from nlft.tasks import Rules, rules_of

WORD = re.compile(r"[^\W\d_]{3,}")
# They point nowhere, even where a few rows make it look so.
FUNCTION_WORDS = frozenset([
    "the", "and", "for", "are", "was", "were", "has", "have", "had", "been", "being", "but", "not", "you", "your",
    "yours", "our", "ours", "his", "her", "its", "their", "them", "they", "this", "that", "these", "those", "with",
    "from", "into", "onto", "about", "than", "then", "there", "here", "when", "where", "which", "who", "whom", "what",
    "why", "how", "can", "could", "will", "would", "shall", "should", "may", "might", "must", "does", "did", "doing",
    "just", "only", "also", "very", "too", "any", "some", "all", "each", "out", "off", "over", "under", "once",
])  # fmt: skip
SHOWN_FIELDS = 6
OTHERS = (
    "name rules that fit (--rules math, label, json or code), take words of your own (a column `judgment`), or another "
    "judge (--judge openai, local, self or replay:FILE)"
)


def fitting_rules(row: Graded, rules: Rules | Literal["auto"]) -> Rules:
    """The rules for a row: those named; else those of the grader that gave its verdict.

    A verdict of the data, which no grader here gave, gets `json` rules where the reference is an object, and `math`
    rules where it holds a number.

    Raises:
        DataError: when no rules fit.
    """
    if rules != "auto":
        return rules
    graders = [name for name, verdict in row.grades.items() if verdict == row.verdict]
    grader = next((name for name in graders if name not in BOTH), graders[0] if graders else None)
    if grader is not None:
        fitting = rules_of(grader)
        if fitting is None:
            raise DataError(f"row {row.id!r}: the judge `rule` has no rules for verdicts of {grader}", remedy=OTHERS)
        return fitting
    for check, found in ((_object, "json"), (reference_value, "math")):
        try:
            check(row.reference)
        except DataError:
            continue
        return found  # type: ignore[return-value]
    raise DataError(f"row {row.id!r}: the judge `rule` cannot tell which rules fit its verdict", remedy=OTHERS)


def _object(reference: str) -> None:
    if not isinstance(reference_json(reference), dict | list):
        raise DataError("no object")


class Evidence:
    """Which words of the questions go with which label, counted over rows of different questions."""

    def __init__(self, rows: Iterable[Graded] = ()) -> None:
        asked = {row.question: row.reference for row in rows}
        self.labels = Labels.of(sorted(set(asked.values()))) if asked else Labels({})
        self.questions: Counter[str] = Counter()
        self.words: dict[str, Counter[str]] = {}
        for question, reference in asked.items():
            words = _words(question)
            for name in split_labels(reference):
                self.questions[name] += 1
                self.words.setdefault(name, Counter()).update(words)

    def pointing(self, question: str, label: str, most: int = 3) -> list[str]:
        """The words of a question that occur with this label in no other at least twice, or thrice and three times as often as with others."""
        own, others = self.words.get(label, Counter()), self.questions.total() - self.questions[label]
        rates: dict[str, float] = {}
        for word in _words(question):
            elsewhere = sum(words[word] for name, words in self.words.items() if name != label)
            here = own[word] / max(1, self.questions[label])
            often = own[word] >= 3 and here >= 3 * elsewhere / max(1, others)
            if often or (own[word] == 2 and not elsewhere):
                rates[word] = math.log((own[word] + 0.5) / (elsewhere + 0.5))
        return sorted(rates, key=lambda word: -rates[word])[:most]


def label_judgment(row: Graded, evidence: Evidence) -> str:
    """The label it gives, the right one, and the words of the question that point there."""
    wanted = split_labels(row.reference)
    given = split_labels(row.verdict.value) if row.verdict.value else []
    if not given:
        named = dict.fromkeys(found.label for found in evidence.labels.find(row.response))
        said = f"It names several labels ({', '.join(named)})" if len(named) > 1 else "It gives none of the labels"
    else:
        said = f"It says {_listed(given)}"
    if len(wanted) > 1 or len(given) > 1:
        missing = [name for name in wanted if name not in given]
        extra = [name for name in given if name not in wanted]
        told = [f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
        told += [f"{_listed(extra)} {'does' if len(extra) == 1 else 'do'} not belong there"] if extra else []
        return f"{said}; {' and '.join(told) or 'it should say ' + _listed(wanted)}."
    words = evidence.pointing(row.question, wanted[0]) if wanted else []
    right = f"the right label is {_listed(wanted)}"
    if not words:
        return f"{said}; {right}."
    quoted = _listed([f'"{word}"' for word in words])
    return f"{said}; {right}. The {'word' if len(words) == 1 else 'words'} {quoted} {'points' if len(words) == 1 else 'point'} there."


def json_judgment(row: Graded) -> str:
    """Each field that is wrong, missing, or does not belong there."""
    wanted = reference_json(row.reference)
    found = find_json(row.response, type(wanted))
    if found is None:
        return f"It gives no JSON; it should give {' '.join(row.reference.split())}."
    wrong = [f"field {path} {said}" for path, said in compare_fields(wanted, found[0]).items() if said != RIGHT]
    if not wrong:
        return f"It is wrong: {row.verdict.reason}."
    more = f"; and {len(wrong) - SHOWN_FIELDS} more fields are wrong" if len(wrong) > SHOWN_FIELDS else ""
    told = "; ".join(wrong[:SHOWN_FIELDS]) + more
    return told[0].upper() + told[1:] + "."


def code_judgment(row: Graded) -> str:
    """The test that fails, and its values, as the grader found them."""
    reason = row.verdict.reason.strip().rstrip(".")
    return f"The code does not do what is asked: {reason}."


def _words(question: str) -> list[str]:
    return [word for word in dict.fromkeys(WORD.findall(question.casefold())) if word not in FUNCTION_WORDS]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
