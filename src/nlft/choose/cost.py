"""What a comparison costs on this machine, measured on a few steps of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from nlft.evaluate import read_evaluation
from nlft.evaluate.config import EvaluateSettings
from nlft.files import read_objects
from nlft.lm.config import ChatSettings
from nlft.pipeline.estimate import relative_cost
from nlft.pipeline.experiment import Cell, Experiment
from nlft.pipeline.graph import Step, read_record, run_step
from nlft.pipeline.plan import plan_cells
from nlft.progress import silent
from nlft.records import Judged, Problem, read_records
from nlft.train.config import TrainSettings

__all__ = ["measured_seconds"]

STEPS, TOKENS = 3, 32


def measured_seconds(experiment: Experiment, missing: Sequence[Cell]) -> float:
    """Seconds for the missing cells, one after another, from three steps of SFT and 32 tokens of an answer.

    Trained candidates are taken to answer as briefly as the rows do, the untrained model up to its limit. The first
    call for an experiment runs these steps; later ones read their records.
    """
    folder = experiment.folder
    shared, runs = plan_cells(experiment, "dev")
    for step in shared:
        run_step(step, folder)
    trained = next(run for run in runs if run.train)
    problems = [step.output for step in shared if step.verb == "held-out"]
    training, answering = _samples(experiment, trained.train[0], problems[0])
    for step in (trained.train[0], training):
        run_step(step, folder)
    with silent():  # that every answer is cut off is meant here
        run_step(answering, folder)
    lines = (row for _, row in read_objects(training.output / "metrics.jsonl"))
    metrics = [row for row in lines if "tokens_per_second" in row]
    spent = [after["seconds"] - before["seconds"] for before, after in itertools.pairwise(metrics)]
    written = sum(row["tokens_per_second"] * each for row, each in zip(metrics[1:], spent, strict=True))
    step_seconds = sum(spent) / len(spent)
    evaluation = read_evaluation(answering.output, with_rows=False)
    record = read_record(folder, answering.name)
    start = max(0.0, (record.seconds if record else 0.0) - evaluation.seconds)
    asked = sum(1 for path in problems for _ in read_records(path, Problem)) / len(problems)
    speed = max(evaluation.tokens_per_second, 1e-9)
    wrong = sum(not row.verdict.correct for row in read_records(trained.train[0].inputs[0], Judged))
    total = 0.0
    for cell in missing:
        method = experiment.methods[cell.method]
        tokens = method.evaluate.max_new_tokens
        if method.train is not None:
            tokens = round(written / len(spent) / (method.train.batch_size or 1))
            one = start + method.train.max_steps * step_seconds * relative_cost(method.train, method.train.epochs)
            total += one
            if method.revise is not None:
                share = 1 - 1 / experiment.folds if experiment.folds else 1.0
                answers = wrong * share * method.revise.samples * len(method.revise.ways)
                total += (one if method.revise.first != "untouched" else 0.0) + start + answers * tokens / speed
        total += start + asked * tokens / speed
    return total


def _samples(experiment: Experiment, rows: Step, problems: Any) -> tuple[Step, Step]:
    """A few steps of plain SFT, and the beginning of a few answers."""
    folder = experiment.folder
    shared = {"model": experiment.model, **ChatSettings.of(experiment).model_dump(exclude_defaults=True)}
    train = TrainSettings.model_validate({**shared, **experiment.train, "objective": "sft", "max_steps": STEPS})
    some = {"max_new_tokens": TOKENS, "n": experiment.evaluate.get("batch_size")}
    evaluate = EvaluateSettings.model_validate({**shared, **experiment.evaluate, **some})
    home = folder / "cost"
    return (
        Step("cost-train", "train", train, (rows.output,), home / "adapter"),
        Step("cost-evaluate", "evaluate", evaluate, (problems,), home / "evaluation.json"),
    )
