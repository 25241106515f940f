"""A step never waits for the device to hand over a number, but once for the walks of all its rows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nlft.lm import load_model
from nlft.train import NLFTTrainer, lora_config
from nlft.train.dataset import collate
from train.tiny_train import ROWS, config, stir


class Readings(TorchDispatchMode):
    """Counts what makes the host wait: a number read (`item`, `bool`, `float`), and a tensor fetched by `cpu`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.numbers = self.fetched = 0
        fetch = torch.Tensor.cpu

        def counted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.fetched += 1
            return fetch(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, "cpu", counted)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.numbers += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("objective", "schedule", "fetched"),
    [("nlft", "step", 1), ("nlft", "once", 0), ("sft", "step", 0), ("cut", "step", 0), ("sdft", "step", 0)],
)
def test_a_step_reads_the_device_at_most_once(
    objective: str, schedule: str, fetched: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load_model(str(world / "model"), dtype="float32", device="cpu")
    trainer = NLFTTrainer(
        lm.model, config(tmp_path, objective=objective, scale_schedule=schedule), ROWS,
        peft_config=lora_config(lm.model, lora_dropout=0.0), processing_class=lm.tokenizer,
    )  # fmt: skip
    stir(trainer.model)
    trainer.model.train()
    batch = collate(trainer.train_dataset.examples)
    trainer.compute_loss(trainer.model, batch)  # scales of `once` are computed on first use
    with Readings(monkeypatch) as readings:
        trainer.compute_loss(trainer.model, batch).backward()
    assert (readings.numbers, readings.fetched) == (0, fetched)
