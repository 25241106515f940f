"""The train step: from a file of judged rows to a trained adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlft import processes
from nlft.adapter import Source
from nlft.errors import DataError
from nlft.progress import Outcome
from nlft.records import Judged, read_records
from nlft.steps.step_weights import with_step_weights
from nlft.train.config import NOT_REFT, REFT, REFT_ONLY, TrainSettings

if TYPE_CHECKING:
    from nlft.train.summary import TrainResult

__all__ = ["run", "train_rows"]


def run(
    settings: TrainSettings, judged: Path, output: Path, *, resume: bool = False, overwrite: bool = False
) -> Outcome:
    """Train on a file of judged rows; adapter, metrics and checkpoints go to the folder `output`.

    Raises:
        DataError: for unusable rows, a folder that holds another run, or a full disk.
        ConfigError, ModelError: for invalid settings, or a model that cannot be loaded.
    """
    processes.join(settings.device)
    rows = list(read_records(judged, Judged))
    result = train_rows(settings, rows, output, resume=resume, overwrite=overwrite, file=judged)
    return Outcome(
        f"{result.rows} rows, {result.steps} steps, mean loss {result.loss:.4f}, "
        f"{result.trainable:,} parameters trained, {result.seconds:.0f} s: {result.folder}"
    )


def train_rows(
    settings: TrainSettings,
    rows: Sequence[Judged],
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    file: Path | None = None,
) -> TrainResult:
    """`run` for rows in memory; `file` is where they come from, for messages."""
    chosen = list(rows[: settings.n])
    if settings.correct_only:
        chosen = [row for row in chosen if row.verdict.correct]
        if not chosen:
            raise DataError("no row is correct", file=file, remedy="drop --correct-only")
    way = _train_reft if settings.objective == REFT else _train
    return way(settings, chosen, output, resume=resume, overwrite=overwrite, source=_source(settings, file))


def _source(settings: TrainSettings, file: Path | None) -> Source:
    """What decides the adapter, in the words of the command; model, prompts and template are on record by content."""
    left_out = {"model", "prompts", "chat_template"} | (NOT_REFT if settings.objective == REFT else REFT_ONLY)
    return Source(file, {name: value for name, value in settings.identity().items() if name not in left_out})


def _train(settings: TrainSettings, rows: list[Judged], output: Path, **how: Any) -> TrainResult:
    from nlft.lm import load_as
    from nlft.train.arguments import NLFTConfig
    from nlft.train.loop import train

    lm = load_as(settings, settings.model)  # before DeepSpeed is configured: with whole weights
    config = NLFTConfig(
        objective=settings.objective,
        objective_options=settings.objective_option,
        settings=settings.saliency(),
        scale_schedule=settings.scale_schedule,
        loss_average=settings.loss_average,
        max_length=settings.max_length,
        score_cache=settings.score_cache,
        marks=settings.marks,
        partial_tokens=settings.partial_tokens,
        **_shared(settings, output),
    )
    if settings.objective in ("first-error", "clipped-ratio") and not any(_has_weights(row) for row in rows):
        rows = with_step_weights(rows, lm.tokenizer, marks=settings.marks == "use")
    fit = settings.gradient_checkpointing is None
    return train(rows, lm, config, lora=settings.lora, full=settings.full, fit_memory=fit, **how)


def _has_weights(row: Judged) -> bool:
    return "token_weights" in (row.model_extra or {})


def _train_reft(settings: TrainSettings, rows: list[Judged], output: Path, **how: Any) -> TrainResult:
    from nlft.lm import load_as
    from nlft.train.reft import ReFTConfig, train_reft

    lm = load_as(settings, settings.model)
    config = ReFTConfig(
        warm_up_epochs=settings.warm_up_epochs,
        warm_up_learning_rate=settings.warm_up_learning_rate,
        warm_up_batch_size=settings.warm_up_batch_size,
        warm_up_schedule=settings.warm_up_schedule,
        max_length=settings.max_length,
        num_iterations=settings.ppo_epochs,
        kl_coefficient=settings.kl_coefficient,
        max_completion_length=settings.max_new_tokens,
        grader=settings.grader,
        **_shared(settings, output),
    )
    return train_reft(rows, lm, config, lora=settings.lora, **how)


def _shared(settings: TrainSettings, output: Path) -> dict[str, Any]:
    """The settings under transformers' names, the same for both trainers."""
    given = {
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "warmup_steps": settings.warmup,
    }
    return {
        "output_dir": str(output),
        "target": settings.target,
        "prompts": settings.prompts,
        "system": settings.system,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "weight_decay": settings.weight_decay,
        "activation_checkpointing": bool(settings.gradient_checkpointing),
        "seed": settings.seed,
        "save_strategy": "steps" if settings.save_steps else "epoch",
        "save_steps": settings.save_steps or 500,
        "save_total_limit": settings.keep_checkpoints,
        "use_cpu": settings.device == "cpu",
        **{name: value for name, value in given.items() if value is not None},
    }
