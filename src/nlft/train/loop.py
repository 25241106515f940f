"""The train stage: from judged rows to an adapter and its metrics."""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from nlft import processes
from nlft.adapter import Source
from nlft.errors import ConfigError, DataError
from nlft.lm.load import LanguageModel
from nlft.lm.quiet import quiet
from nlft.progress import Progress, progress
from nlft.records import Judged
from nlft.train.arguments import NLFTConfig
from nlft.train.dev import Dev
from nlft.train.lora import FirstAdapter, lora_config, quantized
from nlft.train.memory import fit
from nlft.train.summary import TrainResult, begin_run, train_settings, write_summary
from nlft.train.trainer import NLFTTrainer

logger = logging.getLogger("nlft")

# What transformers writes into a checkpoint last, and the optimiser's state before it: plain, FSDP's two forms, DeepSpeed's.
LAST_FILE = "trainer_state.json"
OPTIMIZER_STATES = {"optimizer.pt", "optimizer.bin", "optimizer_0", "latest"}
# The files of a finished run.
FINISHED_FILES = ("adapter_config.json", "model.safetensors", "train.json")
SMALLEST_CHECKPOINT = 1 << 20  # with less free space, a failed write means a full disk


def train(
    rows: Sequence[Judged],
    lm: LanguageModel,
    config: NLFTConfig,
    *,
    lora: dict[str, Any] | None = None,
    full: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    source: Source | None = None,
    fit_memory: bool = False,
    dev: Dev | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainResult:
    """Train and save; each logged step adds a line to `metrics.jsonl`.

    Args:
        rows: The output of `nlft judge`.
        lm: The model; its weights stay unchanged unless `full`.
        config: The trainer's settings; everything goes to its `output_dir`.
        lora: Arguments for `lora_config`.
        full: Train all weights, without an adapter.
        resume: Resume from the last checkpoint in the folder; start afresh if there is none.
        overwrite: Accept a folder that holds a finished run.
        source: For the record, the file of the rows and the settings in the user's words.
        fit_memory: Turn on activation checkpointing if a step would not fit the GPU without it.
        dev: Problems to solve when `config` says to evaluate.
        callbacks: transformers' callbacks.

    Raises:
        DataError: for unusable rows, a folder that holds another run, a resumed run whose data, prompts, template or
            settings have changed, or a full disk.
    """
    processes.first(lambda: check_folder(Path(config.output_dir), resume=resume, overwrite=overwrite))
    start = time.perf_counter()
    with quiet():
        trainer = make_trainer(rows, lm, config, lora=lora, full=full, dev=dev, callbacks=list(callbacks))
    if fit_memory:
        fit(trainer, lora=None if full else lora or {}, quantization=quantized(lm.model))
    own = train_settings(trainer)
    told = begin_run(rows, lm, config, source, {**own, "lora": lora or {}, "full": full}, resume=resume)
    result = run_trainer(trainer, start=start, resume=resume)
    write_summary(result, trainer, own, told)
    excluded = [row["excluded"] for row in trainer.state.log_history if "excluded" in row]
    if excluded and min(excluded) >= 1:
        logger.warning("the filter excluded every row at every step: nothing was trained (see filter_threshold)")
    return result


def make_trainer(
    rows: Sequence[Judged],
    lm: LanguageModel,
    config: NLFTConfig,
    *,
    lora: dict[str, Any] | None = None,
    full: bool = False,
    **kwargs: Any,
) -> NLFTTrainer:
    """The trainer for these rows, with a new adapter unless `full`; further arguments are the trainer's."""
    return NLFTTrainer(
        model=lm.model,
        args=config,
        train_dataset=rows,
        peft_config=None if full else lora_config(lm.model, **(lora or {})),
        full=full,
        processing_class=lm.tokenizer,
        **kwargs,
    )


def run_trainer(trainer: Any, *, start: float, resume: bool = False, label: str = "training") -> TrainResult:
    """Run any trainer to its end and save the result in its output folder.

    Args:
        trainer: A `transformers.Trainer`.
        start: When its work began (`time.perf_counter`).
        resume: Resume from the last checkpoint in the folder; start afresh if there is none.
        label: Its label in the progress bar.

    Raises:
        DataError: for a full disk.
    """
    folder = Path(trainer.args.output_dir)
    checkpoint = processes.first(lambda: _last_checkpoint(folder) if resume else clear_folder(folder))
    _check_kind(trainer, checkpoint)
    first = FirstAdapter(trainer)
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if processes.leads():
        trainer.add_callback(_Metrics(folder / "metrics.jsonl", fresh=checkpoint is None))
    trainer.add_callback(bar := _Bar(label))
    try:
        with bar:
            output = trainer.train(resume_from_checkpoint=checkpoint)
        if trainer.is_fsdp_enabled:  # in whatever pieces its checkpoints are, the result is whole
            trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
        trainer.save_model(str(folder))
        first.convert()
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors report a full disk with their own errors, which do not mention a disk.
        if not isinstance(error, OSError) and shutil.disk_usage(folder).free > SMALLEST_CHECKPOINT:
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no space left on the disk"
        raise DataError(
            f"cannot write: {why}; {_kept(folder)}",
            file=folder,
            remedy="free some disk space, then re-run with --resume",
        ) from error
    except KeyboardInterrupt:
        if processes.leads():
            print(f"{label} interrupted; {_kept(folder)}", file=sys.stderr)
        raise
    best = trainer.state.best_metric
    return TrainResult(
        folder=folder,
        steps=trainer.state.global_step,
        rows=len(trainer.train_dataset),
        loss=float(output.training_loss),
        seconds=time.perf_counter() - start,
        trainable=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        dev_accuracy=best,
        best=f"step {trainer.state.best_global_step}" if best is not None else None,
    )


def check_folder(folder: Path, *, resume: bool, overwrite: bool, begun: bool = False) -> None:
    """Reject a folder that holds another run, finished or `begun`, unless it is resumed or overwritten.

    Raises:
        DataError: if the folder holds another run.
        ConfigError: if it is a file.
    """
    if folder.is_file():
        raise ConfigError("this is a file, not a folder", file=folder, remedy="choose another -o")
    finished = any((folder / name).exists() for name in FINISHED_FILES)
    begun = begun or _last_checkpoint(folder) is not None
    if (finished or begun) and not (resume or overwrite):
        raise DataError(
            "the folder holds a finished run" if finished else "the folder holds an interrupted run",
            file=folder,
            remedy="choose another -o, or add " + ("--overwrite" if finished else "--resume (or --overwrite)"),
        )


def _last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; skips one truncated by a full disk or a kill."""
    if not folder.is_dir():
        return None
    kept = {path: {each.name for each in path.iterdir()} for path in folder.glob("checkpoint-*/")}
    found = [path for path, names in kept.items() if LAST_FILE in names and names & OPTIMIZER_STATES]
    steps = [path for path in found if path.name.removeprefix("checkpoint-").isdigit()]
    return str(max(steps, key=lambda path: int(path.name.removeprefix("checkpoint-")))) if steps else None


def _check_kind(trainer: Any, checkpoint: str | None) -> None:
    """Refuse to go on under FSDP from what was written without it, or the other way round.

    Raises:
        DataError: for a checkpoint of the other kind.
    """
    if checkpoint is None:
        return
    written = any(Path(checkpoint).glob("pytorch_model_fsdp*"))
    if written != trainer.is_fsdp_enabled:
        raise DataError(
            f"this checkpoint was written with{'' if written else 'out'} FSDP",
            file=checkpoint,
            remedy=f"resume with{'' if written else 'out'} FSDP; the number of processes may differ",
        )


def clear_folder(folder: Path) -> None:
    """Remove another run's files, or a later --resume would continue from its checkpoint."""
    clear_checkpoints(folder)
    for name in FINISHED_FILES:
        (folder / name).unlink(missing_ok=True)


def clear_checkpoints(folder: Path) -> None:
    """Remove all checkpoints."""
    for checkpoint in folder.glob("checkpoint-[0-9]*/"):
        shutil.rmtree(checkpoint)


def _kept(folder: Path) -> str:
    last = _last_checkpoint(folder)
    return f"{Path(last).name} is kept" if last else "no checkpoint was written yet"


class _Metrics(TrainerCallback):  # type: ignore[misc]
    """Append the trainer's logs, one JSON line per step; a resumed run drops the lines it repeats.

    `seconds` of a line is the training time up to it, over all resumed parts.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path, self.fresh = path, fresh
        self.start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        if not self.fresh and self.path.exists():
            lines = [x for x in self.path.read_text("utf-8").splitlines() if _step(x) <= state.global_step]
        self.path.write_text("".join(line + "\n" for line in lines), "utf-8")
        self.start = time.perf_counter() - (json.loads(lines[-1]).get("seconds", 0.0) if lines else 0.0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        row = {"step": state.global_step, "epoch": state.epoch, "seconds": time.perf_counter() - self.start}
        row.update(logs or {})
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _step(line: str) -> float:
    """A line's step; infinite for a line truncated by a kill or a full disk."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf


class _Bar(TrainerCallback):  # type: ignore[misc]
    def __init__(self, label: str) -> None:
        self.label = label
        self.context: Any = None
        self.bar: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.context = progress(self.label, state.max_steps - state.global_step)
        self.bar = self.context.__enter__()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if self.bar is not None and logs and "loss" in logs:
            self.bar.note(f"loss {logs['loss']:.3f}")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.advance()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.context is not None:
            self.context.__exit__(*error)
            self.context = None
