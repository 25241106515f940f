"""The anchor against a naive twin, and averages of weights against the weights of every step."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_trainer import gradients, same, trainer_for
from tests.train.tiny_train import ROWS, config

from nlft.errors import ConfigError, DataError
from nlft.lm import load_model
from nlft.lm.logprobs import path_logprobs, share_prefixes
from nlft.train import NLFTTrainer, lora_config, train
from nlft.train.average import FILE, WeightAverage


def naive(made: NLFTTrainer, objective: dict[str, float], beta: float) -> torch.Tensor:
    """Each row's own loss, and beta times the mean of its tokens' KL, from full logits, row by row."""
    total = torch.zeros(())
    for example in made.train_dataset.examples:
        ids, start = torch.tensor([example.base.tokens]), len(example.base.prompt) - 1
        logp = torch.log_softmax(made.model(ids).logits[0, start:-1], -1)
        with made.model.disable_adapter(), torch.no_grad():
            logq = torch.log_softmax(made.model(ids).logits[0, start:-1], -1)
        kl = torch.nn.functional.kl_div(logq, logp, reduction="none", log_target=True).sum(-1)
        total = total + (objective[example.id] + beta * kl.mean()) / len(ROWS)
    return total


@pytest.mark.parametrize("shared", [True, False])
def test_the_anchor_is_the_divergence_from_the_untouched_model(folder: Path, tmp_path: Path, shared: bool) -> None:
    """Under every objective it is the same term: here under one whose own loss has no gradient."""
    made = trainer_for(folder, tmp_path, objective="token-weights", rows=zero_weights(folder, tmp_path), anchor=0.7)
    share_prefixes(made.model, shared)
    found, gradient = gradients(made, [[0, 1, 2, 3]])
    made.model.zero_grad()
    expected = naive(made, dict.fromkeys("abcd", 0.0), 0.7)
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), rel=1e-4)
    assert found > 0.01
    same(gradient, {n: p.grad for n, p in made.model.named_parameters() if p.grad is not None}, 1e-3)


def zero_weights(folder: Path, tmp_path: Path) -> list[Any]:
    plain = trainer_for(folder, tmp_path, objective="sft").train_dataset.examples
    return [
        row.model_copy(update={"token_weights": [0.0] * len(example.response)})
        for row, example in zip(ROWS, plain, strict=True)
    ]


@pytest.mark.parametrize("objective", ["nlft", "sft", "cut", "sdft"])
def test_it_is_added_to_any_objective_and_accumulates(folder: Path, tmp_path: Path, objective: str) -> None:
    plain, anchored = (trainer_for(folder, tmp_path, objective=objective, anchor=beta) for beta in (0.0, 2.0))
    alone, _ = gradients(plain, [[0, 1, 2, 3]])
    whole, gradient = gradients(anchored, [[0, 1, 2, 3]])
    with torch.no_grad():
        paths = [example.base for example in anchored.train_dataset.examples]
        apart = [each.divergence.mean() for each in path_logprobs(anchored.model, paths, anchored=[True] * 4)[0]]
    assert whole == pytest.approx(alone + 2.0 * float(torch.stack(apart).mean()), rel=1e-4)
    for batches in ([[0], [1], [2], [3]], [[0, 1, 2], [3]]):
        found, accumulated = gradients(anchored, batches)
        assert found == pytest.approx(whole, rel=1e-5)
        same(accumulated, gradient, 1e-4)


def test_an_untrained_adapter_is_not_drawn_anywhere(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sft", anchor=1.0)
    for name, parameter in made.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    plain = trainer_for(folder, tmp_path, objective="sft")
    plain.model.load_state_dict(made.model.state_dict())
    found, gradient = gradients(made, [[0, 1, 2, 3]])
    expected, without = gradients(plain, [[0, 1, 2, 3]])
    assert found == pytest.approx(expected, rel=1e-6)
    same(gradient, without, 1e-4)


def test_excluded_rows_are_anchored_too(folder: Path, tmp_path: Path) -> None:
    """With stored scales they would not be run otherwise."""
    settings = {"filter_threshold": 1e-9, "p0_incorrect": 0.0, "r0": 1e-9}
    step, once = (
        trainer_for(folder, tmp_path, scale_schedule=schedule, settings=settings, anchor=1.0)
        for schedule in ("step", "once")
    )
    stored = once.scale_cache.lookup(once.model, once.train_dataset.examples, epoch=0)
    assert any(allocation.excluded for allocation in stored if allocation)
    wrong = [[1, 3]]
    assert gradients(once, wrong)[0] == pytest.approx(gradients(step, wrong)[0], rel=1e-5)
    assert gradients(once, wrong)[0] > 0


def test_there_must_be_an_untouched_model(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    settings = config(tmp_path, objective="sft", anchor=0.1)
    with pytest.raises(ConfigError, match="an anchor learns from the base model and needs an adapter"):
        NLFTTrainer(lm.model, settings, ROWS, processing_class=lm.tokenizer)
    for fields, said in (({"init_lora_weights": "pissa"}, "untouched"), ({"target_modules": "lm_head"}, "head")):
        lm = load_model(str(folder), dtype="float32", device="cpu")
        with pytest.raises(ConfigError, match=said):
            NLFTTrainer(
                lm.model, settings, ROWS, processing_class=lm.tokenizer, peft_config=lora_config(lm.model, **fields)
            )


class Weights(WeightAverage):
    """Keeps the weights of every step, and forgets to replace them by their average."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.steps.append({n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad})


@pytest.mark.parametrize(("kind", "weights"), [("last-third", [0, 0, 0, 0, 0.5, 0.5]), (0.6, None)])
def test_the_average_is_that_of_the_steps(folder: Path, tmp_path: Path, kind: Any, weights: list[float] | None) -> None:
    if weights is None:  # 1, 1/2, then always 0.4
        weights = [0.5, 0.5, 0, 0, 0, 0]
        for place in range(2, 6):
            weights = [0.6 * each for each in weights]
            weights[place] = 0.4
    kept = Weights(kind)
    settings = {"objective": "sft", "max_steps": 6, "per_device_train_batch_size": 2, "learning_rate": 0.01}
    run(folder, tmp_path, tmp_path / "plain", kept, **settings)
    run(folder, tmp_path, tmp_path / "out", WeightAverage(kind), **settings)
    model = load_model(str(folder), adapter=tmp_path / "out", dtype="float32", device="cpu").model
    for name, value in model.named_parameters():
        if "lora_" in name:
            expected = sum(share * step[name] for share, step in zip(weights, kept.steps, strict=True))
            torch.testing.assert_close(value.data, expected, atol=1e-6, rtol=1e-5)
    said = json.loads((tmp_path / "out" / "train.json").read_text())
    assert said["average"] == kind


def run(folder: Path, tmp_path: Path, out: Path, average: WeightAverage, resume: bool = False, **changes: Any) -> Any:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    train(ROWS, lm, config(tmp_path, output_dir=str(out), **changes), resume=resume, callbacks=[average])
    return load_file(out / "adapter_model.safetensors")


def test_a_resumed_run_goes_on_with_its_average(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"objective": "sft", "max_steps": 6, "save_strategy": "steps", "save_steps": 2, "learning_rate": 0.01}
    settings["per_device_train_batch_size"] = 2
    whole = run(folder, tmp_path, tmp_path / "whole", WeightAverage(0.6), **settings)
    original, calls = NLFTTrainer.training_step, 0

    def interrupted(self: NLFTTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NLFTTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path, tmp_path / "out", WeightAverage(0.6), **settings)
    monkeypatch.undo()
    stored = tmp_path / "out" / "checkpoint-4" / FILE
    stored.rename(tmp_path / FILE)
    with pytest.raises(DataError, match="holds no average"):
        run(folder, tmp_path, tmp_path / "out", WeightAverage(0.6), resume=True, **settings)
    (tmp_path / FILE).rename(stored)
    resumed = run(folder, tmp_path, tmp_path / "out", WeightAverage(0.6), resume=True, **settings)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
