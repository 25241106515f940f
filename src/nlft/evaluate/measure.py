"""Evaluation: a model answers every problem, each answer is graded twice, each row is kept as it comes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nlft.errors import DataError
from nlft.evaluate.evaluation import (
    GRADERS,
    Evaluated,
    Evaluation,
    Grade,
    counts,
    read_evaluation,
    rows_path,
    write_evaluation,
)
from nlft.files import sole_writer
from nlft.progress import progress
from nlft.prompts import PromptSet
from nlft.provenance import adapter_hash, data_hash, digest, peak_memory_mb, provenance, public_name
from nlft.records import Problem, parse_record, read_objects, to_line, write_records

if TYPE_CHECKING:
    from nlft.lm import LanguageModel, SamplingSettings

__all__ = ["evaluate"]


def evaluate(
    problems: Sequence[Problem],
    lm: LanguageModel,
    settings: SamplingSettings,
    prompts: PromptSet,
    *,
    output: str | Path | None = None,
    adapter: str | Path | None = None,
    data: str = "",
    grader: str | None = None,
    overwrite: bool = False,
    label: str = "evaluating",
) -> Evaluation:
    """Let the model answer every problem and grade the answers: strictly and flexibly, or by a grader of one's own.

    Args:
        problems: What is asked; ids must differ.
        lm: The model, its adapter already on it.
        settings: Temperature (0 is greedy), most new tokens, seed, batch size.
        prompts: The words around the question.
        output: Where the summary goes, such as `eval.json`; the rows go to `eval.jsonl` beside it,
            each as soon as it is there, so that a killed run goes on where it was. None keeps all in memory.
        adapter: The folder the adapter came from, for the record.
        data: What the problems are called, for the record.
        grader: For answers that are no numbers (see `nlft.grade.get_grader`): its verdict is both the strict and the
            flexible one. None takes GSM8K's two.
        overwrite: Throw away the rows of another run that stand at `output`.
        label: What the progress bar is called.

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: when there is no problem, ids repeat, a reference holds no answer to grade against,
            `output` holds another run's rows, or cannot be written.
    """
    from nlft.grade import get_grader, grade_response

    _check(problems)
    graders = dict.fromkeys(GRADERS, grader) if grader is not None else GRADERS
    get_grader(graders["strict"])
    identity = _identity(problems, lm, settings, prompts, adapter) | ({"grader": grader} if grader is not None else {})
    run = digest(identity)[:16]
    for problem in problems:  # a reference without an answer is told before the model is paid for
        grade_response("", problem.reference, graders["strict"])
    with _rows_on_disk(output, run, overwrite=overwrite, known={p.id for p in problems}) as (kept, keep):
        rows = {row.id: row for row in kept}
        todo = [index for index, problem in enumerate(problems) if problem.id not in rows]
        if not todo and output is not None and (stored := _finished(output, run)) is not None:
            return stored
        start = time.perf_counter()
        with progress(label, len(todo)) as bar:
            for row in _answers(problems, todo, lm, settings, prompts, graders, run):
                keep(row)
                rows[row.id] = row
                bar.advance()
        seconds = time.perf_counter() - start
        generated = sum(rows[problems[index].id].tokens for index in todo)
        evaluation = Evaluation(
            model=public_name(lm.name),
            adapter=public_name(str(adapter)) if adapter is not None else None,
            adapter_hash=identity["adapter"] or None,
            settings=settings.model_dump(),
            prompts=prompts.name,
            prompts_hash=identity["prompts"],
            seed=settings.seed,
            data=public_name(data),
            data_hash=identity["data"],
            grader=grader,
            run=run,
            resumed=len(kept),
            seconds=seconds,
            tokens_per_second=generated / seconds if generated else 0.0,
            peak_memory_mb=peak_memory_mb(str(lm.device)),
            provenance=provenance(str(lm.device)),
            **counts([rows[problem.id] for problem in problems]),
        )
        if output is not None:
            write_records(rows_path(output), evaluation.rows)
            write_evaluation(output, evaluation)
    return evaluation


def _finished(output: str | Path, run: str) -> Evaluation | None:
    """The evaluation at `output` where it is this very run's and complete."""
    if not Path(output).exists():
        return None
    stored = read_evaluation(output, with_rows=False)
    return read_evaluation(output) if stored.run == run else None


def _answers(
    problems: Sequence[Problem],
    todo: Sequence[int],
    lm: LanguageModel,
    settings: SamplingSettings,
    prompts: PromptSet,
    graders: Mapping[Grade, str],
    run: str,
) -> Iterator[Evaluated]:
    """The graded rows of the problems at `todo`, in the order in which they finish."""
    from nlft.grade import grade_response
    from nlft.lm.encode import encode_prompt
    from nlft.lm.generate import generate

    if not todo:
        return
    encoded = [encode_prompt(lm.tokenizer, prompts.base(problems[index].question)) for index in todo]
    # Its place in the whole set is a problem's random stream: a resumed run draws what an unbroken one would.
    for completion in generate(lm, encoded, settings, streams=todo):
        problem = problems[todo[completion.index]]
        verdicts = {kind: grade_response(completion.text, problem.reference, name) for kind, name in graders.items()}
        yield Evaluated(
            id=problem.id,
            response=completion.text,
            strict=verdicts["strict"],
            flexible=verdicts["flexible"],
            finish_reason=completion.finish_reason,
            tokens=len(completion.token_ids),
            run=run,
        )


def _check(problems: Sequence[Problem]) -> None:
    if not problems:
        raise DataError("there is no problem to evaluate on", remedy="give a file with at least one row")
    ids = [problem.id for problem in problems]
    repeated = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise DataError(f"the id {repeated[0]!r} stands more than once", remedy="give every problem an id of its own")


def _identity(
    problems: Sequence[Problem],
    lm: LanguageModel,
    settings: SamplingSettings,
    prompts: PromptSet,
    adapter: str | Path | None,
) -> dict[str, str]:
    """Everything that a row's content depends on; the batch size is not among it."""
    sampling = settings.identity()
    return {
        "model": lm.name,
        "dtype": str(lm.dtype),
        "adapter": adapter_hash(adapter) if adapter is not None else "",
        "prompts": digest(prompts.model_dump(mode="json")),
        "settings": digest(sampling),
        # The order counts here, unlike in the data hash: a problem's place is its random stream.
        "order": digest([problem.id for problem in problems]),
        "data": data_hash(problems),
    }


def _kept_rows(path: Path, run: str, *, overwrite: bool, known: set[str]) -> list[Evaluated]:
    """The rows an earlier, broken-off run of the same fingerprint left; a torn last line is passed over."""
    if not path.exists():
        return []
    _cut_torn_line(path)
    rows: dict[str, Evaluated] = {}
    for number, row in read_objects(path):
        if row.get("run") != run:
            if overwrite:
                return []
            raise DataError(
                "here stand the rows of another evaluation (other model, problems, prompts or settings)",
                file=path,
                line=number,
                remedy="choose another -o, or give --overwrite",
            )
        evaluated = parse_record(row, Evaluated, file=path, line=number)
        rows[evaluated.id] = evaluated
    return [row for row in rows.values() if row.id in known]


def _cut_torn_line(path: Path) -> None:
    """Drop the end of a file that a killed process left without its line feed."""
    with path.open("r+b") as stream:
        stream.truncate(stream.read().rfind(b"\n") + 1)


@contextmanager
def _rows_on_disk(
    output: str | Path | None, run: str, *, overwrite: bool, known: set[str]
) -> Iterator[tuple[list[Evaluated], Callable[[Evaluated], None]]]:
    """The rows that are there, and a function that puts one more on disk before the next is asked for."""
    if output is None:
        yield [], lambda row: None
        return
    path = rows_path(output)
    with sole_writer(output):
        kept = _kept_rows(path, run, overwrite=overwrite, known=known)
        write_records(path, kept)  # without other runs' rows
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            yield kept, lambda row: _append(stream, row, path)


def _append(stream: IO[str], row: Evaluated, path: Path) -> None:
    try:
        stream.write(to_line(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise DataError(
            f"cannot write: {error.strerror}",
            file=path,
            remedy="free some space and run the same command again: finished rows are kept" if full else None,
        ) from error
