"""Self-study in rounds: the adapter answers, its answers train the next one, and a dev split chooses among them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nlft.answer.selection import deduplicate, limit_incorrect, mix
from nlft.errors import DataError
from nlft.evaluate import read_evaluation
from nlft.pipeline.recipe import Plan, Rounds, Section
from nlft.records import Judged, Problem, read_records, write_records

__all__ = ["best_round", "plan_rounds"]


def plan_rounds(
    plan: Plan, rounds: Rounds, train: Section, judged: Path, adapter: Path
) -> tuple[Path, Callable[[], None]]:
    """Add the stages of every round to the plan.

    Round 0 is the training before; each later round trains a fresh adapter on the answers of the one
    before. Only new answers are paid for: a reply is kept by model, adapter and question.

    Args:
        plan: Has the stages up to the first training.
        rounds: How many, and on what.
        train: Options of `nlft train`, the same in each round.
        judged: The rows of the first training, the teacher's where there is one.
        adapter: What the first training made.

    Returns:
        The folder that will hold the best round's adapter, and the function that puts it there.
    """
    folder, recipe = plan.folder, plan.recipe
    problems = folder / "problems.jsonl"
    source = dict(rounds.dev)
    pool = plan.data("dev", "dev-pool.jsonl", source, "rounds.dev")
    dev = folder / "dev.jsonl"
    leave_out = partial(leave_out_trained, pool, problems, dev)
    evaluations = [plan.evaluate("dev-0", dev, adapter, "dev-0.json", recipe.evaluate, leave_out)]
    adapters = [adapter]
    for number in range(1, rounds.k + 1):
        home = f"round-{number}"
        asked: Section = {
            "model": recipe.model,
            "prompts": recipe.prompts,
            "seed": recipe.seed + number,
            **rounds.answer,
        }
        asked["adapter"] = str(adapters[-1])
        last = (adapters[-1],)
        answers = plan.step("answer", problems, f"{home}/answers.jsonl", asked, name=f"{home}-answer", more=last)
        graded = plan.step("grade", answers, f"{home}/graded.jsonl", recipe.grade, name=f"{home}-grade")
        own = plan.judge(graded, f"{home}/judged.jsonl", f"{home}-judge", adapters[-1])
        rows = folder / home / "rows.jsonl"
        select = partial(select_rows, own, judged, rows, rounds, recipe.seed + number)
        adapters.append(plan.train(f"{home}-train", rows, f"{home}/adapter", train, before=select))
        name = f"dev-{number}"
        evaluations.append(plan.evaluate(name, dev, adapters[-1], f"{name}.json", recipe.evaluate, leave_out))
    best = folder / "best"
    return best, partial(keep_best, evaluations, adapters, best)


def leave_out_trained(pool: Path, trained: Path, dev: Path) -> None:
    """Write the dev problems: those of the pool that nothing is trained on.

    Raises:
        DataError: when none is left.
    """
    known = {row.id for row in read_records(trained, Problem)}
    rows = [row for row in read_records(pool, Problem) if row.id not in known]
    if not rows:
        raise DataError("every problem is also trained on", file=pool, remedy="give `dev` other problems, or more")
    write_records(dev, rows)


def select_rows(own: Path, teacher: Path, rows: Path, rounds: Rounds, seed: int) -> None:
    """Write a round's training rows: its own answers without repetitions, few incorrect ones, the teacher's share.

    Raises:
        DataError: when nothing is left to train on.
    """
    student = limit_incorrect(deduplicate(read_records(own, Judged)), rounds.incorrect_share, seed=seed)
    chosen = mix(student, list(read_records(teacher, Judged)), rounds.teacher_share, seed=seed)
    if not chosen:
        raise DataError(
            "no answer of this round can be trained on: none is correct",
            file=own,
            remedy="raise samples, incorrect_share or teacher_share in the section `rounds`, or lower k",
        )
    times = Counter(row.id for row in chosen)  # a teacher's row may have the id of a student's
    unique = [
        row if times[row.id] == 1 else row.model_copy(update={"id": f"{row.id}@{place}"})
        for place, row in enumerate(chosen)
    ]
    write_records(rows, unique)


def best_round(evaluations: list[Path]) -> int:
    """The round with the most dev problems solved, by the last number; the earliest of equals."""
    solved = [read_evaluation(path, with_rows=False).flexible.count for path in evaluations]
    return solved.index(max(solved))


def keep_best(evaluations: list[Path], adapters: list[Path], best: Path) -> None:
    """Copy the best round's adapter to its folder."""
    chosen = adapters[best_round(evaluations)]
    best.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(chosen / name, best / name)
