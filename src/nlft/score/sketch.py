"""The hidden states' sketch: what the walk of the clustering needs, in under a hundred bytes per token.

The walk needs only inner products of hidden states, but of any two of the n tokens: its centre is
carried along. So they are stored in two parts,

    <h_t, h_u> ~ <x_t, x_u> + e_tu   with e_tu = 0 for |t - u| > band.

X (n x rank) are the leading columns U S of the hidden states' singular value decomposition, of all
matrices of that rank the nearest, as eight-bit integers times one step per column. e makes the products
of near tokens exact: the centre halves what it holds with every token that joins, so these decide, and
what is far weighs 2^-band and less.
"""

from __future__ import annotations

import base64
import binascii

import torch
from torch import Tensor

from nlft.errors import DataError
from nlft.records import Sketch

# Measured in docs/saliency-map.md: with these one role in 31,563 differs from that of the whole hidden states.
RANK = 32
BAND = 8
LARGEST = 127


def encode_sketch(hidden_states: Tensor, rank: int = RANK, band: int = BAND) -> Sketch:
    """Compress hidden states so that their inner products survive.

    Args:
        hidden_states: (n, d) float tensor, any device and dtype.
        rank: Numbers to keep per token; at most n or d.
        band: Greatest distance in tokens at which inner products stay exact (in float32).

    Raises:
        DataError: for hidden states that are not finite.
    """
    states = hidden_states.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(states).all()):
        raise DataError(
            "the model's hidden states are not finite", remedy="its numbers overflow; load the model in float32"
        )
    columns = _principal_columns(states, min(rank, *states.shape))
    # Compute the codes with the steps as stored, after rounding to a few decimals.
    largest = columns.abs().amax(dim=0) if len(columns) else columns.new_zeros(columns.shape[1])
    steps = torch.tensor([float(f"{value / LARGEST:.6g}") for value in largest.tolist()], dtype=torch.float64)
    codes = torch.where(steps > 0, columns / steps, 0.0).round().clamp(-LARGEST, LARGEST)
    coarse = codes * steps
    corrections = torch.stack([_diagonal(states, k) - _diagonal(coarse, k) for k in range(band + 1)], dim=1)
    return Sketch(
        rank=codes.shape[1],
        steps=steps.tolist(),
        codes=_to_base64(codes.to(torch.int8)),
        band=band,
        corrections=_to_base64(corrections.to(torch.float32)),
    )


def decode_sketch(sketch: Sketch, tokens: int) -> Tensor:
    """The (n, n) float64 inner products that approximate those of the hidden states.

    Raises:
        DataError: if the sketch is damaged or does not have `tokens` tokens.
    """
    codes = _from_base64(sketch.codes, torch.int8, tokens, sketch.rank)
    corrections = _from_base64(sketch.corrections, torch.float32, tokens, sketch.band + 1).double()
    if len(sketch.steps) != sketch.rank:
        raise DataError("the sketch's number of steps does not match its rank", remedy="run `nlft score` again")
    coarse = codes.double() * torch.tensor(sketch.steps, dtype=torch.float64)
    inner = coarse @ coarse.T
    for k in range(min(sketch.band + 1, tokens)):
        inner.diagonal(k).add_(corrections[: tokens - k, k])
        if k > 0:
            inner.diagonal(-k).add_(corrections[: tokens - k, k])
    return inner


def _diagonal(states: Tensor, k: int) -> Tensor:
    """(n,) <h_t, h_(t+k)>, and 0 if there is no such token."""
    n = len(states)
    products = states.new_zeros(n)
    products[: max(n - k, 0)] = (states[: max(n - k, 0)] * states[k:]).sum(dim=1)
    return products


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
    # A singular vector's sign is free; fixing it makes the same states give the same bytes.
    largest = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True))
    signed: Tensor = columns * torch.where(largest < 0, -1.0, 1.0)
    return signed


def _to_base64(values: Tensor) -> str:
    little = values.contiguous().numpy()
    return base64.b64encode(little.astype(little.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def _from_base64(text: str, dtype: torch.dtype, rows: int, columns: int) -> Tensor:
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise DataError("the sketch is not valid base64", remedy="run `nlft score` again") from None
    if len(raw) != rows * columns * dtype.itemsize:
        raise DataError(
            f"the sketch holds {len(raw)} bytes, but {rows} tokens need {rows * columns * dtype.itemsize}",
            remedy="run `nlft score` again",
        )
    return torch.frombuffer(raw, dtype=dtype).reshape(rows, columns) if raw else torch.zeros(rows, columns, dtype=dtype)
