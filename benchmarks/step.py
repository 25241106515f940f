"""What a training step costs beside TRL's and beside the naive way, and how dense its work is."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.attention.flex_attention import create_mask

from benchmarks import curves
from benchmarks.curves import TRL
from benchmarks.measure import Result, alternate, median, medians, peak, peak_above, reset_peak, result
from benchmarks.rows import BATCH, batches, encoded
from benchmarks.variants import default_model, dense_step, naive_step, nlft_step, trl_step
from nlft.lm import block_mask, load_tokenizer
from nlft.lm.pack import pack_sequences
from nlft.records import Judged

REPEATS = 3
LONG, LONG_ROWS = 2_000, 2
TARGETS = {
    ("paper", "step"): "<= 0.6",
    ("paper", "once"): "<= 0.4",
    ("short", "step"): "<= 2.0",
    ("short", "once"): "<= 1.0",
}
LABEL = "NLFT step, `{}` weights"


def steps(repeats: int = REPEATS) -> list[Result]:
    """Our steps beside TRL's and beside the naive way, with the paper's prompt and with a short one."""
    return [row for prompts in ("paper", "short") for row in _steps(prompts, repeats)]


def _steps(prompts: str, repeats: int) -> list[Result]:
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    variants = {
        "trl": trl_step(model, prompts, rows),
        "trl off": trl_step(model, prompts, rows, checkpointing=False),
        "naive": naive_step(model, prompts, rows),
        "step": nlft_step(model, prompts, rows),
        "once": nlft_step(model, prompts, rows, scale_schedule="once"),
    }
    print(f"steps, {prompts} prompt", file=sys.stderr)
    slow = min(2, repeats)
    middle = medians(variants, sets, {"naive": slow, "trl off": slow})
    found = []
    for weights in ("step", "once"):
        label, ours = f"{LABEL.format(weights)}, {prompts} prompt", middle[weights]
        # The curve over the length of the prompt goes on to the whole of the paper's.
        point = {"prompt_tokens": curves.WHOLE, "rows": BATCH} if prompts == "paper" else {}
        found += [
            result(
                label, TRL, ours, middle["trl"], TARGETS[prompts, weights], unit="s", repeats=repeats, **point
            ),
            result(label, f"{TRL}, checkpointing off", ours, middle["trl off"], "-", unit="s", repeats=slow),
            result(f"naive step, {prompts} prompt", label, middle["naive"], ours, ">= 5", unit="s", repeats=slow),
        ]  # fmt: skip
    return found


def attention(repeats: int = 1, rows: int = 32) -> list[Result]:
    """Our step on many rows with attention in a loop over segments, and in one SDPA a layer under the whole mask."""
    model, sets = default_model(), batches(repeats, rows)
    step = nlft_step(model, "paper", [row for batch in sets for row in batch], objective="sft")

    def at_once(batch: list[Judged]) -> None:
        dense: dict[int, torch.Tensor] = {}

        def one_sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
            mask = options.pop("block_mask")
            if id(mask) not in dense:  # once a pass, as a block mask is
                seen = create_mask(mask.mask_mod, None, None, query.shape[2], key.shape[2], device="cpu")[0, 0]
                # Of numbers: torch would make and keep such a one in every layer.
                dense[id(mask)] = torch.zeros_like(seen, dtype=query.dtype).masked_fill(~seen, float("-inf"))
            attended: torch.Tensor = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=dense[id(mask)], **options
            )
            return attended

        with patch.multiple(block_mask, one_call=lambda device: True, compiled_flex=lambda: one_sdpa):
            step(batch)

    print("attention", file=sys.stderr)
    middle = medians({"loop": step, "once": at_once}, sets)
    return [result(
        f"NLFT step, {rows} rows, one SDPA a layer under a dense mask", "attention in a loop over segments", middle["once"],
        middle["loop"], "-", unit="s", repeats=repeats, note="paper prompt, base paths only; a block mask would skip what is masked",
    )]  # fmt: skip


def long_responses(repeats: int = 1) -> list[Result]:
    """Our steps beside TRL's where each response, repeated, has 2,000 tokens: the walk is long, the prompt a part."""
    model = default_model()
    tokenizer = load_tokenizer(model)

    def lengthened(row: Judged) -> Judged:
        ids = tokenizer.encode(row.response + "\n", add_special_tokens=False)
        return row.model_copy(update={"response": tokenizer.decode((ids * (LONG // len(ids) + 1))[:LONG])})

    sets = [[lengthened(row) for row in batch] for batch in batches(repeats, LONG_ROWS)]
    rows = [row for batch in sets for row in batch]
    variants = {
        "trl": trl_step(model, "paper", rows),
        "step": nlft_step(model, "paper", rows),
        "once": nlft_step(model, "paper", rows, scale_schedule="once"),
    }
    print(f"responses of {LONG} tokens", file=sys.stderr)
    middle = medians(variants, sets)
    return [
        result(
            f"{LABEL.format(weights)}, {LONG_ROWS} rows with responses of {LONG} tokens", TRL, middle[weights],
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
    """Print the peak memory of a step above the loaded model."""
    (batch,) = batches(1)
    step = {"nlft": nlft_step, "trl": trl_step}[name](default_model(), "paper", batch)
    before = reset_peak()
    step(batch)
    print(peak() - before)


if __name__ == "__main__":
    torch.set_num_threads(2)
    _child(sys.argv[1])
