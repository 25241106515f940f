"""`train.json`: what you need to reproduce the adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlft import processes
from nlft.provenance import digest, peak_memory_mb, provenance
from nlft.records import write_lines
from nlft.train.trainer import NLFTTrainer

SHARED_SETTINGS = (
    "target", "seed", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "max_steps",
)  # fmt: skip


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
    """

    folder: Path
    steps: int
    rows: int
    loss: float
    seconds: float
    trainable: int


def train_settings(trainer: NLFTTrainer) -> dict[str, Any]:
    """What `train.json` records of an objective's run, in addition to the fields of every run."""
    args = trainer.args
    return {
        **{name: getattr(args, name) for name in ("objective", "objective_options", "scale_schedule", "loss_average")},
        "settings": args.saliency().to_mapping(),
        "data": digest([repr(example) for example in trainer.train_dataset.examples]),
    }


def write_summary(result: TrainResult, trainer: Any, own: Mapping[str, Any]) -> None:
    """Write `train.json` into the run's folder; only the leading process does.

    Args:
        result: The run's result.
        trainer: A trainer with a `prompt_set`.
        own: The objective, a hash of its data, and its own settings.
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
        "peak_memory_mb": peak_memory_mb(device),
        "provenance": provenance(device).model_dump(mode="json"),
    }
    write_lines(result.folder / "train.json", [json.dumps(row, indent=1)])
