"""The hidden states' sketch: what the walk of the clustering needs, in about a hundred bytes a token.

The walk (method: phrases around salient tokens) asks only for inner products of hidden states. The
best approximation of all n x n of them with r numbers a token is the truncated singular value
decomposition H ~ X Vᵀ, whose X (n x r) has the inner products of H itself. Each column of X is
stored as eight-bit integers times one step. With n or d up to r, nothing is cut off.
"""

from __future__ import annotations

import base64
import binascii

import torch
from torch import Tensor

from nlft.errors import DataError
from nlft.records import Sketch

__all__ = ["RANK", "decode_sketch", "encode_sketch"]

# 64 numbers a token are 86 characters of base64; the docs say what ranks 32 to 128 would give.
RANK = 64
LARGEST = 127


def encode_sketch(hidden_states: Tensor, rank: int = RANK) -> Sketch:
    """Compress hidden states so that their inner products survive.

    Args:
        hidden_states: (n, d) float tensor, any device and dtype.
        rank: How many numbers to keep a token.

    Returns:
        The sketch of rank min(rank, n, d).

    Raises:
        DataError: for hidden states that are not finite.
    """
    states = hidden_states.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(states).all()):
        raise DataError(
            "the model's hidden states are not finite", remedy="load the model in float32: its numbers overflow"
        )
    columns = _principal_columns(states, min(rank, *states.shape))
    steps = columns.abs().amax(dim=0) / LARGEST if len(columns) else columns.new_zeros(columns.shape[1])
    # Steps are written as float32's shortest decimals, and the codes must be made with what is written.
    steps = torch.tensor([float(f"{step:.9g}") for step in steps.tolist()], dtype=torch.float64)
    codes = torch.where(steps > 0, columns / steps, 0.0).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return Sketch(
        rank=codes.shape[1],
        steps=steps.tolist(),
        codes=base64.b64encode(codes.contiguous().numpy().tobytes()).decode("ascii"),
    )


def decode_sketch(sketch: Sketch, tokens: int) -> Tensor:
    """The (n, rank) float64 states that stand for the hidden states.

    Raises:
        DataError: when the codes are damaged or are not those of `tokens` tokens.
    """
    try:
        raw = bytearray(base64.b64decode(sketch.codes, validate=True))
    except (binascii.Error, ValueError):
        raise DataError("the sketch's codes are no base64", remedy="run `nlft score` again") from None
    if len(raw) != tokens * sketch.rank or len(sketch.steps) != sketch.rank:
        raise DataError(
            f"the sketch holds {len(raw)} codes where {tokens} tokens of rank {sketch.rank} need {tokens * sketch.rank}",
            remedy="run `nlft score` again",
        )
    codes = torch.frombuffer(raw, dtype=torch.int8) if raw else torch.empty(0, dtype=torch.int8)
    return codes.reshape(tokens, sketch.rank).to(torch.float64) * torch.tensor(sketch.steps, dtype=torch.float64)


def _principal_columns(states: Tensor, rank: int) -> Tensor:
    """X = U_r S_r of the singular value decomposition, by the smaller of the two Gram matrices."""
    n, d = states.shape
    if rank == 0:
        return states.new_zeros(n, 0)
    if n <= d:
        values, vectors = torch.linalg.eigh(states @ states.T)
        columns = vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(states.T @ states)
        columns = states @ vectors[:, -rank:]
    columns = columns.flip(1)
    # A singular vector's sign is free; fixing it makes the same states give the same bytes everywhere.
    largest = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True))
    return columns * torch.where(largest < 0, -1.0, 1.0)
