"""A model without weights: its layers on torch's meta device, and filled with fake tensors for a pass.

The layers of bitsandbytes are its own, with weights of the size that it packs them to.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.quantizers import AutoHfQuantizer

from nlft.lm.load import quantization_config
from nlft.lm.logprobs import share_prefixes
from nlft.lm.obstacle import sharing_obstacle
from nlft.lm.quiet import quiet
from nlft.lm.wrappers import unwrap
from nlft.train.lora import lora_config, prepared

BLOCK = 64  # weights that share a scale in 4 bits
SCALES = "scales"


def bare_model(config: Any, dtype: torch.dtype, lora: dict[str, Any] | None, quantization: str | None) -> Any:
    """The model with its adapter, without data."""
    from peft import get_peft_model

    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if quantization is not None:
            quantizer = AutoHfQuantizer.from_config(quantization_config(quantization, dtype), pre_quantized=False)
            quantizer.preprocess_model(model, device_map=None)
            quantizer.postprocess_model(model)
            model = prepared(model)
        if lora is not None:
            model = get_peft_model(model, lora_config(model, **lora), low_cpu_mem_usage=True)
    for module in model.modules():
        _quantize(module)
    share_prefixes(model, sharing_obstacle(unwrap(model)) is None)
    return model


def _packed(module: nn.Module) -> str | None:
    """How bitsandbytes packs this layer, if it does; PEFT has layers of the same names."""
    name = type(module).__name__ if type(module).__module__.startswith("bitsandbytes.") else ""
    return {"Linear4bit": "4bit", "Linear8bitLt": "8bit"}.get(name)


def _quantize(module: nn.Module) -> None:
    """Give a layer of bitsandbytes weights of the size that it packs them to; as shapes, in ordinary tensors."""
    if (kind := _packed(module)) is None:
        return
    weight: Any = module.weight
    shape, size = weight.shape, weight.numel()
    packed = (-(-size // 2), 1) if kind == "4bit" else shape
    dtype = torch.uint8 if kind == "4bit" else torch.int8
    module.weight = nn.Parameter(torch.empty(packed, dtype=dtype, device="meta"), requires_grad=False)
    scales = -(-size // BLOCK) if kind == "4bit" else shape[0]
    module.register_buffer(SCALES, torch.empty(scales, device="meta"))
    module.shape = shape


def _with_scales(module: Any) -> None:
    """Tell a layer of bitsandbytes where its scales are, once they are fake tensors."""
    kind = _packed(module)
    if kind == "4bit":
        module.weight.quant_state = SimpleNamespace(
            absmax=module.scales, shape=module.shape, blocksize=BLOCK, quant_type="nf4", dtype=module.compute_dtype,
            nested=False,
        )  # fmt: skip
    elif kind == "8bit":
        module.weight.CB, module.weight.SCB = module.weight.data, module.scales


def fill(model: nn.Module) -> None:
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
    for module in model.modules():
        _with_scales(module)
