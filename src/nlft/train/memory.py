"""What a training step computes and how much memory it takes, by running it on tensors without data.

Torch's fake tensors have shapes, types and a device. So the numbers are those of the very code that trains, whatever
the model; a quantized one is run with bitsandbytes' own layers.
"""

from __future__ import annotations

import copy
import logging
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from nlft.errors import ConfigError
from nlft.lm.encode import EncodedExample
from nlft.lm.head import scoring_head
from nlft.lm.score import score_batch
from nlft.lm.wrappers import unwrap
from nlft.objectives import Objective
from nlft.train.bare_model import SCALES, bare_model, fill

if TYPE_CHECKING:
    from nlft.train.trainer import NLFTTrainer

logger = logging.getLogger("nlft")

FEW = 2  # layers that are rehearsed, and twice as many, to tell what one adds
ADAM_BYTES = 8  # its two averages of a trained weight, in float32
# What a step takes, as a multiple of its tensors. On the CPU the C library keeps what was freed: 1.41 to 1.50 with
# glibc, in four runs of SmolLM2-135M. On a GPU, what kernels take for a moment, and memory that is free in pieces.
SPARE = {"cpu": 1.45, "cuda": 1.1}


@dataclass(frozen=True)
class Rehearsal:
    """What one step takes.

    Attributes:
        weights: Bytes of the model's weights and the adapter's.
        optimizer: Bytes of the optimiser's state.
        step: Bytes of a step's activations and gradients, at their peak; a device takes `SPARE` times as much.
        operations: Floating-point operations of the step.
        trained: Number of trained weights.
    """

    weights: int
    optimizer: int
    step: int
    operations: int
    trained: int

    def scaled(self, share: float) -> Rehearsal:
        """With the operations of a step so much as large."""
        return replace(self, operations=round(self.operations * share))


def fit(trainer: NLFTTrainer, **how: Any) -> None:
    """Turn on activation checkpointing, with a line, if a step without it would not fit the GPU's free memory.

    Several processes, and devices other than CUDA, are left as they are; `how` is as for `needed`.
    """
    device = trainer.args.device
    if device.type != "cuda" or trainer.args.world_size > 1:
        return
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        step = needed(trainer, **how)
    except ConfigError as error:
        logger.warning("it is not known whether a step fits the GPU's memory: %s", error.message)
        return
    if step > free:
        trainer.args.activation_checkpointing = True
        logger.warning(
            "a step may need %.1f GB, and %.1f are free: activation checkpointing is on (slower; "
            "--no-gradient-checkpointing keeps it off)", step / 1e9, free / 1e9,
        )  # fmt: skip


def needed(trainer: NLFTTrainer, *, lora: dict[str, Any] | None, quantization: str | None = None) -> float:
    """What a step of the longest rows needs in addition to the weights, in bytes, without checkpointing.

    Args:
        trainer: One that has not begun.
        lora: The adapter's fields; None trains all weights.
        quantization: Of the model.
    """
    args, base = trainer.args, unwrap(trainer.model)
    rows = sorted(trainer.train_dataset.examples, key=lambda example: -example.longest)
    done = rehearse(
        base.config,
        rows[: args.per_device_train_batch_size],
        trainer.objective,
        dtype=torch.bfloat16 if quantization and args.bf16 else base.dtype,
        lora=lora,
        quantization=quantization,
        autocast=bool(args.bf16),
        anchored=args.anchor > 0,
        device=args.device,
    )
    return done.optimizer + SPARE.get(args.device.type, 1.0) * done.step


def rehearse(
    source: Any,
    batch: Sequence[EncodedExample],
    objective: Objective,
    *,
    dtype: torch.dtype,
    lora: dict[str, Any] | None,
    quantization: str | None = None,
    autocast: bool = False,
    checkpointing: bool = False,
    stored: bool = False,
    anchored: bool = False,
    device: torch.device | None = None,
) -> Rehearsal:
    """Run a micro-batch forward and backward on fake tensors.

    Args:
        source: The model's folder or hub id, of which only the config is read, or a config.
        batch: The rows.
        objective: Decides which paths are run.
        dtype: Of the weights; those of a quantized model are computed in it.
        lora: The adapter's fields; None trains all weights.
        quantization: "4bit", "8bit" or None.
        autocast: Compute in bfloat16.
        checkpointing: Compute activations again in the backward pass.
        stored: The scales are known, as under the schedule "once" after the first epoch.
        anchored: The loss has an anchor.
        device: Whose chunks of logits the head makes; the CPU's by default.

    Raises:
        ConfigError: for a model whose code asks for values, not only for shapes, or without bitsandbytes.
    """
    config = AutoConfig.from_pretrained(source) if isinstance(source, str) else copy.deepcopy(source)
    depth = config.get_text_config().num_hidden_layers

    def run(layers: int) -> tuple[int, int]:
        config.get_text_config().num_hidden_layers = layers
        model = bare_model(config, dtype, lora, quantization)
        if checkpointing:
            unwrap(model).activation_checkpointing_enable()
        scoring_head(unwrap(model)).chunks_of = device
        return _step(model, batch, objective, autocast=autocast, stored=stored, anchored=anchored)

    try:
        whole = bare_model(config, dtype, lora, quantization)
        if depth <= 2 * FEW or (lora or {}).get("layers_to_transform") is not None:
            peak, operations = run(depth)
        else:  # the rest are like the first few
            few, more = run(FEW), run(2 * FEW)
            peak, operations = (b + (depth - 2 * FEW) * (b - a) // FEW for a, b in zip(few, more, strict=True))
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"this model cannot be rehearsed without weights: {str(error).splitlines()[0]}", remedy="drop --dry-run"
        ) from error
    trained = sum(each.numel() for each in whole.parameters() if each.requires_grad)
    stores = [*whole.parameters(), *(each for name, each in whole.named_buffers() if name.endswith(SCALES))]
    weights = sum(each.numel() * each.element_size() for each in stores)
    return Rehearsal(weights, ADAM_BYTES * trained, peak, operations, trained)


def _step(
    model: nn.Module,
    batch: Sequence[EncodedExample],
    objective: Objective,
    *,
    autocast: bool,
    stored: bool,
    anchored: bool,
) -> tuple[int, int]:
    """The peak of a step's memory, and its operations."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        fill(model)
        model.train()
        with _Memory() as memory, FlopCounterMode(display=False, custom_mapping=_counted()) as counter:
            with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                rows = score_batch(model, batch, objective, stored=stored, anchored=anchored)
                kept = [each for row in rows for each in vars(row).values() if isinstance(each, Tensor)]
                loss = torch.stack([each.sum() for each in kept if each.requires_grad]).sum()
            del rows, kept
            loss.backward()  # type: ignore[no-untyped-call]
    return memory.peak, counter.get_total_flops()


def _counted() -> dict[Any, Any]:
    """The product of bitsandbytes that torch does not know how to count, if that is loaded."""
    product = getattr(torch.ops.bitsandbytes, "gemm_4bit", None)
    return {product: lambda states, *_, out_shape, **__: 2 * prod(out_shape) * states[-1]} if product else {}


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made within this context, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: set[int] = set()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_leaves(result):
            if not isinstance(each, Tensor):
                continue
            storage = each.untyped_storage()
            if storage._cdata in self.live or storage._cdata in given:
                continue  # a view, or what was there before
            self.live.add(storage._cdata)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _free(self, identity: int, size: int) -> None:
        self.live.discard(identity)
        self.now -= size
