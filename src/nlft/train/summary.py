"""What a run leaves in its folder besides weights: what it was told, what came of it, and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlft import processes
from nlft.adapter import Source, Told, begin, finish, write_card
from nlft.adapter.record import SUMMARY
from nlft.files import write_lines
from nlft.lm.load import LanguageModel
from nlft.prompts import load_prompts
from nlft.provenance import digest, peak_memory_mb, provenance
from nlft.records import Judged
from nlft.train.average import WeightAverage
from nlft.train.lora import quantized
from nlft.train.trainer import NLFTTrainer

SHARED_SETTINGS = (
    "target", "seed", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "max_steps",
)  # fmt: skip
# The other arguments that decide what is learnt; all of them are on record for a caller who gives none of his own.
DECISIVE = (*SHARED_SETTINGS, "warmup_steps", "lr_scheduler_type", "weight_decay", "max_grad_norm", "optim")


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        folder: Holds the adapter (or model), `metrics.jsonl` and checkpoints.
        steps: Total optimiser steps.
        rows: Number of training rows.
        loss: The mean loss over the run.
        seconds: Wall-clock time of this call.
        trainable: Number of trained parameters.
        dev_accuracy: The share of the dev problems that the kept checkpoint solves, if there are any.
        best: Where it was in the training, in words.
    """

    folder: Path
    steps: int
    rows: int
    loss: float
    seconds: float
    trainable: int
    dev_accuracy: float | None = None
    best: str | None = None


def begin_run(
    rows: Sequence[Judged], lm: LanguageModel, args: Any, source: Source | None, own: Mapping[str, Any], *, resume: bool
) -> Told:
    """Put on record what a run is told, or check that a resumed one is told the same.

    Args:
        rows: The training rows.
        lm: The untrained model.
        args: The trainer's arguments.
        source: The run's settings in the user's words; by default, those in `args` and `own`.
        own: What `args` do not hold.
        resume: Whether the run goes on from an earlier one.

    Raises:
        DataError: where a resumed run is told something else.
    """
    prompts = load_prompts(args.prompts, system=args.system)
    kept = {**{name: getattr(args, name) for name in DECISIVE}, **own}
    told = Told.of(
        rows,
        source or Source(settings={name: value for name, value in kept.items() if name != "data"}),
        model=lm.name,
        quantization=quantized(lm.model),
        prompts=prompts,
        chat_template=lm.tokenizer.chat_template,
    )
    processes.first(lambda: begin(Path(args.output_dir), told, prompts, resume=resume))
    return told


def train_settings(trainer: NLFTTrainer) -> dict[str, Any]:
    """What `train.json` records of an objective's run, in addition to the fields of every run."""
    args = trainer.args
    return {
        **{
            name: getattr(args, name)
            for name in ("objective", "objective_options", "scale_schedule", "loss_average", "anchor")
        },
        "average": next((c.kind for c in trainer.callback_handler.callbacks if isinstance(c, WeightAverage)), None),
        "settings": args.saliency().to_mapping(),
        "data": digest([repr(example) for example in trainer.train_dataset.examples]),
    }


def write_summary(result: TrainResult, trainer: Any, own: Mapping[str, Any], told: Told) -> None:
    """Write `train.json` and the model card, and make the folder fit to be handed over; the leading process does.

    Args:
        result: The run's result.
        trainer: A trainer with a `prompt_set`.
        own: The objective, a hash of its data, and its own settings.
        told: What `begin_run` put on record.
    """
    if not processes.leads():
        return
    device = str(trainer.model.device)
    row = {
        **own,
        **{name: getattr(trainer.args, name) for name in SHARED_SETTINGS},
        "chat_template": digest(trainer.processing_class.chat_template),
        "processes": processes.count(),
        "prompts": digest(trainer.prompt_set.model_dump(mode="json")),
        "rows": result.rows,
        "steps": result.steps,
        "loss": result.loss,
        "seconds": result.seconds,
        "trainable": result.trainable,
        "dev_accuracy": result.dev_accuracy,
        "best": result.best,
        "peak_memory_mb": peak_memory_mb(device),
        "provenance": provenance(device).model_dump(mode="json"),
    }
    finish(result.folder, told.base_model)
    write_lines(result.folder / SUMMARY, [json.dumps(row, indent=1)])
    write_card(result.folder)
