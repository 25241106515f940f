"""The dry run: every cell, whether it is finished, and its estimated cost on the recipe's machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nlft.evaluate.table import Table
from nlft.lm.config import ChatSettings
from nlft.pipeline.experiment import Cell, Estimate, Experiment, Split, cells
from nlft.progress import duration
from nlft.train.config import REFT, TrainSettings

# Forward passes without gradient are a third of a step. NLFT adds one for a correct response and two for an
# incorrect one; this assumes half of each. Scales computed once cost these passes in the first epoch only.
EXTRA_PASSES = 1.5
PER_PARAMETER = 6.0  # operations per token and parameter, forward and backward (Kaplan et al. 2020)
BYTES_PER_PARAMETER = 2  # bfloat16; adapter and optimiser are small in comparison
# The program's own memory, and a token's activations. Those grow with layers x width, about the square root of
# the parameters; the factor is that of figure 8's SFT run at small size (6.4 GB, batch 4, 0.5B parameters).
PROGRAM_GB = 1.0
ACTIVATION_BYTES = 150
JUDGE_PATH = 1.7  # times as many activations if the judge path is also trained on, in the same runs


@dataclass(frozen=True)
class Cost:
    """Seconds of training and of evaluation, and the memory in GB."""

    training: float
    evaluation: float
    gigabytes: float


def cell_cost(experiment: Experiment, cell: Cell, estimate: Estimate) -> Cost:
    """Training run and evaluation of a cell; each cell shows its whole training run.

    training = epochs x rows x tokens x 6 x parameters x passes / flops, and
    evaluation = problems x new tokens / generated per second, and
    memory = weights + program + batch x tokens x activations of a token.
    """
    train = experiment.methods[cell.method].train
    evaluation = estimate.problems * estimate.new_tokens / estimate.generated_per_second
    memory = estimate.parameters * BYTES_PER_PARAMETER / 1e9 + PROGRAM_GB
    if train is None:
        return Cost(0.0, evaluation, memory)
    batch = train.batch_size or (16 if train.objective == REFT else 4)
    activations = batch * estimate.tokens_per_row * ACTIVATION_BYTES * math.sqrt(estimate.parameters) / 1e9
    judged = train.objective == "cut" or train.preset == "authors"
    memory += activations * (JUDGE_PATH if judged else 1.0)
    if train.max_steps > 0:
        rows = float(train.max_steps * batch)
        epochs = rows / cell.size
    else:
        epochs = float(experiment.last_epoch or train.epochs)
        rows = epochs * cell.size
    if train.objective == REFT:
        return Cost(_reft_seconds(train, rows, cell.size, estimate), evaluation, memory)
    operations = rows * estimate.tokens_per_row * PER_PARAMETER * estimate.parameters * relative_cost(train, epochs)
    return Cost(operations / estimate.flops, evaluation, memory)


def relative_cost(train: TrainSettings, epochs: float) -> float:
    """What a step costs, in steps of SFT."""
    if train.objective in ("sft", "dft", "token-weights"):
        return 1.0
    return 1.0 + EXTRA_PASSES / 3 / (epochs if train.scale_schedule == "once" else 1)


def _reft_seconds(train: TrainSettings, rows: float, size: int, estimate: Estimate) -> float:
    """A warm-up; then every answer is generated, scored by two policies, and trained on in each PPO epoch."""
    # `max_steps` counts passes, `epochs` count answers.
    answers = rows / train.ppo_epochs if train.max_steps > 0 else rows
    trained = train.warm_up_epochs * size + answers * (train.ppo_epochs + 2 / 3)
    operations = trained * estimate.tokens_per_row * PER_PARAMETER * estimate.parameters
    return operations / estimate.flops + answers * estimate.new_tokens / estimate.generated_per_second


def listing(experiment: Experiment, split: Split, missing: Sequence[Cell]) -> str:
    """The cells of an experiment as text, with an estimate if the recipe has numbers for one."""
    wanted, absent = cells(experiment, split), set(missing)
    estimate = experiment.estimate
    header = ["cell", "method", "state"]
    rows = []
    for cell in wanted:
        row = [cell.id, describe_method(experiment, cell.method), "missing" if cell in absent else "done"]
        if estimate is not None:
            cost = cell_cost(experiment, cell, estimate)
            row += [duration(cost.training), duration(cost.evaluation), f"{cost.gigabytes:.1f} GB"]
        rows.append(tuple(row))
    if estimate is not None:
        header += ["training run", "evaluation", "memory"]
    text = [Table(tuple(header), tuple(rows)).text(), "", f"{len(wanted)} cells, {len(absent)} missing"]
    if estimate is not None:
        text.append(f"estimate for {estimate.machine}: {total_time(experiment, missing, estimate)}")
    return "\n".join(text)


def total_time(experiment: Experiment, missing: Sequence[Cell], estimate: Estimate) -> str:
    """What the missing cells take; cells of one training run share it."""
    costs = {cell: cell_cost(experiment, cell, estimate) for cell in missing}
    runs = {(cell.run, cell.seed): cost.training for cell, cost in costs.items()}
    seconds = sum(runs.values()) + sum(cost.evaluation for cost in costs.values())
    return f"{duration(seconds)} ({len(runs)} training runs)"


def describe_method(experiment: Experiment, name: str) -> str:
    """A method in a few words: what differs from the defaults and from the shared settings."""
    method = experiment.methods[name]
    if method.train is None:
        return "untrained model"
    given = method.train.model_dump(exclude_defaults=True, exclude={"model", "prompts", "seed"})
    shared = {**ChatSettings.of(experiment).model_dump(), **experiment.train}
    own = {key: value for key, value in given.items() if shared.get(key) != value}
    constants = own.pop("settings", None)
    parts = [f"{key} {value}" for key, value in own.items()]
    parts += [f"{key} {value}" for key, value in constants.items()] if isinstance(constants, dict) else []
    parts += [f"rows {method.rows}"] if method.rows != "all" else []
    return ", ".join(parts) or "the section train"
