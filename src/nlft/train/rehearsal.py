"""One step of training in the mind: what it computes and how much memory it takes, without weights.

Tensors are torch's fake ones: they have shapes, types and a device, but no data. So the numbers are those of the very
code that trains, whatever the model.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from nlft.errors import ConfigError
from nlft.lm.encode import EncodedExample
from nlft.lm.logprobs import share_prefixes
from nlft.lm.obstacle import sharing_obstacle
from nlft.lm.quiet import quiet
from nlft.lm.score import score_batch
from nlft.lm.wrappers import unwrap
from nlft.objectives import Objective
from nlft.train.lora import lora_config

__all__ = ["Rehearsal", "rehearse"]

FEW = 2  # layers that are rehearsed, and twice as many, to tell what one adds
ADAM_BYTES = 8  # its two averages of a trained weight, in float32


@dataclass(frozen=True)
class Rehearsal:
    """What one step takes.

    Attributes:
        weights: Bytes of the model's weights and the adapter's.
        optimizer: Bytes of the optimiser's state.
        step: Bytes of a step's activations and gradients, at their peak.
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


def rehearse(
    source: str,
    batch: Sequence[EncodedExample],
    objective: Objective,
    *,
    dtype: torch.dtype,
    lora: dict[str, Any] | None,
    autocast: bool = False,
    checkpointing: bool = False,
    stored: bool = False,
    anchored: bool = False,
) -> Rehearsal:
    """Run a micro-batch forward and backward on fake tensors.

    Args:
        source: The model's folder or hub id; only its config is read.
        batch: The rows.
        objective: Decides which paths are run.
        dtype: Of the weights.
        lora: The adapter's fields; None trains all weights.
        autocast: Compute in bfloat16.
        checkpointing: Compute activations again in the backward pass.
        stored: The scales are known, as under the schedule "once" after the first epoch.
        anchored: The loss has an anchor.

    Raises:
        ConfigError: for a model whose code asks for values, not only for shapes.
    """

    def run(layers: int | None) -> tuple[int, int]:
        model = _meta(source, layers, dtype, lora)
        if checkpointing:
            unwrap(model).activation_checkpointing_enable()
        try:
            return _step(model, batch, objective, autocast=autocast, stored=stored, anchored=anchored)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise ConfigError(
                f"this model cannot be rehearsed without weights: {str(error).splitlines()[0]}", remedy="drop --dry-run"
            ) from error

    whole = _meta(source, None, dtype, lora)
    depth = unwrap(whole).config.get_text_config().num_hidden_layers
    if depth <= 2 * FEW or (lora or {}).get("layers_to_transform") is not None:
        peak, operations = run(None)
    else:  # the rest are like the first few
        few, more = run(FEW), run(2 * FEW)
        peak, operations = (b + (depth - 2 * FEW) * (b - a) // FEW for a, b in zip(few, more, strict=True))
    parameters = list(whole.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    weights = sum(each.numel() * each.element_size() for each in parameters)
    return Rehearsal(weights, ADAM_BYTES * trained, peak, operations, trained)


def _meta(source: str, layers: int | None, dtype: torch.dtype, lora: dict[str, Any] | None) -> Any:
    """The model with its adapter, of so many layers, without data."""
    from peft import get_peft_model

    config = AutoConfig.from_pretrained(source)
    if layers is not None:
        config.get_text_config().num_hidden_layers = layers
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if lora is not None:
            model = get_peft_model(model, lora_config(model, **lora), low_cpu_mem_usage=True)
    share_prefixes(model, sharing_obstacle(unwrap(model)) is None)
    return model


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
        _fill(model)
        model.train()
        with _Memory() as memory, FlopCounterMode(display=False) as counter:
            with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                rows = score_batch(model, batch, objective, stored=stored, anchored=anchored)
                kept = [each for row in rows for each in vars(row).values() if isinstance(each, Tensor)]
                loss = torch.stack([each.sum() for each in kept if each.requires_grad]).sum()
            del rows, kept
            loss.backward()  # type: ignore[no-untyped-call]
    return memory.peak, counter.get_total_flops()


def _fill(model: nn.Module) -> None:
    """Put fake tensors on the CPU in the place of those on the meta device; what is shared stays shared."""
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        stores: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for store in stores:
            for name, tensor in store.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    parameter = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = (tensor, nn.Parameter(fake, tensor.requires_grad) if parameter else fake)
                store[name] = made[id(tensor)][1]


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
