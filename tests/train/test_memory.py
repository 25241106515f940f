"""What follows if a step does not fit the GPU; what one takes is in test_dry_run.py."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.train.test_trainer import trainer_for
from tests.train.tiny_train import ROWS

from nlft.errors import ConfigError
from nlft.train import memory
from nlft.train.config import TrainSettings


def test_what_is_needed_is_what_the_longest_rows_take(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sft", per_device_train_batch_size=2)
    state = torch.get_rng_state()
    found = memory.needed(made, lora={})
    assert torch.equal(state, torch.get_rng_state())  # the run's dropout is as without it
    rows = sorted(made.train_dataset.examples, key=lambda example: -example.longest)[:2]
    done = memory.rehearse(str(folder), rows, made.objective, dtype=torch.float32, lora={})
    assert found == done.optimizer + memory.SPARE["cpu"] * done.step
    cuda = memory.rehearse(str(folder), rows, made.objective, dtype=torch.float32, lora={}, device=torch.device("cuda"))
    assert cuda.step >= done.step  # a GPU's chunks of logits are larger


@pytest.mark.parametrize(("free", "on"), [(900e6, True), (1100e6, False)])
def test_checkpointing_turns_itself_on_where_a_step_does_not_fit(
    free: float, on: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "needed", lambda trainer, lora: 1e9)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(8e9)))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    args: Any = SimpleNamespace(device=torch.device("cuda"), world_size=1, activation_checkpointing=False)
    with caplog.at_level(logging.WARNING, logger="nlft"):
        memory.fit(SimpleNamespace(args=args), lora={})  # type: ignore[arg-type]
    assert args.activation_checkpointing is on
    assert ("activation checkpointing is on" in caplog.text) is on
    args = SimpleNamespace(device=torch.device("cuda"), world_size=2, activation_checkpointing=False)
    memory.fit(SimpleNamespace(args=args), lora={})  # type: ignore[arg-type]
    assert args.activation_checkpointing is False


def test_a_model_that_cannot_be_counted_is_trained_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(trainer: Any, lora: Any) -> float:
        raise ConfigError("this model cannot be rehearsed")

    monkeypatch.setattr(memory, "needed", refuses)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(8e9), int(8e9)))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    args: Any = SimpleNamespace(device=torch.device("cuda"), world_size=1, activation_checkpointing=False)
    memory.fit(SimpleNamespace(args=args), lora={})  # type: ignore[arg-type]
    assert args.activation_checkpointing is False
    assert "not known whether a step fits the GPU's memory: this model cannot be rehearsed" in caplog.text


def test_the_setting_decides_if_it_is_given(world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nlft.train.loop
    from nlft.train.step import train_rows

    asked: list[tuple[bool, bool]] = []

    def train(rows: Any, lm: Any, given: Any, *, fit_memory: bool, **_: Any) -> None:
        asked.append((given.activation_checkpointing, fit_memory))

    monkeypatch.setattr(nlft.train.loop, "train", train)
    for value in (None, True, False):
        settings = TrainSettings(model=str(world / "model"), device="cpu", gradient_checkpointing=value)
        train_rows(settings, ROWS, tmp_path)
    assert asked == [(False, True), (True, False), (False, False)]
