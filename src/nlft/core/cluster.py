"""Phrases around salient tokens, by similarity of hidden states (paper 3.3)."""

from __future__ import annotations

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
    response begins, then right from i with the centre it has by then. A neighbour j joins while

        similarity: cos(c, h_j) > threshold          distance: 1 - cos(c, h_j) > threshold

    and the centre becomes c = (c + h_j) / 2. A vector of length 0 has cosine 0.

    Only inner products are needed, so the hidden states stay on their device; see `_walk`.

    Args:
        inner: (n, n) inner products of the hidden states, on the host.
        salient: (n,) where the walks start.
        settings: `cluster`, `cluster_threshold`.
    """
    joined = salient.copy()
    starts = np.flatnonzero(salient)
    if settings.cluster == "none" or len(starts) == 0 or len(starts) == len(salient):
        return joined
    lengths, squares = _walk(inner, inner[starts], inner.diagonal()[starts], starts, settings)
    _join(joined, starts - lengths, starts)
    # The walk to the right is the walk to the left of the mirrored response, with the current centre.
    mirrored = inner[::-1, ::-1]
    products = (_centre(starts, lengths, len(joined)) @ inner)[:, ::-1]
    lengths, _ = _walk(mirrored, products, squares, len(joined) - 1 - starts, settings)
    _join(joined, starts + 1, starts + 1 + lengths)
    return joined


def _walk(
    inner: npt.NDArray[np.float64],
    products: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
    starts: npt.NDArray[np.intp],
    settings: SaliencySettings,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Walk left from all s starts in step, in O(n^2) together.

    From start i with centre c0, after joining i-1 .. j+1 the centre is

        c = sum over y = j+1 .. i-1 of 2^-(y-j) h_y  +  2^-(i-1-j) c0,

    so <c, h_j> is a sum over the part of row j of `inner` between j and i, the same for all
    starts but for where it ends, and a multiple of <c0, h_j>. The square follows by recursion:
    |(c + h) / 2|^2 = (|c|^2 + 2 <c, h> + |h|^2) / 4.

    Args:
        inner: (n, n) inner products of the hidden states.
        products: (s, n) the inner products <c0, h_j> of each start's centre.
        squares: (s,) their squares <c0, c0>.
        starts: (s,) where the walks start.
        settings: `cluster`, `cluster_threshold`.

    Returns:
        how many tokens each walk joined, and the square of each centre at its end.
    """
    between = np.cumsum(inner * _halves(len(inner)), axis=1)
    own = inner.diagonal()
    lengths, squares = np.zeros_like(starts), squares.copy()
    rows = np.flatnonzero(starts > 0)
    steps = 0
    while len(rows):
        at = starts[rows] - 1 - steps
        product = between[at, starts[rows] - 1] + 0.5**steps * products[rows, at]
        norm = np.sqrt(np.maximum(squares[rows], 0.0)) * np.sqrt(own[at])
        cosine = np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)
        near = cosine if settings.cluster == "similarity" else 1.0 - cosine
        joins = near > settings.cluster_threshold
        rows, at, product = rows[joins], at[joins], product[joins]
        squares[rows] = (squares[rows] + 2.0 * product + own[at]) / 4.0
        steps += 1
        lengths[rows] = steps
        rows = rows[at > 0]
    return lengths, squares


def _halves(n: int) -> npt.NDArray[np.float64]:
    """(n, n) the weights 2^-(y-j) for y > j, else 0."""
    apart = np.arange(n)[None, :] - np.arange(n)[:, None]
    return np.where(apart > 0, np.ldexp(1.0, -np.maximum(apart, 0)), 0.0)


def _centre(starts: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.float64]:
    """(s, n) what each hidden state adds to the centre of a walk that joined `lengths` tokens to the left."""
    end = (starts - lengths - 1)[:, None]
    y = np.arange(n)[None, :]
    weights = np.where((y > end) & (y < starts[:, None]), np.ldexp(1.0, -np.maximum(y - end, 0)), 0.0)
    weights[np.arange(len(starts)), starts] = np.ldexp(1.0, -lengths)
    return weights


def _join(joined: npt.NDArray[np.bool_], first: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]) -> None:
    """Mark the tokens first .. stop - 1 of every walk, in place."""
    change = np.zeros(len(joined) + 1, dtype=np.intp)
    np.add.at(change, first, 1)
    np.add.at(change, stop, -1)
    joined |= np.cumsum(change)[:-1] > 0
