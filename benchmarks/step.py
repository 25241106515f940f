"""What a training step costs beside TRL's and beside the naive way, and how dense its work is."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.attention.flex_attention import create_mask

from benchmarks.measure import Result, alternate, median, medians, peak, peak_above, reset_peak, result
from benchmarks.rows import batches, encoded
from benchmarks.variants import default_model, dense_step, naive_step, nlft_step, trl_step
from nlft.lm import block_mask, load_tokenizer
from nlft.lm.pack import pack_sequences
from nlft.records import Judged

REPEATS = 5
TARGETS = {
    ("paper", "step"): "<= 0.6",
    ("paper", "once"): "<= 0.4",
    ("short", "step"): "<= 2.0",
    ("short", "once"): "<= 1.0",
}


def against_trl(repeats: int = REPEATS) -> list[Result]:
    """Our steps beside TRL's, with the paper's prompt and with a short one."""
    return [row for prompts in ("paper", "short") for row in _against_trl(prompts, repeats)]


def against_naive(repeats: int = REPEATS) -> list[Result]:
    """Our steps beside the naive way, with the paper's prompt and with a short one."""
    return [row for prompts in ("paper", "short") for row in _against_naive(prompts, repeats)]


LABEL = "NLFT step, `{}` weights, {} prompt"


def _against_trl(prompts: str, repeats: int) -> list[Result]:
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    steps = {
        "trl": trl_step(model, prompts, rows),
        "trl off": trl_step(model, prompts, rows, checkpointing=False),
        "step": nlft_step(model, prompts, rows),
        "once": nlft_step(model, prompts, rows, scale_schedule="once"),
    }
    print(f"steps beside TRL's, {prompts} prompt", file=sys.stderr)
    middle = medians(steps, sets)
    more: dict[str, Any] = {"unit": "s", "repeats": repeats}
    found = []
    for weights in ("step", "once"):
        label, target = LABEL.format(weights, prompts), TARGETS[prompts, weights]
        found.append(result(label, "TRL SFTTrainer step", middle[weights], middle["trl"], target, **more))
        found.append(
            result(label, "TRL SFTTrainer step, checkpointing off", middle[weights], middle["trl off"], "-", **more)
        )
    return found


def _against_naive(prompts: str, repeats: int) -> list[Result]:
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    steps = {
        "naive": naive_step(model, prompts, rows),
        "step": nlft_step(model, prompts, rows),
        "once": nlft_step(model, prompts, rows, scale_schedule="once"),
    }
    print(f"steps beside the naive way, {prompts} prompt", file=sys.stderr)
    middle = medians(steps, sets)
    return [
        result(
            f"naive step, {prompts} prompt", LABEL.format(weights, prompts), middle["naive"], middle[weights], ">= 5",
            unit="s", repeats=repeats,
        )
        for weights in ("step", "once")
    ]  # fmt: skip


def attention(repeats: int = REPEATS) -> list[Result]:
    """Our step on 32 rows with attention in a loop over segments, and in one SDPA a layer under the whole mask."""
    model, sets = default_model(), batches(repeats, 32)
    step = nlft_step(model, "paper", [row for batch in sets for row in batch], objective="sft")

    def at_once(batch: list[Judged]) -> None:
        dense: dict[int, torch.Tensor] = {}

        def one_sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
            mask = options.pop("block_mask")
            if id(mask) not in dense:  # once a pass, as a block mask is
                dense[id(mask)] = create_mask(mask.mask_mod, None, None, query.shape[2], key.shape[2], device="cpu")[
                    0, 0
                ]
            attended: torch.Tensor = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=dense[id(mask)], **options
            )
            return attended

        with patch.multiple(block_mask, one_call=lambda device: True, compiled_flex=lambda: one_sdpa):
            step(batch)

    print("attention", file=sys.stderr)
    middle = medians({"loop": step, "once": at_once}, sets)
    return [result(
        "NLFT step, 32 rows, one SDPA a layer under a dense mask", "attention in a loop over segments", middle["once"],
        middle["loop"], "-", unit="s", repeats=repeats, note="paper prompt, base paths only; a block mask would skip what is masked",
    )]  # fmt: skip


LONG = 2_000


def long_responses(repeats: int = 3) -> list[Result]:
    """Our steps beside TRL's where each response, repeated, has 2,000 tokens: the walk is long, the prompt a part."""
    model = default_model()
    tokenizer = load_tokenizer(model)

    def lengthened(row: Judged) -> Judged:
        ids = tokenizer.encode(row.response + "\n", add_special_tokens=False)
        return row.model_copy(update={"response": tokenizer.decode((ids * (LONG // len(ids) + 1))[:LONG])})

    sets = [[lengthened(row) for row in batch] for batch in batches(repeats)]
    rows = [row for batch in sets for row in batch]
    steps = {
        "trl": trl_step(model, "paper", rows),
        "step": nlft_step(model, "paper", rows),
        "once": nlft_step(model, "paper", rows, scale_schedule="once"),
    }
    print(f"responses of {LONG} tokens", file=sys.stderr)
    middle = medians(steps, sets, warm=False)
    return [
        result(
            f"NLFT step, `{weights}` weights, responses of {LONG} tokens", "TRL SFTTrainer step", middle[weights],
            middle["trl"], "-", unit="s", repeats=repeats,
        )
        for weights in ("step", "once")
    ]  # fmt: skip


def efficiency(repeats: int = REPEATS) -> list[Result]:
    """Unique tokens of an SFT step per second, over those of one dense pass of as many tokens."""
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    tokenizer = load_tokenizer(model)
    counts = [len(pack_sequences([e.base.tokens for e in encoded(tokenizer, batch, "paper")]).ids) for batch in sets]
    ours = nlft_step(model, "paper", rows, objective="sft")
    print("efficiency", file=sys.stderr)
    seconds = alternate(
        {
            "packed": [partial(ours, batch) for batch in sets],
            "dense": [dense_step(model, count) for count in counts],
        }
    )
    return [result(
        "efficiency: a dense pass of as many tokens", "our step with gradient (paper prompt)", median(seconds["dense"]),
        median(seconds["packed"]), ">= 0.85", unit="s", repeats=repeats, note=f"{min(counts)} to {max(counts)} tokens",
    )]  # fmt: skip


def memory() -> list[Result]:
    """Peak above the loaded model, each variant in a process of its own."""
    ours, theirs = (peak_above("benchmarks.step", name) for name in ("nlft", "trl"))
    return [result(
        "peak memory above the loaded model, NLFT `step`", "TRL SFTTrainer", ours, theirs, "<= 1.0", unit="MiB",
        note="paper prompt; TRL with its default activation checkpointing, ours without",
    )]  # fmt: skip


def _child(name: str) -> None:
    """Print the peak memory of two steps above the loaded model."""
    sets = batches(2)
    rows = [row for batch in sets for row in batch]
    step = {"nlft": nlft_step, "trl": trl_step}[name](default_model(), "paper", rows)
    before = reset_peak()
    for batch in sets:
        step(batch)
    print(peak() - before)


if __name__ == "__main__":
    torch.set_num_threads(2)
    _child(sys.argv[1])
