"""What a training run would do, and what it takes: steps, tokens, time and memory, without loading weights."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from random import Random

import torch

from nlft import processes
from nlft.lm.encode import EncodedExample
from nlft.lm.load import context_length, load_tokenizer, pick_device, pick_dtype
from nlft.lm.pack import pack_sequences
from nlft.lm.resolve import resolve_model
from nlft.objectives import Objective, get_objective
from nlft.progress import duration
from nlft.provenance import resident_mb
from nlft.records import Judged
from nlft.train.arguments import NLFTConfig
from nlft.train.config import TrainSettings
from nlft.train.dataset import encode_dataset
from nlft.train.rehearsal import Rehearsal, rehearse

__all__ = ["describe"]

FEW_STEPS = 50
BATCHES = 64  # of those that may come, so many are looked at for the largest
# A step's share of the speed of one large product, as measured on the CPU with SmolLM2-135M.
EFFICIENCY = 0.5


def describe(settings: TrainSettings, rows: Sequence[Judged]) -> str:
    """The dry run as text.

    Raises:
        DataError: for rows that cannot be encoded.
        ConfigError, ModelError: for a model whose config or tokenizer cannot be read, or that cannot be rehearsed.
    """
    from transformers import AutoConfig

    source = resolve_model(settings.model)
    tokenizer = load_tokenizer(source, trust_remote_code=settings.trust_remote_code, template=settings)
    objective = get_objective(settings.objective, settings.saliency(), **settings.objective_option)
    encoded = encode_dataset(rows, tokenizer, settings.prompt_set(), objective=objective, target=settings.target)
    limit = settings.max_length or context_length(AutoConfig.from_pretrained(source))
    long = [each.id for each in encoded.examples if limit is not None and each.longest > limit]
    examples = [each for each in encoded.examples if each.id not in set(long)]
    lines = [f"rows     {len(rows)}, {len(rows) - len(encoded)} of them skipped, as they have no judgment"]
    if long:
        shown = ", ".join(long[:3]) + (", ..." if len(long) > 3 else "")
        lines.append(f"too long {len(long)} rows have more than {limit} tokens, and would be refused: {shown}")
    batch = settings.batch_size or NLFTConfig.per_device_train_batch_size
    steps, per_epoch = _steps(settings, len(examples), batch)
    warmup = settings.warmup if settings.warmup is not None else NLFTConfig.warmup_steps
    warmup = math.ceil(warmup * steps) if warmup < 1 else int(warmup)
    lines.append(f"steps    {steps}, {per_epoch} an epoch, {min(warmup, steps)} of them warm-up")
    lines += _tokens(examples, objective)
    device = pick_device(settings.device)
    dtype = torch.float32 if settings.full else pick_dtype(settings.dtype, device)
    if examples:
        done = _rehearsed(settings, source, examples, objective, batch, dtype)
        computed = torch.bfloat16 if settings.full and pick_dtype(settings.dtype, device) is torch.bfloat16 else dtype
        seconds = steps * settings.gradient_accumulation * done.operations / (_speed(device, computed) * EFFICIENCY)
        lines.append(f"time     about {duration(seconds)}, from the speed of a product of matrices on this machine now")
        lines.append(_memory(done, device))
    if steps < FEW_STEPS:
        lines.append(
            f"warning: {steps} steps are few; below {FEW_STEPS}, warm-up and Adam's averages have hardly begun"
        )
    return "\n".join(lines)


def _steps(settings: TrainSettings, rows: int, batch: int) -> tuple[int, int]:
    """The steps of the run, and of an epoch."""
    batches = math.ceil(rows / (batch * processes.count()))
    per_epoch = max(1, math.ceil(batches / settings.gradient_accumulation))
    return settings.max_steps if settings.max_steps > 0 else math.ceil(settings.epochs * per_epoch), per_epoch


def _tokens(examples: Sequence[EncodedExample], objective: Objective) -> list[str]:
    """A line for each path: on how many rows it is run, its longest, and how many tokens of it are trained."""
    lines = []
    for name in ("base", "standard", "judge", "preferred"):
        paths, trained = [], 0
        for each in examples:
            needs, path = objective.needs(correct=each.correct), getattr(each, name)
            taught = needs.top_k > 0 and name == "standard"
            if path is None or not (name == "base" or name in needs.loss | needs.weigh or taught):
                continue
            paths.append(path)
            trained += len(path.response) if name == "base" or name in needs.loss else 0
        if paths:
            longest = max(len(path.tokens) for path in paths)
            what = f"{trained:,} tokens trained an epoch" if trained else "read without gradient"
            lines.append(f"{name:<9}{len(paths)} rows, up to {longest:,} tokens; {what}")
    return lines


def _rehearsed(
    settings: TrainSettings,
    source: str,
    examples: Sequence[EncodedExample],
    objective: Objective,
    batch: int,
    dtype: torch.dtype,
) -> Rehearsal:
    """The step of the largest of some batches, which decides the memory; its operations scaled to the average one."""
    draw = Random(settings.seed)
    batches = [draw.sample(list(examples), min(batch, len(examples))) for _ in range(BATCHES)]
    sizes = [len(pack_sequences([each.base.tokens for each in rows]).ids) for rows in batches]
    return rehearse(
        source,
        batches[sizes.index(max(sizes))],
        objective,
        dtype=dtype,
        lora=None if settings.full else settings.lora,
        autocast=settings.full
        and settings.dtype == "auto"
        and pick_dtype("auto", pick_device(settings.device)) is not dtype,
        checkpointing=bool(settings.gradient_checkpointing),
        stored=settings.scale_schedule == "once",
        anchored=settings.anchor > 0,
    ).scaled(sum(sizes) / len(sizes) / max(sizes))


def _speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a product of matrices, measured for a moment."""
    size = 1024 if device.type == "cpu" else 8192
    left, right = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    left @ right
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < 0.5:
        (left @ right).sum().item()
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - start)


def _memory(done: Rehearsal, device: torch.device) -> str:
    """On the CPU with the program itself, as the system counts it; on a GPU, what torch allocates."""
    parts = {"weights": done.weights, "optimiser": done.optimizer, "a step": done.step}
    if device.type == "cpu":
        import nlft.train.loop  # noqa: F401 - what a run loads

        parts["program"] = int(resident_mb() * 2**20)
    shown = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())
    return f"memory   about {sum(parts.values()) / 1e9:.2f} GB ({shown})"
