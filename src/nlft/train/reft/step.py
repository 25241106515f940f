"""The stage: a warm-up, then PPO; from rows to one adapter of the original model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlft import processes
from nlft.adapter import Source
from nlft.errors import ConfigError, DataError
from nlft.lm.load import LanguageModel
from nlft.lm.quiet import quiet
from nlft.provenance import digest
from nlft.records import Judged
from nlft.train.arguments import NLFTConfig
from nlft.train.loop import check_folder, clear_checkpoints, clear_folder, make_trainer, run_trainer
from nlft.train.lora import changes_base, lora_config, prepared
from nlft.train.reft.config import ReFTConfig
from nlft.train.reft.reward import check_references
from nlft.train.reft.trainer import ReFTTrainer
from nlft.train.summary import TrainResult, begin_run, train_settings, write_summary

WARM_UP = "warm-up"


def train_reft(
    rows: Sequence[Judged],
    lm: LanguageModel,
    config: ReFTConfig,
    *,
    lora: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    source: Source | None = None,
) -> TrainResult:
    """SFT on the correct rows, then PPO on the questions of all rows, both on one adapter.

    The folder gets the files of `nlft.train.train`, the value head, and the warm-up's own run in `warm-up`.

    Args:
        rows: The output of `nlft judge`. The warm-up uses the correct responses (or the references, see
            `ReFTConfig.target`), PPO the questions with their references as the answer key.
        lm: The model; its weights stay unchanged.
        config: The settings; everything goes to its `output_dir`; its epochs and steps are PPO's.
        lora: Arguments for `lora_config`.
        resume: Resume from the last checkpoint of either phase.
        overwrite: Accept a folder that holds a finished run.
        source: As for `nlft.train.train`.

    Raises:
        DataError: as `nlft.train.train`; for rows with `weights` or `marks`, which say nothing of what PPO samples.
    """
    _refuse_words(rows)
    if changes_base(lora_config(lm.model, **(lora or {}))):
        raise ConfigError(
            "reft's two phases share the untouched model, which this init_lora_weights changes",
            remedy="choose another initialisation",
        )
    folder = Path(config.output_dir)
    warm_up = folder / WARM_UP
    check_references(rows, config.grader)
    start = time.perf_counter()

    def prepare() -> None:
        check_folder(folder, resume=resume, overwrite=overwrite, begun=warm_up.exists())
        if not resume:
            clear_folder(folder)
            shutil.rmtree(warm_up, ignore_errors=True)

    processes.first(prepare)
    own = _settings(config, rows)
    told = begin_run(rows, lm, config, source, {**own, "lora": lora or {}}, resume=resume)
    policy = _warmed_up(rows, lm, config, warm_up, lora, resume=resume)
    with quiet():
        trainer = ReFTTrainer(policy, config, rows, processing_class=lm.tokenizer)
    result = run_trainer(trainer, start=start, resume=resume, label="PPO")
    write_summary(result, trainer, own, told)
    return result


def _refuse_words(rows: Sequence[Judged]) -> None:
    for row in rows:
        for column in ("weights", "marks"):
            if (row.model_extra or {}).get(column):
                told = f"row {row.id!r} has {column}, but reft trains on responses that it samples itself"
                remedy = (
                    "set marks to ignore" if column == "marks" else "leave `weights` out, or choose another objective"
                )
                raise DataError(told, remedy=remedy)


def _warmed_up(
    rows: Sequence[Judged],
    lm: LanguageModel,
    config: ReFTConfig,
    folder: Path,
    lora: dict[str, Any] | None,
    *,
    resume: bool,
) -> Any:
    """The model with the warm-up's adapter; runs or finishes the warm-up first if needed."""
    from peft import PeftModel

    if not processes.first((folder / "train.json").exists):
        chosen = [row for row in rows if config.target == "reference" or row.verdict.correct]
        if not chosen:
            raise DataError(
                "no response is correct, so the warm-up has nothing to train on", remedy="set target to reference"
            )
        with quiet():
            trainer = make_trainer(chosen, lm, _warm_up_config(config, folder), lora=lora)
        own = train_settings(trainer)
        told = begin_run(chosen, lm, trainer.args, None, own, resume=resume)
        result = run_trainer(trainer, start=time.perf_counter(), resume=resume, label="warm-up")
        write_summary(result, trainer, own, told)
        processes.first(lambda: clear_checkpoints(folder))
        trainer.model.unload()
    # Always load it from its file, so that a run resumed here starts from the same numbers as an uninterrupted one.
    with quiet():
        policy = PeftModel.from_pretrained(prepared(lm.model), str(folder), is_trainable=True)
    # Its folder names no path; PEFT would look on the hub for what it names.
    policy.peft_config["default"].base_model_name_or_path = lm.model.name_or_path
    return policy


def _warm_up_config(config: ReFTConfig, folder: Path) -> NLFTConfig:
    """SFT under the settings that both phases share."""
    shared = (
        "prompts", "system", "target", "seed", "use_cpu", "gradient_accumulation_steps", "weight_decay",
        "max_grad_norm", "activation_checkpointing", "disable_tqdm", "bf16",
    )  # fmt: skip
    return NLFTConfig(
        output_dir=str(folder),
        objective="sft",
        num_train_epochs=config.warm_up_epochs,
        learning_rate=config.warm_up_learning_rate,
        lr_scheduler_type=config.warm_up_schedule,
        warmup_steps=config.warm_up_warmup,
        per_device_train_batch_size=config.warm_up_batch_size or config.per_device_train_batch_size,
        save_strategy="epoch",
        save_total_limit=1,
        **{name: getattr(config, name) for name in shared},
    )


def _settings(args: ReFTConfig, rows: Sequence[Judged]) -> dict[str, Any]:
    """What `train.json` records in addition to the fields of every run."""
    own = (
        "kl_coefficient", "gamma", "gae_lambda", "epsilon", "value_clip", "value_coefficient", "num_iterations",
        "partial_reward", "grader", "warm_up_epochs", "warm_up_learning_rate", "warm_up_batch_size",
        "warm_up_schedule", "max_completion_length", "max_length",
    )  # fmt: skip
    data = digest([[row.id, row.question, row.reference, row.response] for row in rows])
    return {"objective": "reft", **{name: getattr(args, name) for name in own}, "data": data}
