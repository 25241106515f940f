"""The dry run against the run: steps and tokens from its own log, memory and operations from a step with real tensors."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_trainer import trainer_for
from tests.train.tiny_train import ROWS, config
from torch.utils.flop_counter import FlopCounterMode

from nlft.cli.app import run as cli
from nlft.lm import load_model
from nlft.lm.logprobs import share_prefixes
from nlft.lm.score import score_batch
from nlft.records import write_records
from nlft.train import NLFTTrainer, lora_config, memory
from nlft.train.memory import _Memory, rehearse
from tiny import tiny_model


@pytest.mark.parametrize("objective", ["sft", "nlft", "cut"])
def test_a_rehearsed_step_takes_what_a_real_one_does(folder: Path, tmp_path: Path, objective: str) -> None:
    made = trainer_for(folder, tmp_path, objective=objective)
    examples = made.train_dataset.examples
    fields = {"lora_dropout": 0.0}
    found = rehearse(str(folder), examples, made.objective, dtype=torch.float32, lora=fields)
    made.model.train()
    score_batch(made.model, examples, made.objective)  # what is made once is there before
    with _Memory() as counted, FlopCounterMode(display=False) as counter:
        rows = score_batch(made.model, examples, made.objective)
        every = [each for row in rows for each in vars(row).values() if isinstance(each, torch.Tensor)]
        loss = torch.stack([each.sum() for each in every if each.requires_grad]).sum()
        del rows, every
        loss.backward()
    assert found.operations == counter.get_total_flops()
    assert found.step == pytest.approx(counted.peak, rel=0.05)
    parameters = list(made.model.parameters())
    assert found.weights == sum(each.numel() * each.element_size() for each in parameters)
    assert found.optimizer == 8 * sum(each.numel() for each in parameters if each.requires_grad)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_a_quantized_step_takes_what_a_real_one_does(folder: Path, tmp_path: Path, kind: str) -> None:
    """Under autocast, as it is trained; the scales of bitsandbytes count as weights."""
    pytest.importorskip("bitsandbytes")
    lm = load_model(str(folder), dtype="bfloat16", device="cpu", quantization=kind)
    made = NLFTTrainer(
        lm.model, config(tmp_path, objective="sft", bf16=True), ROWS, processing_class=lm.tokenizer,
        peft_config=lora_config(lm.model, lora_dropout=0.0),
    )  # fmt: skip
    share_prefixes(made.model, True)  # the probe of an 8-bit model of this size says no
    examples = made.train_dataset.examples
    how: dict[str, Any] = {"dtype": torch.bfloat16, "lora": {"lora_dropout": 0.0}}
    found = rehearse(str(folder), examples, made.objective, quantization=kind, autocast=True, **how)
    made.model.train()
    with torch.autocast("cpu", torch.bfloat16):
        score_batch(made.model, examples, made.objective)
        with _Memory() as counted:
            rows = score_batch(made.model, examples, made.objective)
            loss = torch.stack([row.logp_base.sum() for row in rows]).sum()
            del rows
            loss.backward()
    assert found.step == pytest.approx(counted.peak, rel=0.15)
    whole = rehearse(str(folder), examples, made.objective, **how)
    assert found.operations == whole.operations
    layers: list[Any] = [m for m in made.model.modules() if type(m).__module__.startswith("bitsandbytes.")]
    size = sum(p.numel() * p.element_size() for p in made.model.parameters())
    assert len(layers) == 14
    scales = [m.weight.quant_state.absmax if kind == "4bit" else m.state.SCB for m in layers]
    assert found.weights == size + sum(4 * each.numel() for each in scales)


def test_a_few_layers_tell_of_all(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer_for(folder, tmp_path, objective="sft")
    deep = str(tiny_model(tmp_path / "deep", num_hidden_layers=7))
    results = []
    for few in (2, 9):
        monkeypatch.setattr(memory, "FEW", few)
        results.append(
            rehearse(deep, made.train_dataset.examples, made.objective, dtype=torch.float32, lora={"lora_dropout": 0.0})
        )
    assert results[0].operations == results[1].operations
    assert results[0].weights == results[1].weights
    assert results[0].step == pytest.approx(results[1].step, rel=0.02)


def test_the_command_says_what_the_run_does(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(tmp_path / "rows.jsonl", [*ROWS, ROWS[1].model_copy(update={"id": "e", "judgment": None})])
    words = [
        "train",
        str(tmp_path / "rows.jsonl"),
        "-m",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--prompts",
        "short",
    ]
    words += ["--dtype", "float32", "--device", "cpu", "--epochs", "3", "--batch-size", "3", "--warmup", "0.5"]
    assert cli([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert "rows     5, 1 of them skipped" in said
    assert "steps    6, 2 an epoch, 3 of them warm-up" in said
    assert "warning: 6 steps are few" in said
    trained = sum(len(each.response) for each in trainer_for(folder, tmp_path).train_dataset.examples)
    assert "base     4 rows" in said
    assert f"{trained:,} tokens trained an epoch" in said
    assert "standard 4 rows" in said
    assert "judge    2 rows" in said
    assert "read without gradient" in said
    assert cli(words) == 0
    assert json.loads((tmp_path / "out" / "train.json").read_text())["steps"] == 6
    capsys.readouterr()
    assert cli([*words[:-2], "--max-length", str(100), "--dry-run"]) == 0
    assert "rows have more than 100 tokens, and would be refused" in capsys.readouterr().out


def test_what_reft_takes_is_told_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps are those of the run in tests/train/reft/test_step.py; the memory grows with what may be sampled."""
    monkeypatch.setattr("nlft.train.dry_run._speed", lambda *_: 1e9)
    write_records(tmp_path / "rows.jsonl", ROWS)
    words = ["train", str(tmp_path / "rows.jsonl"), "-m", str(folder), "-o", str(tmp_path / "out")]
    words += [
        "--prompts",
        "short",
        "--objective",
        "reft",
        "--batch-size",
        "2",
        "--epochs",
        "1",
        "--warm-up-epochs",
        "1",
        "--dry-run",
    ]
    words += ["--dtype", "float32", "--device", "cpu"]
    taken = []
    for length in (6, 600):
        assert cli([*words, "--max-new-tokens", str(length)]) == 0
        said = capsys.readouterr().out
        assert "warm-up  1 steps of SFT on 2 rows" in said
        assert "steps    4 of PPO, 4 an epoch; 2 on each 2 responses" in said
        assert f"responses are sampled, of {length} at most" in said
        taken.append(float(re.findall(r"a step ([\d.]+)", said)[0]))
    assert taken[1] > taken[0]
    assert cli([*words, "--max-new-tokens", "5000"]) == 1
    assert "but the model takes 4096" in capsys.readouterr().err
