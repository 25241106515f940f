"""The evaluate step: answer, grade, summarise; with any answerer, on the answer step's journal."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlft.answer.factory import make_answerer
from nlft.answer.journal import Journal
from nlft.answer.local import together
from nlft.answer.step import answer
from nlft.answer.types import Answerer
from nlft.errors import DataError
from nlft.evaluate.config import EvaluateSettings
from nlft.evaluate.evaluation import (
    GRADERS,
    Evaluated,
    Evaluation,
    counts,
    read_evaluation,
    rows_path,
    write_evaluation,
)
from nlft.evaluate.table import summary_table
from nlft.files import journal_path, sole_writer
from nlft.grade import Grader, get_grader, strict_form
from nlft.progress import Outcome
from nlft.prompts import PromptSet
from nlft.provenance import adapter_hash, data_hash, digest, peak_memory_mb, provenance, public_name
from nlft.records import Attempt, Problem, read_records, write_records

logger = logging.getLogger("nlft")


def evaluate(
    problems: Sequence[Problem],
    answerer: Answerer,
    prompts: PromptSet,
    *,
    output: str | Path | None = None,
    data: str = "",
    grader: str | None = None,
    threshold: float | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Let an answerer solve every problem, and grade its answers strictly and flexibly, or with your own grader.

    Args:
        problems: The problems; their ids must be unique.
        answerer: Who answers: a local model, a server, a recording.
        prompts: The text around the question.
        output: The summary file, such as `eval.json`; rows go to `eval.jsonl` next to it. Each reply is stored in
            a journal next to them on arrival, so an interrupted run resumes where it stopped. None keeps
            everything in memory.
        data: The name of the problems, for the record.
        grader: For answers that are not numbers (see `nlft.grade.get_grader`): its verdict counts as the strict and the
            flexible one, unless it has a strict form (label, json, reasoning-gym). None uses GSM8K's two graders.
        threshold: The score from which on a response is correct, for graders that give partial credit.
        overwrite: Replace another evaluation at `output`.

    Raises:
        ConfigError: for an unknown grader.
        DataError: if there are no problems, ids repeat, a reference holds no answer to grade against, a problem
            got no answer, `output` holds another evaluation, or cannot be written.
    """
    names = {"strict": strict_form(grader), "flexible": grader} if grader is not None else GRADERS
    references = sorted({problem.reference for problem in problems})
    graders = {kind: get_grader(name, references=references, threshold=threshold) for kind, name in names.items()}
    _check(problems, graders["flexible"])
    asked = answerer.settings()
    told = {"answerer": asked, "prompts": digest(prompts.model_dump(mode="json")), "data": data_hash(problems)}
    graded = {"grader": grader, "threshold": threshold}
    fingerprint = digest(told | {name: value for name, value in graded.items() if value is not None})[:16]
    if output is None:
        return _measure(problems, answerer, prompts, Journal(), graders, run=fingerprint, data=data, grader=grader)
    with sole_writer(output), Journal(journal_path(output) if answerer.cacheable else None) as journal:
        stored = read_evaluation(output, with_rows=False) if Path(output).exists() else None
        if stored is not None and stored.run == fingerprint:
            return read_evaluation(output)
        if stored is not None and not overwrite:
            raise DataError(
                "this is another evaluation (different model, problems, prompts or settings)",
                file=output,
                remedy="choose another -o, or add --overwrite",
            )
        result = _measure(problems, answerer, prompts, journal, graders, run=fingerprint, data=data, grader=grader)
        write_records(rows_path(output), result.rows)
        write_evaluation(output, result)
    return result


def _measure(
    problems: Sequence[Problem],
    answerer: Answerer,
    prompts: PromptSet,
    journal: Journal,
    graders: Mapping[Any, Grader],
    *,
    run: str,
    data: str,
    grader: str | None,
) -> Evaluation:
    start = time.perf_counter()
    answers = answer(
        problems, answerer, prompts=prompts, journal=journal, retry_failed=True, keep_empty=True, label="evaluating"
    )
    seconds = time.perf_counter() - start
    if answers.failed or answers.unanswered:
        first = f": {answers.failed[0].failure}" if answers.failed else " (a limit was reached)"
        raise DataError(
            f"{len(answers.failed) + answers.unanswered} of {len(problems)} problems got no answer{first}",
            remedy="re-run the same command, which keeps finished answers; or remove those problems",
        )
    rows = [
        Evaluated(
            id=problem.id,
            response=attempt.response,
            **{kind: decide(attempt) for kind, decide in graders.items()},
            finish_reason=attempt.finish_reason or "stop",
            tokens=reply.completion_tokens if reply is not None else 0,
            run=run,
            **_thoughts(attempt),
        )
        for problem, attempt, reply in zip(problems, answers.attempts, answers.replies, strict=True)
    ]
    _warn_without_stop(rows)
    generated = answers.usage.completion_tokens
    settings = answerer.settings()
    adapter = getattr(answerer, "adapter", None)
    device = answerer.device if hasattr(answerer, "device") else "cpu"
    return Evaluation(
        model=public_name(answerer.model) if hasattr(answerer, "model") else answerer.name,
        adapter=public_name(str(adapter)) if adapter is not None else None,
        adapter_hash=adapter_hash(adapter) if adapter is not None else None,
        settings={name: value for name, value in settings.items() if isinstance(value, int | float)},
        prompts=prompts.name,
        prompts_hash=digest(prompts.model_dump(mode="json")),
        seed=settings.get("seed", 0),
        data=public_name(data),
        data_hash=data_hash(problems),
        grader=grader,
        run=run,
        resumed=answers.usage.resumed,
        seconds=seconds,
        tokens_per_second=generated / seconds if generated else 0.0,
        peak_memory_mb=peak_memory_mb(device),
        provenance=provenance(device),
        **counts(rows),
    )


def _warn_without_stop(rows: Sequence[Evaluated]) -> None:
    """Say aloud if no answer ended by itself."""
    if all(row.finish_reason == "length" for row in rows):
        logger.warning(
            "the stop token never came: all %d answers were cut off at the token limit; raise --max-new-tokens, or see "
            "with `nlft data show` which token was trained to end an answer",
            len(rows),
        )


def _thoughts(attempt: Attempt) -> dict[str, Any]:
    """What the model thought before it answered, where it did."""
    thoughts = (attempt.model_extra or {}).get("thoughts")
    return {"thoughts": thoughts} if thoughts else {}


def run(settings: EvaluateSettings, problems: Path, output: Path, *, overwrite: bool = False) -> Outcome:
    """Evaluate on a file of problems; the summary goes to `output`, a table to the user.

    Raises:
        ConfigError, DataError: as `evaluate`; for settings that describe no answerer.
    """
    rows = rows_path(output)
    answerer = make_answerer(settings)

    def measure() -> Outcome:
        evaluation = evaluate(
            list(read_records(problems, Problem))[: settings.n],
            answerer,
            settings.prompt_set(),
            output=output,
            data=str(problems),
            grader=settings.grader,
            threshold=settings.threshold,
            overwrite=overwrite,
        )
        table = summary_table({evaluation.adapter or evaluation.model: evaluation}).text()
        return Outcome(f"{table}\nsummary: {output}\nrows: {rows}", data=evaluation)

    return together(answerer, settings.device, measure)


def _check(problems: Sequence[Problem], decide: Grader) -> None:
    """Reject problems that would otherwise fail only after the model has answered."""
    if not problems:
        raise DataError("no problems to evaluate on", remedy="pass a file with at least one row")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f"the id {problem.id!r} occurs more than once", remedy="give every problem a unique id")
        seen.add(problem.id)
    for problem in problems:
        decide(Attempt.model_validate({**dict(problem), "response": ""}))
