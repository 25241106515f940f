"""The grader `rubric:FILE`: a model grades free text by the criteria in a YAML file.

A model's grades are worth what their agreement with a person's is: name a few rows with human verdicts (`human`), and
`nlft grade` reports Cohen's kappa with its interval before you believe the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, NamedTuple

from pydantic import Field

from nlft.answer.config import AskSettings
from nlft.answer.factory import make_answerer, refuse_to_send_key
from nlft.answer.journal import Journal
from nlft.answer.types import Reply, Request, make_request
from nlft.config import NamesFile, parse_config
from nlft.errors import EndpointError
from nlft.files import journal_path, sole_writer
from nlft.files.yaml import read_yaml
from nlft.prompts import Message
from nlft.records import Attempt, Graded, Verdict, read_records

FULL = 10
SCORE = re.compile(r"score\W{0,5}([0-9]+)", re.IGNORECASE)
BETTER = re.compile(r"better\W{0,5}(a|b|neither)\b", re.IGNORECASE)
RESAMPLES = 2000
SHOWN = 300


class RubricSettings(AskSettings):
    """The file of a rubric: criteria, and the model that applies them."""

    criteria: list[str] = Field(min_length=1, description="what a good response does, one sentence each")
    compare: bool = Field(default=False, description="compare with the standard answer, in both orders")
    enough: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="score that is correct; by default 0.7, or 0.5 (as good) where it compares",
    )
    human: Annotated[str | None, NamesFile()] = Field(
        default=None, description="JSONL of responses with a person's verdict, to measure agreement"
    )
    temperature: float = Field(default=0.0, ge=0, description="sampling temperature; 0 is greedy")
    max_new_tokens: int = Field(default=200, ge=1, description="longest grade, in tokens")


class Kappa(NamedTuple):
    """Cohen's kappa of two raters, with a 95 % bootstrap interval, and how often they agree."""

    value: float
    low: float
    high: float
    agree: int
    n: int

    def __str__(self) -> str:
        return f"{self.agree} of {self.n} alike, kappa {self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


class RubricGrader:
    """A grader that asks a model; a reply is kept in `FILE.journal.jsonl` and never paid for twice.

    Raises:
        ConfigError: for a file that is missing or does not fit.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.rubric = parse_config(read_yaml(file), RubricSettings, file=file)
        refuse_to_send_key(self.rubric, "the rubric")
        self.answerer = make_answerer(self.rubric)

    def __call__(self, record: Attempt) -> Verdict:
        """The score of a response, from 0 to 1, and the model's reason.

        Raises:
            EndpointError: when the model gives no reply.
        """
        if not record.response.strip():
            return Verdict(correct=False, score=0.0, reason="the response is empty")
        if not self.rubric.compare:
            (text,) = self._ask(record, [self._alone(record)])
            found = SCORE.findall(text)
            score = min(int(found[-1]), FULL) / FULL if found else None
            return self._verdict(score, text)
        first, second = self._ask(record, [self._pair(record, swapped) for swapped in (False, True)])
        scores = [_won(first, "a"), _won(second, "b")]
        if None in scores:
            return self._verdict(None, first)
        score = sum(score or 0.0 for score in scores) / 2
        told = first if scores[0] == scores[1] else f"the order decides, so neither is better: {first}"
        return self._verdict(score, told)

    def agreement(self) -> Kappa | None:
        """How the model's verdicts agree with those of a person; None without any."""
        if self.rubric.human is None:
            return None
        rows = list(read_records(self.rubric.human, Graded))
        return kappa([row.verdict.correct for row in rows], [self(row).correct for row in rows])

    def _verdict(self, score: float | None, text: str) -> Verdict:
        told = " ".join(text.split())[:SHOWN]
        if score is None:
            return Verdict(correct=False, reason=f"the grading model gave no grade: {told}")
        enough = self.rubric.enough or (0.5 if self.rubric.compare else 0.7)
        return Verdict(correct=score >= enough, value=f"{score:.2g}", score=score, reason=told)

    def _alone(self, record: Attempt) -> list[Message]:
        task = (
            f"Grade the response by these criteria:\n{self._listed()}\nSay in one or two sentences how far it meets them. Then "
            f"end with a line `Score: N`, where N is a whole number from 0 to {FULL}."
        )
        parts = ["Request:", record.question, "Response:", record.response]
        return [{"role": "system", "content": task}, {"role": "user", "content": "\n\n".join(parts)}]

    def _pair(self, record: Attempt, swapped: bool) -> list[Message]:
        task = (
            f"Compare two responses to the same request by these criteria:\n{self._listed()}\nSay in one or two sentences which "
            "meets them better. Then end with a line `Better: A`, `Better: B` or `Better: neither`."
        )
        a, b = (record.reference, record.response) if swapped else (record.response, record.reference)
        parts = ["Request:", record.question, "Response A:", a, "Response B:", b]
        return [{"role": "system", "content": task}, {"role": "user", "content": "\n\n".join(parts)}]

    def _listed(self) -> str:
        return "\n".join(f"{number}. {text}" for number, text in enumerate(self.rubric.criteria, start=1))

    def _ask(self, record: Attempt, asked: Sequence[Sequence[Message]]) -> list[str]:
        settings = self.answerer.settings()
        requests = [make_request(settings, record, messages) for messages in asked]
        journal_file = self.file.with_suffix(".jsonl")
        with sole_writer(journal_file), Journal(journal_path(journal_file)) as journal:

            def keep(request: Request, reply: Reply) -> None:
                journal.put(request.key, reply)

            self.answerer.reply([request for request in requests if request.key not in journal], keep)
            replies = [journal.get(request.key) for request in requests]
        failed = next(
            (reply.failure if reply else "a limit was reached" for reply in replies if not reply or reply.failure), None
        )
        if failed is not None:
            raise EndpointError(
                f"row {record.id!r} got no grade: {failed}", remedy="grade again; finished grades are kept"
            )
        return [reply.text for reply in replies if reply is not None]


def _won(text: str, own: str) -> float | None:
    """1 where the response is found better, 0 where the other is, 0.5 for neither; None without a finding."""
    found = BETTER.findall(text)
    if not found:
        return None
    last = found[-1].lower()
    return 0.5 if last == "neither" else float(last == own)


def kappa(ours: Sequence[bool], theirs: Sequence[bool]) -> Kappa:
    """Cohen's kappa of two raters: (agreement - chance) / (1 - chance); 1 where both always say the same one thing.

    >>> kappa([True, True, False, False], [True, False, False, False])[:1]
    (0.5,)
    """
    pairs = list(zip(ours, theirs, strict=True))
    rng = Random(0)
    drawn = sorted(_kappa(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    low, high = drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1]
    return Kappa(_kappa(pairs), low, high, sum(a == b for a, b in pairs), len(pairs))


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    n = len(pairs)
    agree = sum(a == b for a, b in pairs) / n
    a, b = (sum(side) / n for side in zip(*pairs, strict=True))
    chance = a * b + (1 - a) * (1 - b)
    return 1.0 if chance == 1 else (agree - chance) / (1 - chance)
