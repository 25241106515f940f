"""Any task of reasoning-gym, generated offline (an extra of that name), with the entry its own scorer needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from nlft.config import did_you_mean
from nlft.data.config import Form
from nlft.data.sources import gsm_symbolic
from nlft.data.worked import WORKED, worked_solution
from nlft.errors import ConfigError, DataError
from nlft.grade.task_scorer import reasoning_gym
from nlft.records import Problem

# Datasets make their problems lazily; the size only bounds the index. It must not depend on n, or a longer
# draw would not begin with a shorter one.
SIZE = 1_000_000
# Fields that depend on today's date; the question states the times, and the scorer does not read them.
VOLATILE = {"time_intervals": ("start_time", "end_time")}
TRIES = 50  # entries looked at per problem wanted, before the task counts as exhausted


def reasoning_task(
    task: str,
    n: int,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    *,
    form: Form = "final",
    exclude: Collection[str] = (),
) -> list[Problem]:
    """Make n problems of one task; the same arguments give the same problems, and fewer are a prefix of more.

    No question occurs twice. reasoning-gym seeds its i-th problem with seed + i, so that its neighbouring seeds
    share all problems but one; here the seed is hashed, and different seeds share no random stream.

    Args:
        task: A name of `task_names()`, such as "base_conversion".
        n: How many.
        seed: Determines everything random.
        config: The task's own settings, such as `{"max_digits": 3}`; for gsm_symbolic `kinds` and `difficulty`.
        form: The standard answer: "worked" in a few lines (see `nlft.data.worked.WORKED`), or "final", the answer
            alone. Both end in `#### answer`.
        exclude: Questions to leave out, such as those of the training set in a test set.

    Returns:
        Problems with ids like `chain_sum-s0-3` and the field `entry`: the task, its config, and the fields its scorer reads.

    Raises:
        ConfigError: for an unknown task, one without worked solutions, or an unknown setting.
        DataError: when the task has too few different problems.
    """
    if n < 1:
        raise ConfigError(f"n is {n}, so there is nothing to generate", remedy="ask for one problem or more")
    settings = dict(config or {})
    if task == "gsm_symbolic":
        return [_as_form(problem, form) for problem in gsm_symbolic(n, seed, exclude=exclude, **settings)]
    if form == "worked" and task not in WORKED:
        raise ConfigError(
            f"{task} has no worked solutions", remedy="choose the form final, or one of " + ", ".join(sorted(WORKED))
        )
    problems: list[Problem] = []
    asked = set(exclude)
    dataset = _dataset(task, json.dumps(settings, sort_keys=True), _hashed(task, seed))
    for index in range(TRIES * n):
        entry = dataset[index]
        question = str(entry["question"]).strip()
        reference = worked_solution(task, entry) if form == "worked" else f"#### {entry['answer']}"
        if question in asked or reference is None:
            continue
        asked.add(question)
        kept = {
            "task": task,
            "config": settings,
            "question": entry["question"],
            "answer": entry["answer"],
            "metadata": _plain(entry["metadata"], VOLATILE.get(task, ())),
        }
        row = {"id": f"{task}-s{seed}-{len(problems)}", "question": question, "reference": reference, "entry": kept}
        problems.append(Problem.model_validate(row))
        if len(problems) == n:
            return problems
    raise DataError(
        f"{task} gave {len(problems)} different problems of {n} in {TRIES * n} draws",
        remedy="ask for fewer, or widen the task's settings",
    )


def task_names() -> list[str]:
    """Every task of the installed reasoning-gym."""
    return sorted(reasoning_gym("this task").factory.DATASETS)


def _as_form(problem: Problem, form: Form) -> Problem:
    answer = problem.reference.rpartition("#### ")[2]
    kind = (problem.model_extra or {}).get("kind")
    entry = {"task": "gsm_symbolic", "config": {}, "question": problem.question, "answer": answer}
    entry["metadata"] = {"kind": kind}
    reference = problem.reference if form == "worked" else f"#### {answer}"
    return problem.model_copy(update={"reference": reference, "entry": entry})


def _hashed(task: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{task}:{seed}".encode()).digest()[:6], "big")


@lru_cache(maxsize=64)
def _dataset(task: str, config: str, seed: int) -> Any:
    library = reasoning_gym("this task")
    if task not in library.factory.DATASETS:
        raise ConfigError(f'reasoning-gym has no task "{task}"', remedy=did_you_mean(task, library.factory.DATASETS))
    settings = json.loads(config)
    try:
        return library.create_dataset(task, seed=seed, size=SIZE, **settings)
    except (TypeError, AssertionError, ValueError) as error:
        raise ConfigError(f"{task} does not take {settings}: {error}", remedy="see reasoning-gym's gallery") from None


def _plain(metadata: Mapping[str, Any], without: Collection[str]) -> Any:
    """As JSON gives it back."""
    kept = {name: value for name, value in metadata.items() if name not in without}
    return json.loads(json.dumps(kept, default=str))
