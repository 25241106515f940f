"""Scoring and generation against padded batches, and how time grows with the number of rows."""

from __future__ import annotations

import math
import sys
import time
from functools import partial

import torch

from benchmarks.measure import Result, alternate, median, result
from benchmarks.rows import encoded, judged
from benchmarks.variants import default_model
from nlft.lm import LanguageModel, SamplingSettings, encode_prompt, load_model
from nlft.lm.encode import EncodedExample
from nlft.lm.generate import generate
from nlft.lm.logprobs import _plain
from nlft.lm.score import score_batch
from nlft.objectives import get_objective
from nlft.prompts import load_prompts

CHUNKS, PER_CHUNK, ROWS_PER_PASS = 5, 20, 8
PROBLEMS, NEW_TOKENS, BATCH = 64, 100, 16


def _loaded() -> LanguageModel:
    return load_model(default_model(), dtype="float32", device="cpu")


@torch.no_grad()
def scoring() -> list[Result]:
    """All three paths of 100 rows, 20 at a time."""
    lm = _loaded()
    examples = encoded(lm.tokenizer, judged(), "paper")
    objective = get_objective("nlft")

    def ours(rows: list[EncodedExample]) -> None:
        for start in range(0, len(rows), ROWS_PER_PASS):
            score_batch(lm.model, rows[start : start + ROWS_PER_PASS], objective)

    def padded(rows: list[EncodedExample]) -> None:
        for start in range(0, len(rows), ROWS_PER_PASS):
            batch = rows[start : start + ROWS_PER_PASS]
            for name in ("base", "standard", "judge"):
                paths = [getattr(e, name) for e in batch if getattr(e, name) and (name != "judge" or not e.correct)]
                if paths:
                    _plain(lm.model, paths, 0)

    chunks = [examples[i * PER_CHUNK : (i + 1) * PER_CHUNK] for i in range(CHUNKS)]
    print("scoring", file=sys.stderr)
    seconds = alternate(
        {"shared": [partial(ours, c) for c in chunks], "padded": [partial(padded, c) for c in chunks]}, warm=False
    )
    return [result(
        "scoring 100 rows, one padded forward per path", "ours", sum(seconds["padded"]), sum(seconds["shared"]), ">= 3",
        unit="s", repeats=CHUNKS, note="paper prompt; sums over five chunks of 20 rows; head at response positions in both",
    )]  # fmt: skip


def generation() -> list[Result]:
    """64 problems, greedy, the same number of new tokens for everyone."""
    lm = _loaded()
    prompts = load_prompts("paper")
    ids = [encode_prompt(lm.tokenizer, prompts.base(row.question)) for row in judged()[:PROBLEMS]]
    # Ends are switched off so that both write as many tokens.
    endless = LanguageModel(lm.model, _Endless(lm.tokenizer), lm.name)
    lm.model.generation_config.eos_token_id = None

    def ours() -> None:
        settings = SamplingSettings(temperature=0, max_new_tokens=NEW_TOKENS, batch_size=PROBLEMS)
        assert all(len(c.token_ids) == NEW_TOKENS for c in generate(endless, ids, settings))

    def theirs() -> None:
        for start in range(0, PROBLEMS, BATCH):
            batch = ids[start : start + BATCH]
            width = max(map(len, batch))
            padded = torch.tensor([[0] * (width - len(p)) + p for p in batch])
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
            with torch.inference_mode():
                lm.model.generate(
                    padded,
                    attention_mask=mask,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    pad_token_id=0,
                    eos_token_id=None,
                )

    lm.model.set_attn_implementation("sdpa")
    print("generation", file=sys.stderr)
    repeats = 5

    def as_shared() -> None:
        from nlft.lm import attention

        lm.model.set_attn_implementation(attention.NAME)
        ours()
        lm.model.set_attn_implementation("sdpa")

    lm.model.set_attn_implementation("sdpa")
    seconds = alternate({"ours": [as_shared] * repeats, "generate": [theirs] * repeats}, warm=False)
    return [result(
        "generation, 64 GSM8K problems, model.generate in left-padded batches of 16", "ours", median(seconds["generate"]),
        median(seconds["ours"]), ">= 2.5", unit="s", repeats=repeats,
        note=f"paper prompt, greedy, {NEW_TOKENS} new tokens each; {PROBLEMS * NEW_TOKENS / median(seconds['ours']):.0f} tokens/s ours",
    )]  # fmt: skip


class _Endless:
    """A tokenizer that names no end."""

    def __init__(self, tokenizer: object) -> None:
        self._tokenizer = tokenizer

    eos_token_id = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)


@torch.no_grad()
def growth() -> list[Result]:
    """The exponent of time against rows, 32 to 512 rows of the short prompt, their base paths."""
    lm = _loaded()
    examples = encoded(lm.tokenizer, judged(), "short")
    objective = get_objective("sft")
    counts, seconds = (32, 64, 128, 256, 512), []
    print("growth", file=sys.stderr)
    score_batch(lm.model, examples[:8], objective)
    for count in counts:
        rows = [examples[i % 32] for i in range(count)]
        start = time.perf_counter()
        for first in range(0, count, ROWS_PER_PASS):
            score_batch(lm.model, rows[first : first + ROWS_PER_PASS], objective)
        seconds.append(time.perf_counter() - start)
        print(f"  {count} rows: {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
    xs, ys = [math.log(c) for c in counts], [math.log(s) for s in seconds]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / sum((x - mx) ** 2 for x in xs)
    note = ", ".join(f"{c} rows {s:.1f} s" for c, s in zip(counts, seconds, strict=True))
    return [result("time for 32 to 512 rows: exponent", "linear", slope, 1.0, "<= 1.05", note=note)]
