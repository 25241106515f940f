"""The grader `label`: which of the data's labels does a response give?

Case, punctuation, markup and a sentence around the label do not count. A negated label is not that label: "not a
refund but a complaint" says complaint. A response that names several labels, and singles none out, has none.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nlft.errors import ConfigError, DataError
from nlft.files.yaml import read_yaml
from nlft.grade.numeric import MARKER
from nlft.records import Verdict

SHOWN, TAIL = 200, 20_000  # characters of a verdict's piece; and from the end of a response, that are read
TOKEN = re.compile(r"(?<!\w)[-+]?[0-9]+(?:[.,][0-9]+)*|[^\W_]+(?:['’][^\W_]+)*")
SEVERAL = re.compile(r"\s*[;|,\n]\s*")
CLAUSE = re.compile(r"[.,;:!?()\n—–]|\bbut\b", re.IGNORECASE)
NEGATIONS = frozenset(["not", "no", "never", "non", "neither", "nor", "without", "cannot", "than", "unlike"])
REACH = 6  # words between a negation and its label, in one clause
ANNOUNCED = re.compile(
    r"\b(?:labels?|categor(?:y|ies)|class(?:ification|ified)?|intent|answer|sentiment|topic|(?:it|this|that)(?:'s|’s|\sis))\b"
    r"[\s:*\"'(]*",
    re.IGNORECASE,
)


class Found(NamedTuple):
    """A label in a text, and its characters."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Labels:
    """The labels of a task by the words they are written with, synonyms included.

    Attributes:
        forms: For the words of each label and synonym, the label as the data write it.
        several: Whether a row may have several labels.
    """

    forms: Mapping[tuple[str, ...], str]
    several: bool = False

    @classmethod
    def of(cls, references: Iterable[str]) -> Labels:
        """The labels that these references name; several in one are parted by `;`, `|` or commas, or a JSON list."""
        given = [split_labels(reference) for reference in references]
        names = dict.fromkeys(name for names in given for name in names)
        return cls.named({name: [] for name in names}, several=any(len(names) > 1 for names in given))

    @classmethod
    def named(cls, names: Mapping[str, Sequence[str]], *, several: bool = False) -> Labels:
        """Labels with their synonyms.

        Raises:
            DataError: for a label without a letter or digit, or two that differ in case and punctuation.
        """
        forms: dict[tuple[str, ...], str] = {}
        for name, synonyms in names.items():
            for form in (name, *synonyms):
                words = tuple(_words(form))
                if not words:
                    raise DataError(f"the label {form!r} has no letter or digit", remedy="choose the grader exact")
                if forms.setdefault(words, name) != name:
                    raise DataError(
                        f"{form!r} stands for {forms[words]!r} and for {name!r}: case and punctuation do not count",
                        remedy="write each label in one way, or choose the grader exact",
                    )
        return cls(forms, several)

    def find(self, text: str) -> list[Found]:
        """The labels a text names, in its order, the longest where several begin at one word; no negated ones."""
        tokens = list(TOKEN.finditer(text))
        words = [_normal(token[0]) for token in tokens]
        longest = max(map(len, self.forms), default=0)
        found, place = [], 0
        while place < len(words):
            for length in range(min(longest, len(words) - place), 0, -1):
                name = self.forms.get(tuple(words[place : place + length]))
                if name is not None:
                    here = Found(name, tokens[place].start(), tokens[place + length - 1].end())
                    if not _negated(text, tokens, words, place):
                        found.append(here)
                    place += length
                    break
            else:
                place += 1
        return found

    def alone(self, text: str) -> str | None:
        """The label, where the text is nothing else."""
        return self.forms.get(tuple(_words(text)))


def label(response: str, reference: str, labels: Labels) -> Verdict:
    """Compare the label that a response gives: after the last `####`, alone on a line, announced ("it is"), or the only one.

    With several labels a row, all that it names; then the score is the share that both name, of all that either names.

    >>> labels = Labels.of(["refund", "complaint"])
    >>> label("It is **not** a refund; it is a Complaint!", "complaint", labels).correct
    True
    >>> label("refund or complaint", "refund", labels).reason
    'names several labels: refund, complaint'

    Raises:
        DataError: when the reference is none of the labels.
    """
    wanted = _wanted(reference, labels)
    if not (response := response[-TAIL:].strip()):
        return Verdict(correct=False, score=0.0, reason="the response is empty")
    found = _answer(response, labels)
    names = list(dict.fromkeys(each.label for each in found))
    if not names:
        return Verdict(correct=False, score=0.0, reason=f"names no label; the reference says {'; '.join(wanted)}")
    if len(names) > 1 and not labels.several:
        return Verdict(correct=False, score=0.0, reason=f"names several labels: {', '.join(names)}"[:SHOWN])
    return _compare(names, wanted, response[found[0].start : found[-1].end])


def label_alone(response: str, reference: str, labels: Labels) -> Verdict:
    """The strict form of `label`: the response is the label and nothing else, but for case and punctuation."""
    wanted = _wanted(reference, labels)
    parts = split_labels(response) if labels.several else [response]
    found = [name for part in parts if (name := labels.alone(part)) is not None]
    if not found or len(found) < len(parts):
        return Verdict(correct=False, score=0.0, reason="the response is not the label alone")
    return _compare(list(dict.fromkeys(found)), wanted, response.strip())


def read_labels(file: str | Path) -> Labels:
    """Labels from a YAML file: a list, or `label: [synonym, ...]`; the key `several: true` allows several a row.

    Raises:
        ConfigError: for a file that is missing or holds something else.
    """
    data = read_yaml(file)
    names, several = data.get("labels"), data.get("several", False)
    if isinstance(names, list):
        names = {str(name): [] for name in names}
    if not isinstance(names, dict) or not names or not isinstance(several, bool):
        remedy = "write labels: [refund, complaint], or labels: {refund: [money back], complaint: []}"
        raise ConfigError("the file holds no labels", file=file, remedy=remedy)
    try:
        return Labels.named(
            {str(name): [str(s) for s in forms or []] for name, forms in names.items()}, several=several
        )
    except DataError as error:
        raise ConfigError(error.message, file=file, remedy=error.remedy) from None


def split_labels(text: str) -> list[str]:
    """The labels of a reference.

    >>> split_labels("billing; refund"), split_labels('["a", "b"]')
    (['billing', 'refund'], ['a', 'b'])
    """
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list):
            return [str(name) for name in listed if str(name).strip()]
    return [name.strip() for name in SEVERAL.split(text.rpartition(MARKER)[2].strip()) if name.strip()]


def _wanted(reference: str, labels: Labels) -> list[str]:
    whole = labels.alone(reference)
    names = [whole] if whole else [name for part in split_labels(reference) if (name := labels.alone(part))]
    if not names:
        known = ", ".join(dict.fromkeys(labels.forms.values()))
        raise DataError(
            f"the reference is none of the labels: {known}"[:SHOWN], remedy="correct the reference, or add the label"
        )
    return list(dict.fromkeys(names))


def _answer(response: str, labels: Labels) -> list[Found]:
    """The labels in the place that gives the answer."""
    whole = labels.alone(response)
    if whole is not None:
        return [Found(whole, 0, len(response))]
    found, mark = labels.find(response), response.rfind(MARKER)
    marked = [each for each in found if 0 <= mark < each.start]
    if marked or labels.several:
        return marked or found
    place = 0
    alone: list[Found] = []
    for line in response.splitlines(keepends=True):
        if labels.alone(line):
            alone = [each for each in found if place <= each.start < place + len(line)] or alone
        place += len(line)
    if alone:
        return alone
    for announced in reversed(list(ANNOUNCED.finditer(response))):
        stop = CLAUSE.search(response, announced.end())
        end = stop.start() if stop else len(response)
        clause = [each for each in found if announced.end() <= each.start < end]
        if len({each.label for each in clause}) == 1:  # "it is refund or complaint" announces neither
            return clause
    return found


def _negated(text: str, tokens: Sequence[re.Match[str]], words: Sequence[str], place: int) -> bool:
    for before in range(place - 1, max(-1, place - 1 - REACH), -1):
        if CLAUSE.search(text, tokens[before].end(), tokens[before + 1].start()) or words[before] == "but":
            return False
        word, following = words[before], words[before + 1]
        if (word in NEGATIONS or word.endswith("n't")) and not (
            word in ("no", "not") and following in ("doubt", "only")
        ):
            return True
        if word == "instead" and following == "of":
            return True
    return False


def _compare(names: Sequence[str], wanted: Sequence[str], extracted: str) -> Verdict:
    both, either = set(names) & set(wanted), set(names) | set(wanted)
    told = "; ".join(wanted)
    correct = set(names) == set(wanted)
    return Verdict(
        correct=correct,
        value="; ".join(names)[:SHOWN],
        extracted=extracted[:SHOWN],
        score=len(both) / len(either),
        reason=(f"is the reference's {told}" if correct else f"the reference says {told}")[:SHOWN],
    )


def _words(text: str) -> list[str]:
    return [_normal(token) for token in TOKEN.findall(text)]


def _normal(word: str) -> str:
    return unicodedata.normalize("NFKC", word).replace("’", "'").casefold()
