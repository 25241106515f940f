"""In what precision weights are trained: float32, under bfloat16 autocast where the device computes that fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nlft.errors import ConfigError
from nlft.lm.load import LanguageModel, pick_dtype

# The bits of a weight's significand, the hidden one included.
SIGNIFICANT_BITS = {"bfloat16": 8, "float16": 11}


def refuse_half(dtype: str, learning_rate: float, remedy: str) -> ConfigError:
    """Why weights of half precision do not learn, in numbers.

    A weight w with 2^e <= w < 2^(e+1) and b significant bits lies 2^(e-b+1) from the next, and a step below half of
    that, 2^(e-b), is rounded away. A step of Adam is about the learning rate, so all w > 2^(b+1) x learning rate stay.

    >>> refuse_half("bfloat16", 5e-5, "drop --dtype").message
    'bfloat16 weights would not learn: a step of Adam is about the learning rate, 5e-05, and rounds to nothing for every weight above 512 x 5e-05 = 0.0256'
    """
    factor = 2 ** (SIGNIFICANT_BITS[dtype] + 1)
    return ConfigError(
        f"{dtype} weights would not learn: a step of Adam is about the learning rate, {learning_rate:g}, and rounds to "
        f"nothing for every weight above {factor} x {learning_rate:g} = {factor * learning_rate:.3g}",
        remedy=remedy,
    )


def check_masters(network: nn.Module, learning_rate: float) -> None:
    """Refuse to train a model whose own weights are in half precision.

    Raises:
        ConfigError: with the arithmetic.
    """
    names = {str(p.dtype).removeprefix("torch.") for p in network.parameters() if p.requires_grad}
    for name in names & SIGNIFICANT_BITS.keys():
        raise refuse_half(name, learning_rate, 'load the model with dtype="float32", and let bf16=True compute faster')


@contextmanager
def masters_kept(network: nn.Module) -> Iterator[None]:
    """Keep the trained weights as they are through a block that rounds them.

    TRL's trainers take a quantized model's adapter to bfloat16, in which the steps of a small learning rate are lost.
    """
    masters = [(weight, weight.data) for weight in network.parameters() if weight.requires_grad]
    yield
    for weight, master in masters:
        if weight.dtype != master.dtype:
            weight.data = master.to(weight.device)


def autocast(lm: LanguageModel, *, full: bool, dtype: str) -> bool:
    """Whether to compute in bfloat16 what is kept in float32: all weights, or a quantized model's norms and head.

    Args:
        lm: The loaded model.
        full: Whether all its weights are trained.
        dtype: The setting; "auto" leaves it to the device.
    """
    if getattr(lm.model, "quantization_method", None) is not None:
        return lm.dtype is torch.bfloat16
    return full and dtype == "auto" and pick_dtype("auto", lm.device) is torch.bfloat16
