"""The train step: from a file of judged rows to a trained adapter."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlft import processes
from nlft.adapter import Source
from nlft.errors import ConfigError, DataError
from nlft.progress import Outcome
from nlft.records import Judged, Problem, read_records
from nlft.steps.step_weights import with_step_weights
from nlft.train.config import NOT_REFT, REFT, TrainSettings

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
        + (f"\ndev accuracy {result.dev_accuracy:.1%}: {result.best}" if result.dev_accuracy is not None else ""),
        data=result,
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
    chosen = _chosen(settings, rows, file)
    way = _train_reft if settings.objective == REFT else _train
    return way(settings, chosen, output, resume=resume, overwrite=overwrite, source=_source(settings, file))


def dry_run(settings: TrainSettings, judged: Path) -> str:
    """What `run` would do, and what it takes, as text; no weights are loaded.

    Raises:
        DataError, ConfigError, ModelError: as `run` before it trains.
    """
    from nlft.train.dry_run import describe, describe_reft

    rows = _chosen(settings, list(read_records(judged, Judged)), judged)
    if settings.objective != REFT:
        return describe(settings, rows)
    return describe_reft(settings, rows, _reft_config(settings, judged.with_suffix(""), bf16=False))


def _chosen(settings: TrainSettings, rows: Sequence[Judged], file: Path | None) -> list[Judged]:
    """The rows to train on."""
    chosen = [row for row in rows[: settings.n] if row.verdict.correct or not settings.correct_only]
    if not chosen and settings.correct_only:
        raise DataError("no row is correct", file=file, remedy="drop --correct-only")
    return chosen


def _source(settings: TrainSettings, file: Path | None) -> Source:
    """What decides the adapter, in the words of the command; model, prompts and template are on record by content."""
    left_out = {"model", "prompts", "chat_template"} | (NOT_REFT if settings.objective == REFT else settings.for_reft())
    return Source(file, {name: value for name, value in settings.identity().items() if name not in left_out})


def _train(settings: TrainSettings, rows: list[Judged], output: Path, **how: Any) -> TrainResult:
    from nlft.train.average import WeightAverage
    from nlft.train.dev import Patience

    if settings.dev_folds is not None:
        return _train_by_folds(settings, settings.dev_folds, rows, output, **how)
    callbacks: list[Any] = [WeightAverage(settings.average)] if settings.average is not None else []
    callbacks += [Patience(settings.patience)] if settings.patience is not None else []
    problems = list(read_records(settings.dev, Problem)) if settings.dev is not None else None
    return _train_once(settings, rows, output, dev=problems, callbacks=callbacks, **how)


def _train_by_folds(
    settings: TrainSettings,
    folds: int,
    rows: list[Judged],
    output: Path,
    *,
    resume: bool,
    overwrite: bool,
    source: Source,
) -> TrainResult:
    """Find the number of epochs on folds of the rows, then train on all for as long."""
    from nlft.train.dev import StopAfter, accuracy_by_epoch
    from nlft.train.loop import check_folder

    home = output / "folds"

    def prepare() -> None:
        check_folder(output, resume=resume, overwrite=overwrite, begun=home.exists())
        if not resume:
            shutil.rmtree(home, ignore_errors=True)

    def train_fold(rest: list[Judged], held_out: list[Judged], folder: Path) -> None:
        _train_once(settings, rest, folder, dev=held_out, resume=True, overwrite=True, source=source)

    processes.first(prepare)
    curve = accuracy_by_epoch(rows, folds, settings.seed, home, train_fold)
    if not curve:
        raise ConfigError("there is no whole epoch to choose", remedy="raise --epochs")
    epochs = curve.index(max(curve)) + 1
    how: dict[str, Any] = {"resume": resume, "overwrite": True, "source": source}
    result = _train_once(settings, rows, output, callbacks=[StopAfter(epochs)], **how)
    return replace(result, dev_accuracy=max(curve), best=f"{epochs} epochs, chosen on {folds} folds")


def _train_once(
    settings: TrainSettings,
    rows: list[Judged],
    output: Path,
    *,
    dev: Sequence[Problem] | None = None,
    callbacks: Sequence[Any] = (),
    **how: Any,
) -> TrainResult:
    from nlft.lm import load_as
    from nlft.train.arguments import NLFTConfig
    from nlft.train.dev import Dev
    from nlft.train.loop import train
    from nlft.train.precision import autocast

    load = settings.model_copy(update={"dtype": "float32"}) if settings.full else settings
    lm = load_as(load, settings.model)  # before DeepSpeed is configured: with whole weights
    measure = None
    if dev is not None:
        grader, longest = settings.grader, settings.max_new_tokens
        measure = Dev(dev, lm, settings.prompt_set(), grader=grader, max_new_tokens=longest)
    config = NLFTConfig(
        objective=settings.objective,
        objective_options=settings.objective_option,
        settings=settings.saliency(),
        scale_schedule=settings.scale_schedule,
        loss_average=settings.loss_average,
        anchor=settings.anchor,
        max_length=settings.max_length,
        score_cache=settings.score_cache,
        marks=settings.marks,
        partial_tokens=settings.partial_tokens,
        bf16=autocast(lm, full=settings.full, dtype=settings.dtype),
        **(_shared(settings, output) | (_evaluations(settings) if dev is not None else {})),
    )
    if settings.objective in ("first-error", "clipped-ratio") and not any(_has_weights(row) for row in rows):
        rows = with_step_weights(rows, lm.tokenizer, marks=settings.marks == "use")
    how |= {"lora": settings.lora, "full": settings.full, "dev": measure, "callbacks": callbacks}
    return train(rows, lm, config, fit_memory=settings.gradient_checkpointing is None, **how)


def _evaluations(settings: TrainSettings) -> dict[str, Any]:
    """When to solve the problems of dev; with a file of them, a checkpoint each time, and the best one at the end."""
    if settings.dev is None:
        return {"eval_strategy": "epoch", "save_strategy": "no"}
    every = settings.dev_every
    strategy = "epoch" if every == "epoch" else "steps"
    steps = {} if every == "epoch" else {"eval_steps": every, "save_steps": every}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy", "greater_is_better": True}
    return {"eval_strategy": strategy, "save_strategy": strategy, **steps, **best}


def _has_weights(row: Judged) -> bool:
    return "token_weights" in (row.model_extra or {})


def _train_reft(settings: TrainSettings, rows: list[Judged], output: Path, **how: Any) -> TrainResult:
    from nlft.lm import load_as
    from nlft.train.precision import autocast
    from nlft.train.reft import train_reft

    if settings.marks == "ignore":
        rows = [row.model_copy(update={"marks": None}) for row in rows]
    lm = load_as(settings, settings.model)
    config = _reft_config(settings, output, bf16=autocast(lm, full=False, dtype=settings.dtype))
    return train_reft(rows, lm, config, lora=settings.lora, **how)


def _reft_config(settings: TrainSettings, output: Path, *, bf16: bool) -> Any:
    from nlft.train.reft import ReFTConfig

    return ReFTConfig(
        warm_up_epochs=settings.warm_up_epochs,
        warm_up_learning_rate=settings.warm_up_learning_rate,
        warm_up_batch_size=settings.warm_up_batch_size,
        warm_up_schedule=settings.warm_up_schedule,
        max_length=settings.max_length,
        num_iterations=settings.ppo_epochs,
        kl_coefficient=settings.kl_coefficient,
        max_completion_length=settings.max_new_tokens,
        grader=settings.grader,
        bf16=bf16,
        **_shared(settings, output),
    )


def _shared(settings: TrainSettings, output: Path) -> dict[str, Any]:
    """The settings under transformers' names, the same for both trainers."""
    from nlft.lm.load import pick_device

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
        "report_to": settings.report_to,
        "activation_checkpointing": bool(settings.gradient_checkpointing),
        "seed": settings.seed,
        "save_strategy": "steps" if settings.save_steps else "epoch",
        "save_steps": settings.save_steps or 500,
        "save_total_limit": settings.keep_checkpoints,
        "use_cpu": pick_device(settings.device).type == "cpu",
        **{name: value for name, value in given.items() if value is not None},
    }
