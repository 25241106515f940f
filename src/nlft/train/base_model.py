"""What training asks of the model it is given: kept untouched where it teaches, and trained whole only on purpose."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from nlft.errors import ConfigError
from nlft.lm.wrappers import unwrap
from nlft.objectives import Objective
from nlft.train.arguments import NLFTConfig
from nlft.train.lora import changes_base

logger = logging.getLogger("nlft")


def check_base(args: NLFTConfig, objective: Objective, network: nn.Module, peft_config: Any, *, full: bool) -> None:
    """Refuse to learn from an untouched model that training does not keep, or to train both an adapter and all weights.

    Raises:
        ConfigError: with the way out.
    """
    if full and peft_config is not None:
        raise ConfigError("full and peft_config exclude each other", remedy="drop one of them")
    needs = [objective.needs(correct=correct) for correct in (True, False)]
    taught = ["an anchor"] if args.anchor > 0 else []
    taught += [args.objective] if any(each.top_k for each in needs) else []
    once = args.scale_schedule == "once" and any(each.weigh for each in needs)
    if taught and peft_config is None and not hasattr(network, "disable_adapter"):
        raise ConfigError(
            f"{taught[0]} learns from the base model and needs an adapter to train",
            remedy="pass a peft_config instead of training all weights",
        )
    if (taught or once) and changes_base(peft_config):
        what = taught[0] if taught else 'the scale schedule "once"'
        raise ConfigError(
            f"{what} needs the untouched model, which init_lora_weights={peft_config.init_lora_weights} changes",
            remedy="choose another initialisation",
        )


def check_head(args: NLFTConfig, network: nn.Module) -> None:
    """Refuse an anchor where the head is trained, from which the untouched model's distributions are made.

    Raises:
        ConfigError: with the way out.
    """
    if args.anchor > 0 and any(p.requires_grad for p in unwrap(network).get_output_embeddings().parameters()):
        raise ConfigError(
            "an anchor needs a head that is not trained", remedy="leave the head out of the adapter's target_modules"
        )


def warn_of_all_weights(network: nn.Module, *, meant: bool) -> None:
    """Say how many weights are trained, unless that is meant or the model brings an adapter along."""
    if not meant and not hasattr(network, "peft_config"):
        logger.warning(
            "no peft_config, so %s weights of the model itself are trained: pass peft_config=nlft.train.lora_config(model) "
            "to train an adapter, or full=True if this is meant",
            f"{sum(p.numel() for p in network.parameters() if p.requires_grad):,}",
        )
