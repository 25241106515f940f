"""How the next token is chosen, the same on both ways of generating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nlft.errors import ConfigError


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample; the defaults are the paper's evaluation (§4.2).

    Args:
        temperature: 0 takes the likeliest token each time (greedy).
        max_new_tokens: The length limit.
        top_p: Sample among the likeliest tokens that together have this probability; 1 is all.
        seed: With the prompt's stream, the source of its random numbers.
        batch_size: How many sequences are decoded side by side.
    """

    temperature: float = 0.6
    max_new_tokens: int = 512
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        checks = {
            "temperature": self.temperature >= 0,
            "max_new_tokens": self.max_new_tokens >= 1,
            "top_p": 0 < self.top_p <= 1,
            "seed": self.seed >= 0,
            "batch_size": self.batch_size >= 1,
        }
        for name, fits in checks.items():
            if not fits:
                raise ConfigError(f"{name} cannot be {getattr(self, name)}", remedy="see the option's range in --help")


@dataclass(frozen=True)
class Completion:
    """A response: the prompt's index, its text, its ids without the stop token, why it ended, and by which token."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    stop_id: int | None = None


def uniforms(settings: SamplingSettings, stream: int) -> np.ndarray:
    """The random numbers of one prompt in [0, 1), one per token; they depend on (seed, stream) alone."""
    return np.random.Generator(np.random.Philox(key=[settings.seed, stream])).random(settings.max_new_tokens)


def choose(logits: Tensor, settings: SamplingSettings, numbers: np.ndarray) -> Tensor:
    """Draw one token per row by inverting its cumulative distribution at the row's number.

    Args:
        logits: (rows, vocabulary).
        settings: Temperature and top_p.
        numbers: (rows,) in [0, 1).

    Returns:
        (rows,) token ids.
    """
    if settings.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / settings.temperature).softmax(-1)
    order = None
    if settings.top_p < 1:
        probabilities, order = probabilities.sort(-1, descending=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= settings.top_p, 0.0)
    # Apple's MPS has no float64.
    cumulative = (probabilities.cpu() if probabilities.device.type == "mps" else probabilities).double().cumsum(-1)
    aim = torch.as_tensor(numbers, device=cumulative.device)[:, None] * cumulative[:, -1:]
    places = torch.searchsorted(cumulative, aim, right=True).clamp(max=logits.shape[-1] - 1).to(logits.device)
    return (order.gather(-1, places) if order is not None else places).squeeze(-1)
