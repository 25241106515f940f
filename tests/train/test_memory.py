"""What a step needs: counted on a short pass, held against a real step; and what follows if that is too much."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nlft.lm import load_model
from nlft.train import NLFTTrainer, lora_config, memory
from nlft.train.config import TrainSettings
from nlft.train.dataset import collate
from train.tiny_train import ROWS, config


@pytest.fixture
def trainer(world: Path, tmp_path: Path) -> NLFTTrainer:
    lm = load_model(str(world / "model"), dtype="float32", device="cpu")
    return NLFTTrainer(
        lm.model, config(tmp_path), ROWS, peft_config=lora_config(lm.model), processing_class=lm.tokenizer
    )


def test_the_estimate_holds_what_a_real_step_keeps(trainer: NLFTTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "RESERVE", 1.0)
    monkeypatch.setattr(memory, "CHUNKS", 0)
    state = torch.get_rng_state()
    estimate = memory.step_bytes(trainer)
    assert torch.equal(state, torch.get_rng_state())  # the run's dropout is as without it
    weights = {p.untyped_storage()._cdata for p in trainer.model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    trainer.model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer.compute_loss(trainer.model, collate(trainer.train_dataset.examples))
    measured = sum(storage.nbytes() for key, storage in kept.items() if key not in weights)
    trained = 3 * 4 * sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    assert 0.8 * measured < estimate - trained < 1.5 * measured


def test_a_layer_more_keeps_as_much_more(world: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    found = []
    for layers in (1, 2, 3):
        settings = AutoConfig.from_pretrained(world / "model", num_hidden_layers=layers)
        found.append(memory.bytes_per_token(AutoModelForCausalLM.from_config(settings)))
    assert found[2] - found[1] == found[1] - found[0] > 0


@pytest.mark.parametrize(("free", "on"), [(900e6, True), (1100e6, False)])
def test_checkpointing_turns_itself_on_where_a_step_does_not_fit(
    free: float, on: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "step_bytes", lambda trainer: 1e9)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(8e9)))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    args: Any = SimpleNamespace(device=torch.device("cuda"), world_size=1, activation_checkpointing=False)
    with caplog.at_level(logging.WARNING, logger="nlft"):
        memory.fit(SimpleNamespace(args=args))  # type: ignore[arg-type]
    assert args.activation_checkpointing is on
    assert ("activation checkpointing is on" in caplog.text) is on
    args = SimpleNamespace(device=torch.device("cuda"), world_size=2, activation_checkpointing=False)
    memory.fit(SimpleNamespace(args=args))  # type: ignore[arg-type]
    assert args.activation_checkpointing is False


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
