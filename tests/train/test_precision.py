"""All weights are trained in float32, whatever the passes compute in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny_train import ROWS, config

from nlft.errors import ConfigError
from nlft.lm import load_model
from nlft.records import write_records
from nlft.train import NLFTTrainer
from nlft.train.config import TrainSettings
from nlft.train.step import run


def test_masters_are_float32_under_bfloat16_autocast(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every weight moves; in bfloat16 itself, at this learning rate, most would stay where they are."""
    monkeypatch.setattr("nlft.lm.load._cpu_computes_bfloat16", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    seen: dict[str, set[torch.dtype]] = {"weights": set(), "gradients": set(), "state": set(), "products": set()}
    started: dict[str, torch.Tensor] = {}
    ended: dict[str, torch.Tensor] = {}
    original = NLFTTrainer.training_step

    def watched(self: Any, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not started:
            started.update({name: p.detach().clone() for name, p in model.named_parameters()})
            layer = self.accelerator.unwrap_model(model).model.layers[0].mlp.up_proj
            layer.register_forward_hook(lambda module, inputs, output: seen["products"].add(output.dtype))
        loss = original(self, model, *args, **kwargs)
        seen["weights"] |= {p.dtype for p in model.parameters()}
        seen["gradients"] |= {p.grad.dtype for p in model.parameters() if p.grad is not None}
        states = self.optimizer.state.values()
        seen["state"] |= {each.dtype for state in states for each in state.values() if each.ndim}
        ended.update(model.named_parameters())
        return loss

    monkeypatch.setattr(NLFTTrainer, "training_step", watched)
    write_records(tmp_path / "rows.jsonl", ROWS)
    settings = TrainSettings(
        model=str(folder), prompts="short", full=True, objective="sft", max_steps=4, learning_rate=1e-5
    )
    run(settings, tmp_path / "rows.jsonl", tmp_path / "out")
    exact = {torch.float32}
    assert seen == {"weights": exact, "gradients": exact, "state": exact, "products": {torch.bfloat16}}
    # The embeddings of tokens that never came have no gradient.
    matrices = [name for name, weight in started.items() if weight.ndim == 2 and "embed" not in name]
    moved = torch.cat([(ended[name] != started[name]).flatten() for name in matrices])
    assert moved.float().mean() > 0.99
    halves = torch.cat([(ended[name].bfloat16() != started[name].bfloat16()).flatten() for name in matrices])
    assert halves.float().mean() < 0.1


@pytest.mark.parametrize("objective", ["nlft", "cut"])
def test_autocast_moves_the_loss_by_rounding_only(folder: Path, tmp_path: Path, objective: str) -> None:
    """Every path, the packed attention and the head included, runs under autocast."""
    losses = []
    for bf16 in (False, True):
        lm = load_model(str(folder), dtype="float32", device="cpu")
        settings = config(tmp_path, objective=objective, bf16=bf16, max_steps=2, learning_rate=1e-4)
        made = NLFTTrainer(lm.model, settings, ROWS, processing_class=lm.tokenizer)
        made.train()
        losses.append([row["loss"] for row in made.state.log_history if "loss" in row])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_model_in_half_precision_is_refused(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="bfloat16", device="cpu")
    with pytest.raises(ConfigError, match="bfloat16 weights would not learn") as refused:
        NLFTTrainer(lm.model, config(tmp_path, objective="sft"), ROWS, processing_class=lm.tokenizer)
    assert 'dtype="float32"' in str(refused.value)
