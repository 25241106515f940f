"""What a cell would cost on a machine that is not here: arithmetic, no measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nlft.pipeline.spec import Cell, Estimate, Experiment

__all__ = ["Cost", "cell_cost"]

# Forward passes without gradient are a third of a step. NLFT adds one for a correct response and two for an
# incorrect one; half of each is taken here. With weights computed once, they are paid in the first epoch only.
EXTRA_PASSES = 1.5
PER_PARAMETER = 6.0  # operations per token and parameter, forward and backward (Kaplan et al. 2020)
BYTES_PER_PARAMETER = 2  # bfloat16; adapter and optimiser are small beside
# What the program itself holds, and a token's activations. Those grow with layers x width, about the square root of
# the parameters; the factor is that of figure 8's SFT run at small size (6.4 GB, batch 4, 0.5B parameters).
PROGRAM_GB = 1.0
ACTIVATION_BYTES = 150
JUDGE_PATH = 1.7  # times as many activations where the judge path is trained on too, in the same runs


@dataclass(frozen=True)
class Cost:
    """Seconds of training and of evaluation, and the memory in GB."""

    training: float
    evaluation: float
    gigabytes: float


def cell_cost(experiment: Experiment, cell: Cell, estimate: Estimate) -> Cost:
    """Training run and evaluation of a cell; cells of one training run each show the whole run.

    training = epochs x rows x tokens x 6 x parameters x passes / flops, and
    evaluation = problems x new tokens / generated per second, and
    memory = weights + program + batch x tokens x activations of a token.
    """
    method = experiment.methods[cell.method]
    evaluation = estimate.problems * estimate.new_tokens / estimate.generated_per_second
    memory = estimate.parameters * BYTES_PER_PARAMETER / 1e9 + PROGRAM_GB
    if method.train is None:
        return Cost(0.0, evaluation, memory)
    options = {**experiment.train, **method.train}
    steps, given = options.get("max_steps"), options.get("batch_size")
    batch = given if isinstance(given, int) else 16 if options.get("objective") == "reft" else 4
    activations = batch * estimate.tokens_per_row * ACTIVATION_BYTES * math.sqrt(estimate.parameters) / 1e9
    judged = options.get("objective") == "cut" or options.get("preset") == "authors"
    memory += activations * (JUDGE_PATH if judged else 1.0)
    if isinstance(steps, int) and steps > 0:
        rows = float(steps * batch)
        epochs = rows / cell.size
    else:
        asked = options.get("epochs", 10)
        epochs = float(experiment.last_epoch or (asked if isinstance(asked, int | float) else 10))
        rows = epochs * cell.size
    if options.get("objective") == "reft":
        return Cost(_reft_seconds(options, rows, cell.size, estimate), evaluation, memory)
    extra = 0.0
    if options.get("objective", "nlft") in ("nlft", "cut", "sdft"):
        extra = EXTRA_PASSES / 3 / (epochs if options.get("weights") == "once" else 1)
    operations = rows * estimate.tokens_per_row * PER_PARAMETER * estimate.parameters * (1 + extra)
    return Cost(operations / estimate.flops, evaluation, memory)


def _reft_seconds(options: Mapping[str, object], rows: float, size: int, estimate: Estimate) -> float:
    """A warm-up; then every answer is generated, looked at by two policies, and trained on in each PPO epoch."""
    passes, warm_up = (options.get(key, 2) for key in ("ppo_epochs", "warm_up_epochs"))
    passes = float(passes if isinstance(passes, int | float) else 2)
    warm_up = float(warm_up if isinstance(warm_up, int | float) else 2)
    limited = isinstance(steps := options.get("max_steps"), int) and steps > 0
    answers = rows / passes if limited else rows  # `max_steps` counts passes, `epochs` count answers
    trained = warm_up * size + answers * (passes + 2 / 3)
    operations = trained * estimate.tokens_per_row * PER_PARAMETER * estimate.parameters
    return operations / estimate.flops + answers * estimate.new_tokens / estimate.generated_per_second
