"""How to choose the next token, the same for both ways of generating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nlft.lm.config import SamplingSettings


@dataclass(frozen=True)
class Completion:
    """A response: the prompt's index, its text, its ids without the stop token, why it ended, and by which token.

    What the model thought before it answered is apart, in `thoughts`.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    stop_id: int | None = None
    thoughts: str = ""


def uniforms(settings: SamplingSettings, stream: int) -> np.ndarray:
    """The random numbers of one prompt in [0, 1), one per token; they depend on (seed, stream) alone."""
    return np.random.Generator(np.random.Philox(key=[settings.seed, stream])).random(settings.max_new_tokens)


def sample_token(logits: Tensor, settings: SamplingSettings, numbers: np.ndarray) -> Tensor:
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
