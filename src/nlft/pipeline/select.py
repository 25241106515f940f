"""The small steps between the stages: choose the training rows, the dev problems and the best round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from nlft.adapter import copy_adapter
from nlft.answer.selection import deduplicate, limit_incorrect, mix
from nlft.config import Config
from nlft.data.duplicates import normalised
from nlft.edits import without_response
from nlft.errors import DataError
from nlft.evaluate import read_evaluation
from nlft.pipeline.folds import Fold
from nlft.pipeline.shares import MIX_HELP, SHARE_HELP, Mix, incorrect_rows, mixed_rows
from nlft.progress import Outcome
from nlft.prompts import PromptSet, PromptSetName, load_prompts
from nlft.records import Judged, Problem, Verdict, read_records, teacher_of, write_records
from nlft.revise.rows import corrections, pairs, verdict_prompts

Worded = Literal["corrections", "verdict-prompt", "verdict-prompt-swapped"]
Rows = Literal["all", "correct", "correct-or-reference", "reference", "both", "wrong-and-reference", "pairs"] | Worded
WORDED: tuple[Worded, ...] = get_args(Worded)
ROWS_HELP = (
    "rows to train on: all; only correct; all with the standard answer for incorrect ones (correct-or-reference); "
    "the standard answers (reference); all and the standard answers (both); the wrong ones and the standard answers "
    "(wrong-and-reference); all, each wrong one paired with a right response (pairs, for the objective of that name); "
    "correct-or-reference and, for each judged wrong one, the request to correct it (corrections); or all, wrong ones "
    "under a prompt that asks for an incorrect answer (verdict-prompt; swapped: right ones, the control)"
)


class RowsSettings(Config):
    """The training rows of one method and size."""

    rows: Rows = Field(description=ROWS_HELP)
    size: int | None = Field(default=None, ge=1, description="number of rows, from the first; all by default")
    fold: Fold | None = Field(default=None, description="a fold to leave out of them")
    prompts: PromptSetName | None = Field(default=None, description="the prompt set, where rows get another prompt")
    incorrect_share: float | None = Field(default=None, ge=0, le=1, description=SHARE_HELP)
    mix: Mix | None = Field(
        default=None,
        exclude_if=lambda mix: mix is None,  # so that a run from before there was this has its fingerprint
        description=MIX_HELP,
    )

    @classmethod
    def of(
        cls,
        rows: Rows,
        prompts: str,
        size: int | None = None,
        fold: Fold | None = None,
        share: float | None = None,
        mix: Mix | None = None,
    ) -> RowsSettings:
        """These rows; with the prompt set only if it makes a difference."""
        own = prompts if rows in WORDED else None
        return cls(rows=rows, size=size, fold=fold, prompts=own, incorrect_share=share, mix=mix)


class Mixture(Config):
    """The mix of own answers and teacher's answers that a round of self-study trains on."""

    incorrect_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="maximum share of incorrect examples; more of them slow learning (paper 6.1)",
    )
    teacher_share: float = Field(
        default=0.0, ge=0, le=1, description="share of the first training's rows to mix into each round"
    )
    seed: int = Field(default=0, ge=0, description="seed for choosing the rows")


def rows_file(settings: RowsSettings, judged: Path, *paths: Path) -> Outcome:
    """Write the training rows of a method and size; `paths` are the problems they came from, if known, and the output.

    Rows lost on the way (no answer, no judgment, or a judgment that contradicts the grade) shrink the largest size.

    Raises:
        DataError: if there are too few rows.
    """
    *problems, output = paths
    rows = list(read_records(judged, Judged))
    size, told = settings.size, ""
    if size is not None and size > len(rows):
        asked = sum(1 for _ in read_records(problems[0], Problem)) if problems else 0
        if size > asked:
            raise DataError(
                f"the recipe asks for {size} training rows, but there are {len(rows)}",
                file=judged,
                remedy="lower `sizes`, or raise `n` in the section `data`",
            )
        told = (
            f"\nwarning: {size} rows were asked for, but {asked - len(rows)} of {asked} got no answer or no judgment that "
            "agrees with the grade (*.failed.jsonl, *.rejected.jsonl); training on the others"
        )
    out = settings.fold.left_out(rows) if settings.fold is not None else [False] * len(rows)
    left_out = {row.id for row, is_out in zip(rows, out, strict=True) if is_out}
    first = rows[:size]
    if settings.mix is not None:
        able = select_rows(rows, "correct") if settings.rows == "correct" else rows  # the shares are of what is kept
        first = mixed_rows(able, settings.mix, size, judged)
    elif settings.incorrect_share is not None:
        first = incorrect_rows(rows, settings.incorrect_share, size, judged)
    kept = [row for row in first if row.id not in left_out]
    chosen = select_rows(kept, settings.rows, load_prompts(settings.prompts) if settings.prompts else None)
    if not chosen:
        raise DataError(f"no row is left of `rows: {settings.rows}`", file=judged, remedy="choose other rows")
    if settings.mix is not None:
        by = Counter(teacher_of(row) for row in chosen)
        told = "".join(f"\n  {by[name]} of {name}" for name in settings.mix) + told
    return Outcome(f"{write_records(output, chosen)} rows -> {output}{told}")


def select_rows(rows: Sequence[Judged], which: Rows, prompts: PromptSet | None = None) -> list[Judged]:
    """The rows that a method trains on, as `ROWS_HELP` says; a standard answer becomes a correct response.

    Args:
        rows: Judged rows.
        which: Which of them.
        prompts: What a changed prompt says; `WORDED` rows need it.
    """
    if which == "all":
        return list(rows)
    if which == "correct":
        return [row for row in rows if row.verdict.correct]
    if which == "pairs":
        return pairs(rows)
    repaired = [row if row.verdict.correct else _standard(row) for row in rows]
    if which == "correct-or-reference":
        return repaired
    if which in WORDED:
        assert prompts is not None, which  # noqa: S101 -- `RowsSettings.of` names them
        if which == "corrections":
            return [*repaired, *corrections(rows, prompts)]
        return verdict_prompts(rows, prompts, swapped=which == "verdict-prompt-swapped")
    standards = [_standard(row) for row in {normalised(row.question): row for row in reversed(rows)}.values()][::-1]
    if which == "reference":
        return standards
    own = rows if which == "both" else [row for row in rows if not row.verdict.correct]
    return [*own, *(row.model_copy(update={"id": f"{row.id}#standard"}) for row in standards)]


def _standard(row: Judged) -> Judged:
    right = Verdict(correct=True, reason="the standard answer, in place of a response")
    given = {"verdict": right, "response": row.reference, "finish_reason": "stop"}
    return Judged.model_validate({**without_response(dict(row)), **given})


def leave_out_file(settings: Config, pool: Path, trained: Path, output: Path) -> Outcome:
    """Write the dev problems: those in the pool that are not training problems.

    Raises:
        DataError: if none is left.
    """
    known = {row.id for row in read_records(trained, Problem)}
    rows = [row for row in read_records(pool, Problem) if row.id not in known]
    if not rows:
        raise DataError(
            "every dev problem is also a training problem", file=pool, remedy="give `dev` other problems, or more"
        )
    return Outcome(f"{write_records(output, rows)} rows -> {output}")


def select_file(settings: Mixture, own: Path, teacher: Path, output: Path) -> Outcome:
    """Write a round's training rows: its own answers without duplicates, few incorrect ones, and the teacher's share.

    Raises:
        DataError: if nothing is left to train on.
    """
    student = limit_incorrect(deduplicate(read_records(own, Judged)), settings.incorrect_share, seed=settings.seed)
    chosen = mix(student, list(read_records(teacher, Judged)), settings.teacher_share, seed=settings.seed)
    if not chosen:
        raise DataError(
            "this round has no rows to train on: no answer is correct",
            file=own,
            remedy="raise samples, incorrect_share or teacher_share in the section `rounds`, or lower k",
        )
    times = Counter(row.id for row in chosen)  # a teacher's row may have the id of a student's
    unique = [
        row if times[row.id] == 1 else row.model_copy(update={"id": f"{row.id}@{place}"})
        for place, row in enumerate(chosen)
    ]
    return Outcome(f"{write_records(output, unique)} rows -> {output}")


def best_file(settings: Config, *paths: Path) -> Outcome:
    """Copy the adapter of the best round: `paths` are the evaluations, their adapters, and the target folder."""
    *read, best = paths
    evaluations, adapters = read[: len(read) // 2], read[len(read) // 2 :]
    number = best_round(evaluations)
    copy_adapter(adapters[number], best)
    return Outcome(f"round {number} did best on the dev problems: {best}")


def best_round(evaluations: Sequence[Path]) -> int:
    """The round with the most dev problems solved, by the last number; the earliest in case of a tie."""
    solved = [read_evaluation(path, with_rows=False).flexible.count for path in evaluations]
    return solved.index(max(solved))
