"""Phrases around salient tokens, by similarity of hidden states (paper 3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from nlft.core.settings import SaliencySettings


def gram(hidden_states: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """G_ij = <h_i, h_j>, on the device of the hidden states; float64 for float64, else float32."""
    h = hidden_states.detach()
    h = h if h.dtype == torch.float64 else h.float()
    return h @ h.T


def phrases(
    inner: npt.NDArray[np.float64], salient: npt.NDArray[np.bool_], settings: SaliencySettings
) -> npt.NDArray[np.bool_]:
    """The tokens in the phrase of any salient token, the salient ones included.

    From each salient token i, with centre c = h_i, walk left until a neighbour does not join or the
    response begins, then right from i with the centre as it is by then. A neighbour j joins while

        similarity: cos(c, h_j) > threshold          distance: 1 - cos(c, h_j) > threshold

    and the centre becomes c = (c + h_j) / 2. A vector of length 0 has cosine 0.

    Only inner products are needed: with v_j = <c, h_j> and w = <c, c> a join of k gives
    v = (v + G_k) / 2 and w = (w + 2 v_k + G_kk) / 4, v_k from before. So the hidden states stay on their
    device, and all walks go in step.

    Args:
        inner: (n, n) inner products of the hidden states, on the host.
        salient: (n,) where the walks start.
        settings: `cluster`, `cluster_threshold`.
    """
    joined = salient.copy()
    starts = np.flatnonzero(salient)
    if settings.cluster == "none" or len(starts) == 0 or len(starts) == len(salient):
        return joined
    square = inner.diagonal().copy()
    to_all = inner[starts].copy()  # row i: <c_i, h_j> for every token j
    to_self = square[starts].copy()  # <c_i, c_i>
    for step in (-1, 1):
        _walk(inner, square, to_all, to_self, starts, step, joined, settings)
    return joined


def _walk(
    inner: npt.NDArray[np.float64],
    square: npt.NDArray[np.float64],
    to_all: npt.NDArray[np.float64],
    to_self: npt.NDArray[np.float64],
    starts: npt.NDArray[np.intp],
    step: int,
    joined: npt.NDArray[np.bool_],
    settings: SaliencySettings,
) -> None:
    """Walk from all starts in one direction, updating the centres' products and `joined` in place."""
    rows, at = np.arange(len(starts)), starts + step
    while True:
        inside = (at >= 0) & (at < len(joined))
        rows, at = rows[inside], at[inside]
        product: npt.NDArray[Any] = to_all[rows, at]
        length = np.sqrt(np.maximum(to_self[rows], 0.0) * square[at])
        cosine = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
        near = cosine if settings.cluster == "similarity" else 1.0 - cosine
        joins = near > settings.cluster_threshold
        rows, at, product = rows[joins], at[joins], product[joins]
        if len(rows) == 0:
            return
        joined[at] = True
        to_self[rows] = (to_self[rows] + 2.0 * product + square[at]) / 4.0
        to_all[rows] = (to_all[rows] + inner[at]) / 2.0
        at = at + step
