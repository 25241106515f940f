"""One training step, as each variant does it: ours, TRL's, and the naive way of the paper."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.rows import BATCH, encoded
from nlft.core import SaliencySettings, allocate, example_loss
from nlft.lm import EncodedExample, TokenPath, load_model
from nlft.lm.resolve import DEMO_MODEL
from nlft.records import Judged
from nlft.train import NLFTConfig, NLFTTrainer, lora_config
from nlft.train.dataset import EncodedDataset, collate

Step = Callable[[list[Judged]], Tensor]


def nlft_step(
    model: str,
    prompts: str,
    rows: list[Judged],
    *,
    scale_schedule: str = "step",
    objective: str = "nlft",
    device: str = "cpu",
) -> Step:
    """Ours: forward and backward of one batch; `once` scales are computed before, as they are in training."""
    lm = _loaded(model, device)
    folder = tempfile.mkdtemp()
    config = NLFTConfig(
        folder,
        prompts=prompts,
        scale_schedule=scale_schedule,
        objective=objective,
        use_cpu=device == "cpu",
        score_cache=f"{folder}/cache",
    )  # type: ignore[arg-type]
    examples = {example.id: example for example in encoded(lm.tokenizer, rows, prompts)}
    trainer = NLFTTrainer(
        lm.model, config, EncodedDataset(list(examples.values())), peft_config=lora_config(lm.model),
        processing_class=lm.tokenizer,
    )  # fmt: skip
    trainer.model.train()
    if scale_schedule == "once":
        trainer.scale_cache.lookup(trainer.model, [], epoch=0)

    def step(batch: list[Judged]) -> Tensor:
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, collate([examples[row.id] for row in batch]))
        loss.backward()
        return loss.detach()

    return step


def _loaded(model: str, device: str) -> Any:
    """In float32 on the CPU; elsewhere in the type a user would get."""
    return load_model(model, dtype="float32" if device == "cpu" else "auto", device=device)


def trl_step(model: str, prompts: str, rows: list[Judged], *, checkpointing: bool = True, device: str = "cpu") -> Step:
    """TRL's SFTTrainer with its defaults (activation checkpointing on), on the CPU in float32 like ours."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    lm = _loaded(model, device)
    examples = {example.id: example.base for example in encoded(lm.tokenizer, rows, prompts)}
    ids = list(examples)
    table = [
        {"input_ids": list(p.tokens), "completion_mask": [0] * len(p.prompt) + [1] * len(p.response)}
        for p in examples.values()
    ]
    trainer = SFTTrainer(
        lm.model,
        SFTConfig(
            tempfile.mkdtemp(), completion_only_loss=True, max_length=None, bf16=device != "cpu", use_cpu=device == "cpu", report_to="none",
            per_device_train_batch_size=BATCH, activation_checkpointing=checkpointing,
        ),
        train_dataset=Dataset.from_list(table),
        processing_class=lm.tokenizer,
        peft_config=lora_config(lm.model),
    )  # fmt: skip
    trainer.model.train()
    if checkpointing:  # as `trainer.train()` does before its first step
        trainer.model.activation_checkpointing_enable(
            activation_checkpointing_kwargs=dict(trainer.args.activation_checkpointing_kwargs or {}) or None
        )

    def step(batch: list[Judged]) -> Tensor:
        trainer.model.zero_grad()
        inputs = trainer.data_collator([trainer.train_dataset[ids.index(row.id)] for row in batch])
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(inputs))
        loss.backward()
        return loss.detach()

    return step


def naive_step(model: str, prompts: str, rows: list[Judged]) -> Step:
    """The paper as one would first write it: a row's padded paths in one batch, gradient and full softmax everywhere.

    Row by row, since the logits of all four rows' paths and their gradients do not fit into 24 GiB.
    """
    lm = load_model(model, dtype="float32", device="cpu")
    examples = {example.id: example for example in encoded(lm.tokenizer, rows, prompts)}
    network = _adapted(lm.model)
    settings = SaliencySettings.paper()

    def step(batch: list[Judged]) -> Tensor:
        network.zero_grad()
        losses = []
        for example in (examples[row.id] for row in batch):
            found = _padded(network, [path for path in (example.base, example.standard, example.judge) if path])
            loss = _example_loss(example, found, settings) / len(batch)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return step


def _adapted(model: Any) -> Any:
    from peft import get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, lora_config(model)).train()


def _example_loss(example: EncodedExample, found: list[tuple[Tensor, Tensor]], settings: SaliencySettings) -> Tensor:
    base, hidden = found[0]
    judge = found[2][0].detach() if example.judge else None
    allocation = allocate(base.detach(), found[1][0].detach(), judge, hidden.detach(), settings)
    return example_loss(base, allocation, settings, judge).total


def _padded(network: Any, paths: list[TokenPath]) -> list[tuple[Tensor, Tensor]]:
    longest = max(len(path.tokens) for path in paths)
    ids = torch.zeros((len(paths), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, path in enumerate(paths):
        ids[row, : len(path.tokens)] = torch.tensor(path.tokens)
        mask[row, : len(path.tokens)] = 1
    output = network(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    every = output.logits.log_softmax(-1)
    result = []
    for row, path in enumerate(paths):
        where = slice(len(path.prompt) - 1, len(path.tokens) - 1)
        logp = every[row, where].gather(-1, torch.tensor(path.response)[:, None]).squeeze(-1)
        result.append((logp, output.hidden_states[-1][row, where]))
    return result


def dense_step(model: str, tokens: int) -> Callable[[], Tensor]:
    """One dense forward and backward over a single sequence of as many tokens, head at 100 of them."""
    lm = load_model(model, dtype="float32", device="cpu")
    network = _adapted(lm.model)
    length = lm.context_length or tokens
    ids = torch.randint(lm.model.config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    rows = [ids[:, start : start + length] for start in range(0, tokens, length)]

    def step() -> Tensor:
        network.zero_grad()
        loss = torch.stack(
            [network(input_ids=row, use_cache=False, logits_to_keep=100).logits.mean() for row in rows]
        ).sum()
        loss.backward()
        return loss.detach()

    return step


def default_model() -> str:
    """The folder or hub id that `NLFT_BENCH_MODEL` names, else the demo's model."""
    return os.environ.get("NLFT_BENCH_MODEL", DEMO_MODEL)


__all__ = ["Step", "default_model", "dense_step", "naive_step", "nlft_step", "trl_step"]
