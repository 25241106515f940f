"""The grade stage: attempts in, graded attempts out; and what a file's grading found."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nlft.edits import PERSON
from nlft.errors import DataError
from nlft.files import write_lines
from nlft.grade.config import GradeSettings
from nlft.grade.graders import Grader, beside, get_grader, reads_labels
from nlft.progress import Outcome, printable, progress
from nlft.records import Attempt, Graded, Judged, Scored, Verdict, read_numbered, to_line

KEPT = 50  # differing rows that a report holds in full


@dataclass
class GradeReport:
    """The result of grading a file.

    Args:
        grader: The grader that decided.
        rows: How many rows there were.
        ran: For each grader, on how many rows it gave a verdict.
        correct: For each grader, how many of those it found correct.
        differing: On how many rows the graders do not all agree.
        examples: The first of those rows.
    """

    grader: str
    rows: int = 0
    ran: Counter[str] = field(default_factory=Counter)
    correct: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    examples: list[Graded] = field(default_factory=list)

    def add(self, row: Graded) -> None:
        """Count one graded row."""
        self.rows += 1
        for name, verdict in row.grades.items():
            self.ran[name] += 1
            self.correct[name] += verdict.correct
        if len({verdict.correct for verdict in row.grades.values()}) > 1:
            self.differing += 1
            if len(self.examples) < KEPT:
                self.examples.append(row)


def run(settings: GradeSettings, source: Path, output: Path | None, *, explain: bool = False) -> Outcome:
    """Grade a JSONL file of attempts, row by row in constant memory, into another.

    Args:
        settings: Who decides.
        source: The attempts; graded or judged ones are graded again.
        output: The graded file, written atomically; may be `source` itself. None writes nothing.
        explain: Run math-verify too, where it is installed, and show where the graders differ.

    Raises:
        DataError: with file and line, for a row that cannot be read, or whose reference cannot.
    """
    also = ["math"] if explain and find_spec("math_verify") else []
    report = grade_rows(source, output, settings.grader, also, settings.threshold)
    share = report.correct[settings.grader] / report.rows
    target = f" -> {output}" if output else ""
    line = f"{report.rows} rows graded, {report.correct[settings.grader]} correct ({share:.1%}) by {settings.grader}{target}"
    text = "\n".join([*(explanation(report) if explain else []), line, *_trust(settings.grader)])
    return Outcome(text, data=report)


def _trust(grader: str) -> list[str]:
    """How far a model's verdicts may be believed."""
    found = get_grader(grader) if grader.startswith("rubric:") else None
    if (measure := getattr(found, "agreement", None)) is None:
        return []
    agreement = measure()
    if agreement is None:
        return ["compared with no human verdicts: name some rows with `human` in the rubric before you believe these"]
    return [f"with the human verdicts: {agreement}"]


def grade_rows(
    source: Path, output: Path | None, grader: str, also: Sequence[str] = (), threshold: float | None = None
) -> GradeReport:
    """Grade a file by `grader`, and by the graders of `also` beside it; see `run`."""
    report = GradeReport(grader)
    references: list[str] = []
    if reads_labels(grader) and source.is_file():
        references = sorted({record.reference for _, record in read_numbered(source, Attempt)})
    look_up = partial(get_grader, references=references, threshold=threshold)
    graders = {name: look_up(name) for name in (*beside(grader), grader, *also)}

    def lines() -> Iterator[str]:
        with progress("grading", _count_rows(source)) as bar:
            for number, record in read_numbered(source, Attempt):
                try:
                    row = grade_one(record, grader, also, graders.__getitem__)
                except DataError as error:
                    raise DataError(error.message, file=source, line=number, remedy=error.remedy) from None
                report.add(row)
                bar.advance()
                yield to_line(row)

    if output is None:
        deque(lines(), maxlen=0)
    else:
        write_lines(output, lines())
    return report


def explanation(report: GradeReport) -> Iterator[str]:
    """The rows on which the graders differ, and how many each finds correct."""

    def shown(text: str | None) -> str:
        return "-" if text is None else repr(printable(text))

    for row in report.examples:
        yield row.id
        for name, verdict in row.grades.items():
            mark = "correct" if verdict.correct else "wrong"
            yield f"  {name:<16}{mark:<9}{shown(verdict.extracted)}: {verdict.reason}"
    if report.differing > len(report.examples):
        yield f"... and {report.differing - len(report.examples)} more rows on which the graders differ"
    yield f"{'grader':<18}{'correct':>8}{'of':>8}"
    for name, ran in report.ran.items():
        yield f"{name:<18}{report.correct[name]:>8}{ran:>8}"
    yield f"the graders differ on {report.differing} of {report.rows} rows"
    if "math" not in report.ran:
        yield '(math is not shown: pip install "nlft[math]")'


def _count_rows(path: Path) -> int:
    """How many lines are not blank; 0 for a pipe, and for what reading will refuse."""
    if not path.is_file():
        return 0
    with path.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def grade(
    records: Iterable[Attempt],
    grader: str = "gsm8k-flexible",
    also: Iterable[str] = (),
    *,
    threshold: float | None = None,
) -> Iterator[Graded]:
    """Grade attempts one by one, in their order; `label` reads them all first, for their labels.

    Args:
        records: The attempts; an earlier verdict is replaced unless a person gave it, and other fields are kept, except what a
            changed verdict makes obsolete: scores, and a judge's words on a response that is right after all.
        grader: Decides the verdict (see `nlft.grade.get_grader`).
        also: Further graders to run; what each said goes to `grades`, by name.
        threshold: The score from which on a response is correct, for graders that give partial credit.

    Yields:
        The record with `verdict`, and with `grades` that hold the deciding grader, those of `also`,
        and, unless the task is another one, GSM8K's strict and flexible where the reference holds a number.

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: naming the row, when no answer can be read from its reference.
    """
    also = tuple(also)
    references: list[str] = []
    if reads_labels(grader):
        records = list(records)
        references = [record.reference for record in records]
    look_up = partial(get_grader, references=references, threshold=threshold)
    graders = {name: look_up(name) for name in (*beside(grader), grader, *also)}
    for record in records:
        yield grade_one(record, grader, also, graders.__getitem__)


def grade_one(
    record: Attempt,
    grader: str = "gsm8k-flexible",
    also: Iterable[str] = (),
    look_up: Callable[[str], Grader] = get_grader,
) -> Graded:
    """Grade one attempt; see `grade`. `look_up` gives the graders by name, such as one that knows all labels."""
    deciding = {grader, *also}
    grades: dict[str, Verdict] = {}
    for name in dict.fromkeys([*beside(grader), grader, *also]):
        try:
            grades[name] = look_up(name)(record)
        except DataError as error:
            # Strict and flexible say nothing of a reference that holds no number; the others were asked for.
            if name in deciding:
                raise DataError(f"row {record.id!r}: {error.message}", remedy=error.remedy) from None
    if (own := _of_a_person(record)) is not None:
        grades[PERSON] = own
    verdict = own or grades[grader]
    fields = _still_true(dict(record), verdict)
    kind = type(record) if isinstance(record, Graded) else Graded
    if issubclass(kind, Scored) and "scores" not in fields:
        kind = Judged
    return kind.model_validate({**fields, "verdict": verdict, "grades": grades})


def _of_a_person(record: Attempt) -> Verdict | None:
    """The verdict that a person gave, which stands whatever a grader says."""
    said = (dict(record).get("grades") or {}).get(PERSON)
    return Verdict.model_validate(dict(said)) if said is not None else None


def _still_true(fields: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The fields of a row without what later stages made of the opposite verdict."""
    earlier = fields.get("verdict")
    was = earlier.get("correct") if isinstance(earlier, dict) else getattr(earlier, "correct", None)
    if was is None or was == verdict.correct:
        return fields
    gone = {"scores"} | ({"judgment", "judge"} if verdict.correct and fields.get("judge") is not None else set())
    return {name: value for name, value in fields.items() if name not in gone}
