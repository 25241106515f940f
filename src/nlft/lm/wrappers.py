"""What PEFT, accelerate and torch wrap around a model, and the model inside."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn


def unwrap(model: nn.Module) -> Any:
    """The causal language model inside PEFT's and accelerate's wrappers."""
    inner = _in_parallel(model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def _in_parallel(model: nn.Module) -> Any:
    """The model inside the wrappers for several devices."""
    inner: Any = model
    while hasattr(inner, "module"):
        inner = inner.module
    return inner


def base_model(model: nn.Module) -> AbstractContextManager[Any]:
    """Within this context, the model is as before training: without its adapter, if it has one."""
    inner = _in_parallel(model)
    return inner.disable_adapter() if hasattr(inner, "disable_adapter") else nullcontext()
