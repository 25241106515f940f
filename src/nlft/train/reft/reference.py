"""The reference policy: a second, frozen adapter with the weights of the policy after the warm-up.

The KL penalty holds the policy near the *warm-up* policy. Switching the adapter off would give the base model instead,
and merging it before PPO would leave a result that no longer loads as one adapter of the original model.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from nlft.errors import ConfigError

REFERENCE = "reference"


def add_reference(model: Any) -> None:
    """Copy the policy's adapter, as it is now, into the reference.

    Raises:
        ConfigError: for a model without an adapter, which would have to be copied whole.
    """
    if not isinstance(model, PeftModel):
        raise ConfigError("ReFT trains an adapter only", remedy="pass a PEFT model, as after the warm-up")
    policy = model.active_adapter
    settings = copy.deepcopy(model.peft_config[policy])
    settings.inference_mode = True
    with torch.random.fork_rng(devices=[]):  # its first weights, which are replaced, must cost no random numbers
        model.add_adapter(REFERENCE, settings)
    weights = {name: weight.clone() for name, weight in get_peft_model_state_dict(model, adapter_name=policy).items()}
    set_peft_model_state_dict(model, weights, adapter_name=REFERENCE)
    model.set_requires_grad(REFERENCE, False)


@contextmanager
def as_reference(model: Any) -> Iterator[None]:
    """Within this context the model is the reference; passes must not carry gradient."""
    policy = model.active_adapter
    model.set_adapter(REFERENCE, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter(policy)


@contextmanager
def without_reference(model: Any) -> Iterator[None]:
    """Within this context, `save_pretrained` saves the policy alone."""
    model.save_pretrained = functools.partial(model.save_pretrained, selected_adapters=[model.active_adapter])
    try:
        yield
    finally:
        del model.save_pretrained
