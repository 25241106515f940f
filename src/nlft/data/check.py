"""What would spoil a training run, found before it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nlft.data.duplicates import NearDuplicates, normalised
from nlft.data.lengths import PATHS, Lengths, Measure, paths_of, tokens, words
from nlft.data.load import Reader
from nlft.errors import DataError
from nlft.grade import grade_response
from nlft.prompts import PromptSet, load_prompts, says_correct
from nlft.records import Attempt, Graded, Problem

__all__ = ["CheckReport", "Finding", "check_file"]

Level = Literal["error", "warning"]
SHOWN = 5  # examples of each finding in the text form


@dataclass
class Finding:
    """One thing that is wrong, with every place where it is."""

    level: Level
    what: str
    places: list[str] = field(default_factory=list)


@dataclass
class CheckReport:
    """What `check_file` found; `errors` is what makes a file unfit for training."""

    file: str
    rows: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    graded: int = 0
    correct: int = 0
    graded_here: bool = False
    unit: str = "words"
    limit: int | None = None
    lengths: dict[str, Lengths] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """How many places have an error."""
        return sum(len(finding.places) for finding in self.findings.values() if finding.level == "error")

    def find(self, level: Level, what: str, place: str) -> None:
        """Note a finding."""
        self.findings.setdefault(what, Finding(level, what)).places.append(place)

    def to_json(self) -> str:
        """The report as one JSON object."""
        report = {**asdict(self), "findings": [asdict(finding) for finding in self.findings.values()]}
        return json.dumps({**report, "errors": self.errors}, indent=2)

    def to_text(self) -> str:
        """The report for a terminal."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        lines = [f"{self.file}: {self.rows} rows{f' ({kinds})' if kinds else ''}"]
        if self.graded:
            how = " (graded here, by gsm8k-flexible)" if self.graded_here else ""
            lines.append(f"correct: {self.correct} of {self.graded} ({self.correct / self.graded:.1%}){how}")
        if self.lengths:
            taken = f"; a path may have {self.limit}" if self.limit else ""
            lines.append(f"lengths in {self.unit}{taken}")
            lines.append(f"  {'':<20}{'least':>8}{'median':>8}{'most':>8}")
            lines += [
                f"  {name:<20}{spread.least:>8}{spread.middle:>8.0f}{spread.most:>8}"
                for name, spread in self.lengths.items()
            ]
        for finding in sorted(self.findings.values(), key=lambda finding: finding.level):
            lines.append(f"{finding.level}: {finding.what}: {len(finding.places)}")
            lines += [f"  {place}" for place in finding.places[:SHOWN]]
            if len(finding.places) > SHOWN:
                lines.append(f"  ... and {len(finding.places) - SHOWN} more (--json lists all)")
        warnings = sum(len(finding.places) for finding in self.findings.values()) - self.errors
        lines.append(f"{self.errors} errors, {warnings} warnings")
        return "\n".join(lines)


def check_file(
    path: str | Path,
    *,
    model: str | None = None,
    against: str | Path | None = None,
    max_length: int | None = None,
    prompts: str = "paper",
) -> CheckReport:
    """Read a file of any stage, or any that `load_problems` takes, and report what is in it.

    Errors: rows that cannot be read, ids that repeat, empty responses, paths longer than the model
    takes, questions that stand in the test set, judgments that call a wrong response correct.
    Warnings: rows or questions that repeat or nearly do, questions that nearly stand in the test
    set, responses cut off at their token limit, verdicts that contradict both of GSM8K's graders,
    wrong responses without a judgment.

    Args:
        path: The file.
        model: Measure in this model's tokens; None measures in words.
        against: A test set to look for overlap with.
        max_length: The most tokens (or words) of prompt and response together; None means what the
            model's tokenizer says.
        prompts: The prompt set the paths are built with.

    Raises:
        DataError: when the file cannot be read at all.
        ConfigError: for an unknown prompt set.
        ModelError: when the tokenizer cannot be found.
    """
    prompt_set = load_prompts(prompts)
    measure = tokens(model, max_length) if model is not None else words(max_length)
    report = CheckReport(str(path), unit=measure.unit, limit=measure.limit)
    overlap = _Overlap(against) if against is not None else None
    repeats, paths = _Repeats(), _Paths(measure, prompt_set)

    def note(error: DataError) -> None:
        report.rows += 1
        report.find("error", "rows that cannot be read", f"line {error.line}: {error.message}")

    try:
        for line, record in Reader(path).records(note):
            report.rows += 1
            kind = type(record).__name__
            report.kinds[kind] = report.kinds.get(kind, 0) + 1
            place = f"line {line}, {record.id}"
            paths.add(report, record, place)
            repeats.add(report, record, place)
            _check_grade(report, record, prompt_set, place)
            if overlap is not None:
                overlap.add(report, record, place)
    except DataError as error:
        if error.line is None:
            raise
        note(error)  # a file that cannot be read any further
    if report.rows == 0:
        raise DataError("the file holds no rows", file=path, remedy="give a file with at least one row")
    report.lengths = paths.lengths()
    return report


class _Paths:
    """Lengths of prompts, responses, and both together."""

    def __init__(self, measure: Measure, prompts: PromptSet) -> None:
        self.measure, self.prompts = measure, prompts
        self.values: dict[str, list[int]] = {}

    def add(self, report: CheckReport, record: Problem, place: str) -> None:
        """Measure one record."""
        lengths = {
            f"{name} prompt": self.measure.prompt(messages) for name, messages in paths_of(record, self.prompts).items()
        }
        longest, response = max(lengths.values()), 0
        if isinstance(record, Attempt):
            response = lengths["response"] = self.measure.response(record.response)
            lengths |= {
                f"{name} path": lengths[f"{name} prompt"] + response for name in PATHS if f"{name} prompt" in lengths
            }
            if not record.response.strip():
                report.find("error", "empty responses", place)
            if record.finish_reason == "length":
                report.find("warning", "responses cut off at their token limit", place)
        for name, value in lengths.items():
            self.values.setdefault(name, []).append(value)
        if self.measure.limit is not None and longest + response > self.measure.limit:
            report.find("error", "too long, would be refused", f"{place}: {longest + response} {self.measure.unit}")

    def lengths(self) -> dict[str, Lengths]:
        """The spread of each length."""
        return {name: Lengths.of(values) for name, values in self.values.items()}


class _Repeats:
    """Rows and questions that stand in the file before."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.questions: dict[int, str] = {}
        self.near = NearDuplicates()

    def add(self, report: CheckReport, record: Problem, place: str) -> None:
        """Compare one record with the earlier ones, and remember it."""
        response = record.response if isinstance(record, Attempt) else ""
        question = normalised(record.question)
        first = self.rows.setdefault(hash((question, normalised(response))), place)
        if first is not place:
            report.find("warning", "the same question and response again", f"{place}: as {first}")
        elif (asked := self.questions.setdefault(hash(question), place)) is not place:
            if not response:
                report.find("warning", "the same question again", f"{place}: as {asked}")
        elif (like := self.near.like(record.question)) is not None:
            report.find("warning", "nearly the same question again", f"{place}: {like[1]:.0%} as {like[0]}")
        if self.questions[hash(question)] is place:
            self.near.add(place, record.question)


class _Overlap:
    """Questions that stand in a test set, where they have no place in training."""

    def __init__(self, path: str | Path) -> None:
        self.exact: dict[int, str] = {}
        self.near = NearDuplicates()
        for line, record in Reader(path).records():
            place = f"line {line} of {Path(path).name}, {record.id}"
            self.exact.setdefault(hash(normalised(record.question)), place)
            self.near.add(place, record.question)

    def add(self, report: CheckReport, record: Problem, place: str) -> None:
        """Look one record up."""
        same = self.exact.get(hash(normalised(record.question)))
        if same is not None:
            report.find("error", "questions of the test set", f"{place}: {same}")
        elif (like := self.near.like(record.question)) is not None:
            report.find("warning", "nearly questions of the test set", f"{place}: {like[1]:.0%} as {like[0]}")


def _check_grade(report: CheckReport, record: Problem, prompts: PromptSet, place: str) -> None:
    """Share correct; verdict against graders; judgment against verdict."""
    if not isinstance(record, Attempt):
        return
    try:
        said = {
            name: grade_response(record.response, record.reference, name) for name in ("gsm8k-strict", "gsm8k-flexible")
        }
    except DataError:
        said = {}  # the reference holds no number: another grader's business
    row: dict[str, Any] = dict(record)
    if isinstance(record, Graded):
        correct = record.verdict.correct
        if said and all(verdict.correct != correct for verdict in said.values()):
            what = "verdicts that contradict both of GSM8K's graders"
            report.find("warning", what, f"{place}: {said['gsm8k-flexible'].reason}")
    elif said:
        correct = said["gsm8k-flexible"].correct
        report.graded_here = True
    else:
        return
    report.graded += 1
    report.correct += correct
    judgment = row.get("judgment")
    if "judgment" not in row or correct:
        return
    if not judgment:
        report.find("warning", "wrong responses without a judgment", place)
    elif says_correct(str(judgment), prompts.correct_mark):
        report.find("error", "judgments that call a wrong response correct", place)
