"""Scoring and generation against padded batches, and how time grows with the number of rows."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import partial

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.measure import Result, alternate, median, result
from benchmarks.rows import encoded, judged
from benchmarks.variants import default_model
from nlft.lm import LanguageModel, SamplingSettings, encode_prompt, load_model
from nlft.lm.encode import EncodedExample
from nlft.lm.generate import generate
from nlft.lm.logprobs import _plain, share_prefixes, shares_prefixes
from nlft.lm.score import score_batch
from nlft.objectives import get_objective
from nlft.prompts import load_prompts

CHUNKS, ROWS_PER_PASS = 3, 8
PROBLEMS, NEW_TOKENS, BATCH = 32, 100, 16
COUNTS = (32, 128, 512)


def _loaded() -> LanguageModel:
    return load_model(default_model(), dtype="float32", device="cpu")


@torch.no_grad()
def scoring(chunks: int = CHUNKS) -> list[Result]:
    """All three paths of so many times eight rows."""
    lm = _loaded()
    examples = encoded(lm.tokenizer, judged()[: chunks * ROWS_PER_PASS], "paper")
    objective = get_objective("nlft")

    def ours(rows: list[EncodedExample]) -> None:
        score_batch(lm.model, rows, objective)

    def padded(rows: list[EncodedExample]) -> None:
        for name in ("base", "standard", "judge"):
            paths = [getattr(e, name) for e in rows if getattr(e, name) and (name != "judge" or not e.correct)]
            if paths:
                _plain(lm.model, paths, 0)

    passes = [examples[start : start + ROWS_PER_PASS] for start in range(0, len(examples), ROWS_PER_PASS)]
    print("scoring", file=sys.stderr)
    seconds = alternate(
        {"shared": [partial(ours, rows) for rows in passes], "padded": [partial(padded, rows) for rows in passes]}
    )
    return [result(
        f"scoring {len(examples)} rows, one padded forward per path", "ours", sum(seconds["padded"]), sum(seconds["shared"]), ">= 3",
        unit="s", repeats=chunks, note=f"paper prompt; sums over {chunks} passes of {ROWS_PER_PASS} rows; head at response positions in both",
    )]  # fmt: skip


def generation(repeats: int = 3, count: int = PROBLEMS, new_tokens: int = NEW_TOKENS) -> list[Result]:
    """Greedy, the same number of new tokens for everyone, with the paper's prompt and with a short one."""
    return [
        row
        for prompts, times, target in (("paper", min(2, repeats), ">= 2.5"), ("short", repeats, ">= 2"))
        for row in _generation(prompts, times, target, count, new_tokens)
    ]


def _generation(prompts: str, repeats: int, target: str, count: int, new_tokens: int) -> list[Result]:
    lm = _loaded()
    ids = prompt_ids(lm, prompts, [row.question for row in judged()[:count]])
    print(f"generation, {prompts} prompt", file=sys.stderr)
    calls = {"ours": answer_ours, "generate": answer_padded, "continuous": answer_continuously}
    try:
        answer_continuously(lm, ids[:2], 2)
    except (RuntimeError, ValueError, ImportError, NotImplementedError) as error:
        print(f"  transformers' continuous batching does not run here: {error}", file=sys.stderr)
        del calls["continuous"]
    times = {"ours": repeats, "generate": repeats, "continuous": 1}
    seconds = alternate({name: [partial(call, lm, ids, new_tokens)] * times[name] for name, call in calls.items()})
    ours = median(seconds["ours"])
    note = f"greedy, {new_tokens} new tokens each; {count * new_tokens / ours:.0f} tokens/s ours"
    what = {
        "generate": (f"model.generate in left-padded batches of {BATCH}", target),
        "continuous": ("transformers' continuous batching", "-"),
    }
    return [
        result(
            f"generation, {count} GSM8K problems, {prompts} prompt, {what[name][0]}", "ours", median(seconds[name]),
            ours, what[name][1], unit="s", repeats=times[name], note=note,
        )
        for name in calls
        if name != "ours"
    ]  # fmt: skip


def prompt_ids(lm: LanguageModel, prompts: str, questions: list[str]) -> list[list[int]]:
    """The tokens that a model is asked with."""
    words = load_prompts(prompts)
    return [list(encode_prompt(lm.tokenizer, words.base(question))) for question in questions]


def answer_ours(lm: LanguageModel, ids: list[list[int]], new_tokens: int) -> None:
    """So many tokens for each prompt, by our generator, all in one batch."""
    share_prefixes(lm.model, shares_prefixes(lm.model))
    # Ends are switched off so that all write as many tokens.
    endless = LanguageModel(lm.model, lm.tokenizer, lm.name)
    vars(endless)["stop_ids"] = frozenset()
    settings = SamplingSettings(temperature=0, max_new_tokens=new_tokens, batch_size=len(ids))
    assert all(len(c.token_ids) == new_tokens for c in generate(endless, ids, settings))


def answer_padded(lm: LanguageModel, ids: list[list[int]], new_tokens: int) -> None:
    """The same by `model.generate`, in left-padded batches."""
    lm.model.set_attn_implementation("sdpa")
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        width = max(map(len, batch))
        padded = torch.tensor([[0] * (width - len(p)) + p for p in batch], device=lm.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch], device=lm.device)
        with torch.inference_mode():
            lm.model.generate(
                padded, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0, eos_token_id=None
            )  # fmt: skip


def answer_continuously(lm: LanguageModel, ids: list[list[int]], new_tokens: int) -> None:
    """The same by transformers' continuous batching."""
    lm.model.set_attn_implementation("sdpa")
    settings = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, pad_token_id=0, eos_token_id=-1)
    # By default it takes as much memory as the machine has free, and its mask is as large.
    room = sum(len(each) + new_tokens for each in ids)
    limits = ContinuousBatchingConfig(num_blocks=room // 256 + len(ids) + 1, page_size=256, max_batch_tokens=1024)
    with torch.inference_mode():
        found = lm.model.generate_batch(
            ids, generation_config=settings, continuous_batching_config=limits, warmup=False
        )
    if sorted(len(each.generated_tokens) for each in found.values()) != [new_tokens] * len(ids):
        raise RuntimeError("it did not write all tokens")


@torch.no_grad()
def growth(counts: Sequence[int] = COUNTS) -> list[Result]:
    """The exponent of time against the number of rows, short prompt, their base paths."""
    lm = _loaded()
    examples = encoded(lm.tokenizer, judged(), "short")
    objective = get_objective("sft")
    seconds = []
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
    return [result(f"time for {counts[0]} to {counts[-1]} rows: exponent", "linear", slope, 1.0, "<= 1.05", note=note)]
