"""What a training step costs beside TRL's and beside the naive way, and how dense its work is."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch

from benchmarks.measure import Result, alternate, median, peak, peak_above, reset_peak, result
from benchmarks.rows import batches, encoded
from benchmarks.variants import default_model, dense_step, naive_step, nlft_step, trl_step
from nlft.lm import load_tokenizer
from nlft.lm.pack import lay_out

REPEATS = 5
TARGETS = {
    ("paper", "step"): "<= 0.6",
    ("paper", "once"): "<= 0.4",
    ("short", "step"): "<= 2.0",
    ("short", "once"): "<= 1.0",
}


def run(repeats: int = REPEATS) -> list[Result]:
    """All rows of the table that are about one step."""
    found: list[Result] = []
    for prompts in ("paper", "short"):
        found += _against_peers(prompts, repeats)
    found.append(_efficiency(repeats))
    found.append(_memory())
    return found


def _against_peers(prompts: str, repeats: int) -> list[Result]:
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    steps = {
        "trl": trl_step(model, prompts, rows),
        "trl without checkpointing": trl_step(model, prompts, rows, checkpointing=False),
        "step": nlft_step(model, prompts, rows),
        "once": nlft_step(model, prompts, rows, weights="once"),
        "sft": nlft_step(model, prompts, rows, objective="sft"),
        "naive": naive_step(model, prompts, rows),
    }
    print(f"steps, {prompts} prompt", file=sys.stderr)
    seconds = alternate({name: [partial(step, batch) for batch in sets] for name, step in steps.items()})
    middle = {name: median(values) for name, values in seconds.items()}
    label = f"NLFT step, `{{}}` weights, {prompts} prompt"
    more: dict[str, Any] = {"unit": "s", "repeats": repeats}
    found = []
    for weights in ("step", "once"):
        found.append(
            result(label.format(weights), "TRL SFTTrainer step", middle[weights], middle["trl"],
                   TARGETS[prompts, weights], **more)
        )  # fmt: skip
        found.append(
            result(label.format(weights), "TRL SFTTrainer step, checkpointing off", middle[weights],
                   middle["trl without checkpointing"], "-", **more)
        )  # fmt: skip
        found.append(
            result(
                f"naive step, {prompts} prompt", label.format(weights), middle["naive"], middle[weights], ">= 5", **more
            )
        )
    found.append(
        result(f"our SFT step, {prompts} prompt", "TRL SFTTrainer step", middle["sft"], middle["trl"], "-", **more)
    )
    return found


def _efficiency(repeats: int) -> Result:
    """Unique tokens of an SFT step per second, over those of one dense pass of as many tokens."""
    model, sets = default_model(), batches(repeats)
    rows = [row for batch in sets for row in batch]
    tokenizer = load_tokenizer(model)
    counts = [len(lay_out([e.base.tokens for e in encoded(tokenizer, batch, "paper")]).ids) for batch in sets]
    ours = nlft_step(model, "paper", rows, objective="sft")
    print("efficiency", file=sys.stderr)
    seconds = alternate(
        {
            "packed": [partial(ours, batch) for batch in sets],
            "dense": [dense_step(model, count) for count in counts],
        }
    )
    return result(
        "efficiency: a dense pass of as many tokens", "our step with gradient (paper prompt)", median(seconds["dense"]),
        median(seconds["packed"]), ">= 0.85", unit="s", repeats=repeats, note=f"{min(counts)} to {max(counts)} tokens",
    )  # fmt: skip


def _memory() -> Result:
    """Peak above the loaded model, each variant in a process of its own."""
    ours, theirs = (peak_above("benchmarks.step", name) for name in ("nlft", "trl"))
    return result(
        "peak memory above the loaded model, NLFT `step`", "TRL SFTTrainer", ours, theirs, "<= 1.0", unit="MiB",
        note="paper prompt; TRL with its default activation checkpointing, ours without",
    )  # fmt: skip


def _child(name: str) -> None:
    """Print the peak memory of two steps above the loaded model."""
    sets = batches(2)
    rows = [row for batch in sets for row in batch]
    kinds = {"nlft": nlft_step, "trl": trl_step, "naive": naive_step}
    extra: dict[str, Any] = {"checkpointing": False} if name == "trl-off" else {}
    step = kinds[name.removesuffix("-off")](default_model(), "paper", rows, **extra)
    before = reset_peak()
    for batch in sets:
        step(batch)
    print(peak() - before)


if __name__ == "__main__":
    torch.set_num_threads(2)
    _child(sys.argv[1])
