"""Kinds of adapters: each trains, and what is saved is what was trained; on a quantized model, too."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model
from tests.train.reft import tiny_reft
from tests.train.tiny_train import ROWS, config, stir

from nlft.cli.app import run as cli
from nlft.errors import ConfigError
from nlft.lm import attention, load_model
from nlft.lm.logprobs import _plain, shares_prefixes
from nlft.records import write_records
from nlft.train import NLFTTrainer, lora_config, train
from nlft.train.lora import prepared
from nlft.train.reft import train_reft

KINDS: list[dict[str, Any]] = [
    {"use_rslora": True},
    {"use_dora": True},
    {"init_lora_weights": "orthogonal"},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "olora", "use_rslora": True},
    {"target_modules": "q_proj,up_proj", "rank_pattern": {"q_proj": 2}, "layers_to_transform": 1},
]


def logprobs(model: Any, examples: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([scored.logp for scored in _plain(model.eval(), [each.base for each in examples], 0)])


@pytest.mark.parametrize("fields", KINDS, ids=lambda fields: next(iter(fields)) + str(next(iter(fields.values()))))
def test_what_is_saved_is_what_was_trained(folder: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    """On the untouched model, wherever it is loaded; PiSSA and OLoRA train on a changed one."""
    write_records(tmp_path / "rows.jsonl", ROWS)
    words = ["train", str(tmp_path / "rows.jsonl"), "-m", str(folder), "-o", str(tmp_path / "out"), "--lora", "r=4"]
    words += ["--prompts", "short", "--dtype", "float32", "--device", "cpu", "--objective", "sft", "--max-steps", "4"]
    words += ["--lr", "0.02", "--lora-dropout", "0", "--seed", "3"]  # a former name
    assert cli([*words, *(word for name, value in fields.items() for word in ("--lora", f"{name}={value}"))]) == 0
    losses = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert losses[3]["loss"] < losses[0]["loss"]
    lm = load_model(str(folder), dtype="float32", device="cpu")
    settings = config(
        tmp_path, output_dir=str(tmp_path / "again"), objective="sft", max_steps=4, learning_rate=0.02, seed=3
    )
    settings.warmup_steps = 0.1
    made = NLFTTrainer(
        lm.model, settings, ROWS, processing_class=lm.tokenizer,
        peft_config=lora_config(lm.model, r=4, lora_dropout=0, **fields),
    )  # fmt: skip
    made.train()
    loaded = load_model(str(folder), adapter=tmp_path / "out", dtype="float32", device="cpu")
    examples = made.train_dataset.examples
    torch.testing.assert_close(logprobs(loaded.model, examples), logprobs(made.model, examples), atol=2e-4, rtol=1e-4)
    assert not (tmp_path / "out" / "first-adapter").exists()


def test_what_learns_from_the_untouched_model_refuses_to_have_it_changed(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    adapter = lora_config(lm.model, init_lora_weights="pissa")

    def make(**settings: Any) -> NLFTTrainer:
        return NLFTTrainer(
            lm.model, config(tmp_path, **settings), ROWS, peft_config=adapter, processing_class=lm.tokenizer
        )

    with pytest.raises(ConfigError, match="sdft needs the untouched model"):
        make(objective="sdft")
    with pytest.raises(ConfigError, match='"once" needs the untouched model'):
        make(scale_schedule="once")
    with pytest.raises(ConfigError, match="share the untouched model"):
        train_reft(ROWS, lm, tiny_reft.config(tmp_path / "reft"), lora={"init_lora_weights": "olora"})
    make(objective="sft", scale_schedule="once")


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_an_adapter_on_a_quantized_model(folder: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    lm = load_model(str(folder), dtype="bfloat16", device="cpu", quantization=kind)
    layer = lm.model.model.layers[0].mlp.up_proj
    assert type(layer).__module__.startswith("bitsandbytes")
    before = layer.weight.clone()
    settings = config(tmp_path, objective="sft", max_steps=4, learning_rate=0.02, activation_checkpointing=True)
    made = train(ROWS, lm, settings, lora={"lora_dropout": 0.0})
    losses = [json.loads(line) for line in (made.folder / "metrics.jsonl").read_text().splitlines()]
    assert losses[3]["loss"] < losses[0]["loss"]
    assert torch.equal(layer.weight if not hasattr(layer, "base_layer") else layer.base_layer.weight, before)
    assert lm.model.model.norm.weight.dtype is lm.model.lm_head.weight.dtype is torch.float32


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_a_quantized_model_shares_prefixes_in_training(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared for it, embeddings and head are float32, but what is between them rounds as bfloat16."""
    pytest.importorskip("bitsandbytes")
    causal = attention._causal

    def other_kernel(query: Any, *rest: Any) -> Any:
        return causal(query, *rest).bfloat16().to(query.dtype)

    monkeypatch.setattr(attention, "_causal", other_kernel)
    wide = str(tiny_model(tmp_path / "wide", hidden_size=64))
    lm = load_model(wide, dtype="bfloat16", device="cpu", quantization=kind)
    assert shares_prefixes(prepared(lm.model))


def test_a_pass_without_gradient_leaves_a_quantized_model_trainable(tmp_path: Path) -> None:
    """On a CPU with bfloat16, bitsandbytes would repack the weights, and hand no gradient on from then on."""
    pytest.importorskip("bitsandbytes")
    wide = str(tiny_model(tmp_path / "wide", hidden_size=64))
    lm = load_model(wide, dtype="bfloat16", device="cpu", quantization="4bit")
    settings = config(tmp_path, objective="sft", bf16=True)
    made = NLFTTrainer(
        lm.model, settings, ROWS, processing_class=lm.tokenizer, peft_config=lora_config(lm.model, lora_dropout=0.0)
    )
    stir(made.model)

    def gradient() -> torch.Tensor:
        made.model.zero_grad()
        made.compute_loss(made.model.train(), made.data_collator(made.train_dataset.examples)).backward()
        return torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None])

    before = gradient()
    logprobs(made.model, made.train_dataset.examples)
    torch.testing.assert_close(gradient(), before)


def test_without_bitsandbytes_quantization_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlft.lm.load.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs bitsandbytes") as refused:
        load_model(str(folder), quantization="4bit", device="cpu")
    assert "nlft[quant]" in str(refused.value)
