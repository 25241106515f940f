"""Averages of the trained weights over the steps of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from nlft import processes
from nlft.errors import ConfigError, DataError

FILE = "average.safetensors"


class WeightAverage(TrainerCallback):  # type: ignore[misc]
    """At the end of a run, the trained weights become their average over its steps.

    After the k-th step that counts: average += (weights - average) max(1/k, 1 - decay). With a decay that is the mean of
    the first 1 / (1 - decay) steps, then an exponential average; without one, the mean.

    Checkpoints hold the weights themselves, and the average beside them, so that a resumed run goes on with both. Of
    an adapter, A and B are averaged, each for itself.

    Args:
        kind: The decay, between 0 and 1; or "last-third", for the mean over the last third of the steps.
    """

    def __init__(self, kind: float | Literal["last-third"]) -> None:
        self.kind = kind
        self.first = self.count = 0
        self.average: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Find the first step that counts, and what a resumed run has averaged.

        Raises:
            ConfigError: for sharded weights.
            DataError: for a checkpoint without the average.
        """
        self.first = 1 if self.kind != "last-third" else state.max_steps * 2 // 3 + 1
        self.average, self.count = {}, max(0, state.global_step - self.first + 1)
        weights = _trained(model)
        if any(isinstance(each, DTensor) or hasattr(each, "ds_id") for each in weights.values()):
            raise ConfigError("sharded weights are not averaged", remedy="use DDP, or drop --average")
        if self.count:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE
            if not path.exists():
                raise DataError(
                    "the checkpoint holds no average of the weights", file=path, remedy="start the run again"
                )
            stored = load_file(path)
            self.average = {name: stored[name].to(weight.device) for name, weight in weights.items()}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Count the step, if it is time."""
        if state.global_step < self.first:
            return
        self.count += 1
        share = max(1 / self.count, 0.0 if self.kind == "last-third" else 1 - float(self.kind))
        with torch.no_grad():
            for name, weight in _trained(model).items():
                if name not in self.average:
                    self.average[name] = torch.zeros_like(weight, dtype=torch.float32)
                self.average[name].lerp_(weight.float(), share)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the average into the checkpoint."""
        if self.average and processes.leads():
            save_file(self.average, Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take the average for the weights."""
        with torch.no_grad():
            for name, weight in _trained(model).items():
                if name in self.average:
                    weight.copy_(self.average[name])


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}
