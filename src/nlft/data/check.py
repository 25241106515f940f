"""Find what would spoil a training run before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nlft.data.config import CheckSettings
from nlft.data.duplicates import NearDuplicates, normalised
from nlft.data.lengths import Lengths, Measure, paths_of, tokens, words
from nlft.data.load import Reader
from nlft.data.schemas import has_column
from nlft.errors import DataError, ModelError
from nlft.grade import grade_response
from nlft.grade.graders import BOTH
from nlft.prompts import Context, PromptSet, says_correct
from nlft.records import Attempt, Graded, Problem
from nlft.spans import faults

Level = Literal["error", "warning"]
SHOWN = 5  # examples of each finding in the text form


@dataclass
class Finding:
    """One kind of fault, with every place that has it."""

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
        """The number of errors."""
        return sum(len(finding.places) for finding in self.findings.values() if finding.level == "error")

    def find(self, level: Level, what: str, place: str) -> None:
        """Add a finding."""
        self.findings.setdefault(what, Finding(level, what)).places.append(place)

    def facts(self) -> dict[str, Any]:
        """The report for a program."""
        return {**asdict(self), "findings": [asdict(each) for each in self.findings.values()], "errors": self.errors}

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
    settings: CheckSettings | None = None,
) -> CheckReport:
    """Read a file of any stage, or any that `load_problems` takes, and report what is in it.

    Errors: rows that cannot be read, ids that repeat, empty responses, paths longer than the model
    takes, questions that are in the test set, judgments that call a wrong response correct, weights and marks
    that match nothing in their response.
    Warnings: rows or questions that repeat or nearly do, questions much like one of the test
    set, responses cut off at their token limit, verdicts that contradict both of GSM8K's graders,
    wrong responses without a judgment.

    Args:
        path: The file.
        model: Measure in this model's tokens; None measures in words.
        against: A test set to look for overlap with; mapped columns that it has are mapped there, too.
        max_length: The most tokens (or words) of prompt and response together; None means what the
            model's tokenizer says.
        settings: How the file is read, the prompts the paths are built with, and the chat template.

    Raises:
        DataError: when the file cannot be read at all.
        ConfigError: for an unknown prompt set.
        ModelError: when the tokenizer cannot be found.
    """
    settings = settings or CheckSettings()
    check = _Check(
        CheckReport(str(path)),
        settings.prompt_set(),
        tokens(model, max_length, settings) if model else words(max_length),
    )
    if against is not None:
        for line, record in _test_reader(against, settings).records():
            check.test_set.add(record.question, f"line {line} of {Path(against).name}, {record.id}")
    try:
        for line, record in Reader.of(path, settings).records(check.note_unreadable):
            check.row(record, f"line {line}, {record.id}")
    except DataError as error:
        if error.line is None:
            raise
        check.note_unreadable(error)  # a file that cannot be read any further
    return check.finished()


def _test_reader(against: str | Path, settings: CheckSettings) -> Reader:
    """A reader of the test set, with those of the mapped columns that it has, too: it may be mapped already."""
    reader = Reader(against, first_exchange=settings.first_exchange)
    row = next((row for _, row in reader.rows()), {})
    reader.columns = {ours: theirs for ours, theirs in settings.map.items() if has_column(row, theirs)}
    return reader


class _Questions:
    """Questions with their places, found again where the same or nearly the same is asked."""

    def __init__(self) -> None:
        self._places: dict[int, str] = {}
        self._near = NearDuplicates()

    def add(self, question: str, place: str) -> None:
        """Remember the first place of a question."""
        if self._places.setdefault(hash(normalised(question)), place) is place:
            self._near.add(place, question)

    def find(self, question: str) -> tuple[bool, str] | None:
        """Whether it is the same question that was added, and where; None where none is like it."""
        same = self._places.get(hash(normalised(question)))
        if same is not None:
            return True, same
        like = self._near.like(question)
        return None if like is None else (False, f"{like[1]:.0%} as {like[0]}")


class _Check:
    """A report while it is made, and what the rows are compared with."""

    def __init__(self, report: CheckReport, prompts: PromptSet, measure: Measure) -> None:
        report.unit, report.limit = measure.unit, measure.limit
        self.report, self.prompts, self.measure = report, prompts, measure
        self.lengths: dict[str, list[int]] = {}
        self.rows: dict[int, str] = {}
        self.questions, self.test_set = _Questions(), _Questions()

    def note_unreadable(self, error: DataError) -> None:
        """Count a row that is no record."""
        self.report.rows += 1
        self.report.find("error", "rows that cannot be read", f"line {error.line}: {error.message}")

    def finished(self) -> CheckReport:
        """The report, once every row is in."""
        if self.report.rows == 0:
            raise DataError("the file holds no rows", file=self.report.file, remedy="give a file with at least one row")
        self.report.lengths = {name: Lengths.of(values) for name, values in self.lengths.items()}
        return self.report

    def row(self, record: Problem, place: str) -> None:
        """Check one row."""
        self.report.rows += 1
        kind = type(record).__name__
        self.report.kinds[kind] = self.report.kinds.get(kind, 0) + 1
        self._check_lengths(record, place)
        self._check_repeats(record, place)
        self._check_overlap(record, place)
        if isinstance(record, Attempt):
            self._check_response(record, place)
            self._check_grade(record, place)

    def _check_lengths(self, record: Problem, place: str) -> None:
        """Lengths of the prompts, the response, and both together."""
        prompts = paths_of(record, self.prompts)
        tools = Context.of(record).tools
        lengths = {f"{name} prompt": self.measure.prompt(messages, tools) for name, messages in prompts.items()}
        longest, response = max(lengths.values()), 0
        if isinstance(record, Attempt):
            response = lengths["response"] = self._response_length(record, place)
            lengths |= {f"{name} path": lengths[f"{name} prompt"] + response for name in prompts}
        for name, value in lengths.items():
            self.lengths.setdefault(name, []).append(value)
        if self.measure.limit is not None and longest + response > self.measure.limit:
            what = f"{place}: {longest + response} {self.measure.unit}"
            self.report.find("error", "too long, would be refused", what)

    def _response_length(self, record: Attempt, place: str) -> int:
        try:
            return self.measure.response(record.response)
        except ModelError as error:
            self.report.find("error", "responses that the chat template changes", f"{place}: {error.message}")
            return 0

    def _check_repeats(self, record: Problem, place: str) -> None:
        """Whether question and response, or the question, were there before."""
        response = record.response if isinstance(record, Attempt) else ""
        row = hash((normalised(record.question), normalised(response)))
        asked = self.questions.find(record.question)
        if row in self.rows:
            self.report.find("warning", "the same question and response again", f"{place}: as {self.rows[row]}")
        elif asked is not None and not asked[0]:
            self.report.find("warning", "nearly the same question again", f"{place}: {asked[1]}")
        elif asked is not None and not response:
            self.report.find("warning", "the same question again", f"{place}: as {asked[1]}")
        self.rows.setdefault(row, place)
        self.questions.add(record.question, place)

    def _check_overlap(self, record: Problem, place: str) -> None:
        """Whether the test set asks the question."""
        asked = self.test_set.find(record.question)
        if asked is not None and asked[0]:
            self.report.find("error", "questions of the test set", f"{place}: {asked[1]}")
        elif asked is not None:
            self.report.find("warning", "nearly questions of the test set", f"{place}: {asked[1]}")

    def _check_response(self, record: Attempt, place: str) -> None:
        """Whether there is one, and all of it."""
        if not record.response.strip():
            self.report.find("error", "empty responses", place)
        for column in ("weights", "marks"):
            for told in faults(record.model_extra or {}, column, record.response):
                self.report.find("error", f"{column} that match nothing or are no spans", f"{place}: {told}")
        if record.finish_reason == "length":
            self.report.find("warning", "responses cut off at their token limit", place)

    def _check_grade(self, record: Attempt, place: str) -> None:
        """Share correct; verdict against graders; judgment against verdict."""
        others = isinstance(record, Graded) and record.grades and not record.grades.keys() & {*BOTH}
        try:
            said = [] if others else [grade_response(record.response, record.reference, name) for name in BOTH]
        except DataError:
            said = []  # the reference holds no number: another grader's business
        if isinstance(record, Graded):
            correct = record.verdict.correct
            if said and all(verdict.correct != correct for verdict in said):
                what = "verdicts that contradict both of GSM8K's graders"
                self.report.find("warning", what, f"{place}: {said[-1].reason}")
        elif said:
            correct = said[-1].correct
            self.report.graded_here = True
        else:
            return
        self.report.graded += 1
        self.report.correct += correct
        row: dict[str, Any] = dict(record)
        if "judgment" not in row or correct:
            return
        if not row["judgment"]:
            self.report.find("warning", "wrong responses without a judgment", place)
        elif says_correct(str(row["judgment"]), self.prompts.correct_mark):
            self.report.find("error", "judgments that call a wrong response correct", place)
