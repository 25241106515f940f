"""What a training step needs of a GPU's memory, estimated from what one short pass leaves behind."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from nlft.lm.head import chunk_bytes
from nlft.lm.logprobs import path_logprobs, shares_prefixes
from nlft.lm.pack import TokenPath, pack_sequences
from nlft.train.trainer import NLFTTrainer

logger = logging.getLogger("nlft")

# A trained weight's gradient and AdamW's two averages have its own type.
PER_TRAINED = 3
# The logits of a chunk, their softmax and its product with the head are there at once.
CHUNKS = 3
# What kernels take for a moment, and memory that is free in pieces.
RESERVE = 1.1


def fit(trainer: NLFTTrainer) -> None:
    """Turn on activation checkpointing, with a line, if a step without it would not fit the GPU's free memory.

    Several processes, and devices other than CUDA, are left as they are.
    """
    device = trainer.args.device
    if device.type != "cuda" or trainer.args.world_size > 1:
        return
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    needed = step_bytes(trainer)
    if needed > free:
        trainer.args.activation_checkpointing = True
        logger.warning(
            "a step may need %.1f GB, and %.1f are free: activation checkpointing is on (slower; "
            "--no-gradient-checkpointing keeps it off)", needed / 1e9, free / 1e9,
        )  # fmt: skip


def step_bytes(trainer: NLFTTrainer) -> float:
    """What a step needs in addition to the weights, at most, in bytes: the batch's rows are the longest there are."""
    model: Any = trainer.model
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    rows = sorted(trainer.train_dataset.examples, key=lambda example: -example.longest)
    rows = rows[: trainer.args.per_device_train_batch_size]
    paths = [example.base for example in rows]
    for example in rows:
        names = trainer.objective.needs(correct=example.correct).loss
        paths += [path for name in sorted(names) if (path := getattr(example, name)) is not None]
    if shares_prefixes(model):
        tokens = len(pack_sequences([path.tokens for path in paths]).ids)
    else:
        tokens = len(paths) * max(len(path.tokens) for path in paths)
    working = tokens * bytes_per_token(model) + CHUNKS * chunk_bytes(trainer.args.device)
    return float(RESERVE * (PER_TRAINED * trained + working))


def bytes_per_token(model: nn.Module) -> float:
    """What each token leaves behind for the backward pass, in bytes, without activation checkpointing.

    Counted by running a short pass and a longer one: the memory of all tensors that autograd keeps and that are no
    weights. Attention keeps as much for each token, however many there are.
    """
    short, long = 256, 512
    training = model.training
    model.train()
    try:
        with torch.random.fork_rng(devices=[d] if (d := next(model.parameters()).device).type == "cuda" else []):
            return (_kept(model, long) - _kept(model, short)) / (long - short)
    finally:
        model.train(training)


def _kept(model: nn.Module, tokens: int) -> int:
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    # The storages are held, or another could come to be in a freed one's place.
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        path_logprobs(model, [TokenPath((0,) * (tokens - 1), (0,))])
        return sum(storage.nbytes() for storage in kept.values())
