"""What a training run would do, and what it takes: steps, tokens, time and memory, without loading weights."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig

from nlft import processes
from nlft.lm.encode import EncodedExample, encode_prompt
from nlft.lm.load import context_length, load_tokenizer, pick_device, pick_dtype
from nlft.lm.pack import TokenPath, pack_sequences
from nlft.lm.resolve import resolve_model
from nlft.objectives import Objective, get_objective
from nlft.progress import duration
from nlft.provenance import resident_mb
from nlft.records import Judged
from nlft.train.arguments import NLFTConfig
from nlft.train.config import TrainSettings
from nlft.train.dataset import encode_dataset
from nlft.train.memory import SPARE, Rehearsal, rehearse

if TYPE_CHECKING:
    from nlft.train.reft import ReFTConfig

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
    source, tokenizer = _read(settings)
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
    if examples:
        how = {"stored": settings.scale_schedule == "once", "anchored": settings.anchor > 0}
        done = _rehearsed(settings, source, _largest(examples, batch, settings.seed), objective, **how)
        lines += _costs(settings, done, steps)
    return "\n".join([*lines, *_few(steps)])


def describe_reft(settings: TrainSettings, rows: Sequence[Judged], config: ReFTConfig) -> str:
    """The dry run of ReFT: its two phases, and what they take at most, since responses are still to be sampled.

    Args:
        settings: Those of training.
        rows: Judged rows.
        config: The same settings as the trainer gets them.

    Raises:
        DataError, ConfigError, ModelError: as `describe`, and as the run for questions without room for a response.
    """
    from nlft.train.reft.questions import question_rows
    from nlft.train.reft.reward import check_references

    check_references(rows, config.grader)
    source, tokenizer = _read(settings)
    prompts, room = settings.prompt_set(), config.max_completion_length or 1
    limit = context_length(AutoConfig.from_pretrained(source))
    question_rows(rows, tokenizer, prompts, room=room, max_length=config.max_length, context_length=limit)
    sft = get_objective("sft", settings.saliency())
    chosen = [row for row in rows if config.target == "reference" or row.verdict.correct]
    examples = encode_dataset(chosen, tokenizer, prompts, objective=sft, target=config.target).examples
    size = config.per_device_train_batch_size
    warm_batch = config.warm_up_batch_size or size
    whole = settings.model_copy(update={"epochs": config.warm_up_epochs, "max_steps": -1})
    warm_steps = _steps(whole, len(examples), warm_batch)[0]
    per_epoch = math.ceil(len(rows) / config.rollout_size) * config.num_iterations
    steps = settings.max_steps if settings.max_steps > 0 else math.ceil(settings.epochs * per_epoch)
    asked = [(*encode_prompt(tokenizer, prompts.base(row.question)),) for row in rows]
    asked.sort(key=len, reverse=True)
    answer = [min(room, (config.max_length or len(each) + room) - len(each)) for each in asked]
    lines = [
        f"warm-up  {warm_steps} steps of SFT on {len(examples)} rows",
        f"steps    {steps} of PPO, {per_epoch} an epoch; {config.num_iterations} on each {config.rollout_size} responses",
        f"prompts  {len(asked)} questions, up to {len(asked[0]):,} tokens; responses are sampled, of {max(answer):,} at most",
    ]
    # Token 0 stands for what is still to be sampled: of a response, only its length matters here.
    sampled = [
        EncodedExample(str(place), True, TokenPath(prompt, (0,) * length), None, None)
        for place, (prompt, length) in enumerate(zip(asked[:size], answer, strict=False))
    ]
    ppo = _rehearsed(settings, source, (sampled, 1.0), sft, reference=True)
    if not examples:
        lines.append("warning: no response is correct, so the warm-up has nothing to train on; see --target reference")
        return "\n".join([*lines, *_costs(settings, ppo, steps, bound="at most ")])
    warm = _rehearsed(settings, source, _largest(examples, warm_batch, settings.seed), sft)
    work = ppo.operations * steps + warm.operations * warm_steps
    larger = ppo if ppo.step > warm.step else replace(warm, weights=ppo.weights)
    lines += _costs(settings, replace(larger, operations=work // steps), steps, bound="at most ")
    lines.append("         (the time without that of sampling)")
    return "\n".join([*lines, *_few(steps)])


def _read(settings: TrainSettings) -> tuple[str, Any]:
    """Where the model is, and its tokenizer."""
    source = resolve_model(settings.model)
    return source, load_tokenizer(source, trust_remote_code=settings.trust_remote_code, template=settings)


def _few(steps: int) -> list[str]:
    told = f"warning: {steps} steps are few; below {FEW_STEPS}, warm-up and Adam's averages have hardly begun"
    return [told] if steps < FEW_STEPS else []


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


def _largest(examples: Sequence[EncodedExample], batch: int, seed: int) -> tuple[list[EncodedExample], float]:
    """The largest of some batches, which decides the memory; and the size of an average one, as a share of it."""
    draw = Random(seed)
    batches = [draw.sample(list(examples), min(batch, len(examples))) for _ in range(BATCHES)]
    sizes = [len(pack_sequences([each.base.tokens for each in rows]).ids) for rows in batches]
    return batches[sizes.index(max(sizes))], sum(sizes) / len(sizes) / max(sizes)


def _rehearsed(
    settings: TrainSettings,
    source: str,
    batch: tuple[list[EncodedExample], float],
    objective: Objective,
    *,
    reference: bool = False,
    **how: bool,
) -> Rehearsal:
    """A step of a batch, its operations scaled to an average one; with a second adapter if there is a `reference`."""
    half = _computed(settings) is torch.bfloat16
    done = rehearse(
        source,
        batch[0],
        objective,
        dtype=torch.float32 if settings.full else _computed(settings),
        lora=None if settings.full else {**settings.lora, **({"lora_dropout": 0.0} if reference else {})},
        quantization=settings.quantization,
        autocast=half and (settings.quantization is not None or (settings.full and settings.dtype == "auto")),
        checkpointing=bool(settings.gradient_checkpointing),
        device=pick_device(settings.device),
        **how,
    ).scaled(batch[1])
    return replace(done, weights=done.weights + 4 * done.trained) if reference else done


def _computed(settings: TrainSettings) -> torch.dtype:
    """What the passes compute in."""
    return pick_dtype(settings.dtype, pick_device(settings.device))


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


def _costs(settings: TrainSettings, done: Rehearsal, steps: int, bound: str = "about ") -> list[str]:
    """Time and memory; memory on the CPU with the program itself, as the system counts it, on a GPU as torch does."""
    device = pick_device(settings.device)
    speed = _speed(device, _computed(settings)) * EFFICIENCY
    seconds = steps * settings.gradient_accumulation * done.operations / speed
    step = SPARE.get(device.type, 1.0) * done.step
    parts = {"weights": done.weights, "optimiser": done.optimizer, "a step": step}
    if device.type == "cpu":
        import nlft.train.loop  # noqa: F401 - what a run loads

        parts["program"] = int(resident_mb() * 2**20)
    shown = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())
    return [
        f"time     {bound}{duration(seconds)}, from the speed of a product of matrices on this machine now",
        f"memory   {bound}{sum(parts.values()) / 1e9:.2f} GB ({shown})",
    ]
