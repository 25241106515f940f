"""Phrases around salient tokens, by similarity of hidden states (paper 3.3).

The walk reads only inner products of hidden states, and only of near ones: the centre's weights halve with every token
that joins, so what is 64 tokens back weighs 2^-64, less than a double's rounding. The one exception is a walk that went
far to the left and turns right with the centre it has by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nlft.core.settings import SaliencySettings

WIDTH = 64
"""How many tokens back a centre's weights reach."""
REACH = 2 * WIDTH
"""A walk right from i reads products of tokens that are at most 63 before i with tokens at most 64 behind it."""


@dataclass(frozen=True)
class Products:
    """Inner products of n hidden states, on their device; float64 for float64, else float32.

    Attributes:
        near: <h_i, h_(i+k)> at (i, k) for all k < min(n, `REACH`), 0 where there is no such token.
        far: For tokens e, (m,), the products (m, n) of all h_j with sum over k < `WIDTH` of 2^-(k+1) h_(e+k): the
            centre of a walk that came from far to the right and ended at e. Only for those it is called.
    """

    near: Float[Tensor, "n reach"]
    far: Callable[[Tensor], Tensor]


def products(hidden_states: Float[Tensor, "n d"]) -> Products:
    """Those of hidden states, in O(n REACH d)."""
    h = hidden_states.detach()
    h = h if h.dtype == torch.float64 else h.float()
    n, d = h.shape
    reach = max(min(n, REACH), 1)
    count = -(-n // reach)
    blocks = F.pad(h, (0, 0, 0, (count + 1) * reach - n)).view(count + 1, reach, d)
    # Each block of tokens with itself and the next: row i holds its products from column i on.
    pairs = blocks[:-1] @ torch.cat([blocks[:-1], blocks[1:]], 1).mT
    band = pairs.as_strided((count, reach, reach), (2 * reach * reach, 2 * reach + 1, 1)).reshape(-1, reach)
    return Products(band[:n], lambda ends: _decaying(h, ends) @ h.T)


def products_of(inner: Float[Tensor, "n n"]) -> Products:
    """Those that a whole Gram matrix holds."""
    n = len(inner)
    diagonals = [F.pad(inner.diagonal(k), (0, k)) for k in range(min(n, REACH))]
    return Products(torch.stack(diagonals, 1) if n else inner, lambda ends: _decaying(inner, ends))


def _decaying(rows: Float[Tensor, "n d"], ends: Tensor) -> Float[Tensor, "m d"]:
    """The sums over k < WIDTH of 2^-(k+1) rows[e + k], by doubling."""
    sums, reach = rows / 2, 1
    while reach < WIDTH:
        sums = sums + F.pad(sums, (0, 0, 0, reach))[reach:] * 0.5**reach
        reach *= 2
    return sums[ends]


def phrases(
    found: Products, near: npt.NDArray[np.float64], salient: npt.NDArray[np.bool_], settings: SaliencySettings
) -> npt.NDArray[np.bool_]:
    """The tokens in the phrase of any salient token, the salient ones included.

    From each salient token i, with centre c = h_i, walk left until a neighbour does not join or the
    response begins, then right from i with the centre it has by then. A neighbour j joins while

        similarity: cos(c, h_j) > threshold          distance: 1 - cos(c, h_j) > threshold

    and the centre becomes c = (c + h_j) / 2. A vector of length 0 has cosine 0.

    All s walks go in step. From start i with centre c0, after joining i-1 .. j+1 the centre is

        c = sum over y = j+1 .. i-1 of 2^-(y-j) h_y  +  2^-(i-1-j) c0,

    so <c, h_j> is a running sum along row j of the band, the same for all starts but for where it ends, and a multiple
    of <c0, h_j>. The square follows by recursion: |(c + h) / 2|^2 = (|c|^2 + 2 <c, h> + |h|^2) / 4.

    Args:
        found: The inner products of the hidden states.
        near: `found.near` on the host.
        salient: (n,) where the walks start.
        settings: `cluster`, `cluster_threshold`.
    """
    joined = salient.copy()
    starts = np.flatnonzero(salient)
    if settings.cluster == "none" or len(starts) == 0 or len(starts) == len(salient):
        return joined
    lengths, squares = _walk(near, starts, near[starts, 0], -1, lambda rows, at: near[at, starts[rows] - at], settings)
    _join(joined, starts - lengths, starts)
    mirrored = np.stack([np.pad(near[: len(near) - k, k], (k, 0)) for k in range(min(WIDTH, near.shape[1]))], 1)
    lengths, _ = _walk(mirrored, starts, squares, 1, _by_centres(found, near, starts, lengths), settings)
    _join(joined, starts + 1, starts + 1 + lengths)
    return joined


Ints = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def _walk(
    band: Floats,
    starts: Ints,
    squares: Floats,
    direction: int,
    of_start: Callable[[Ints, Ints], Floats],
    settings: SaliencySettings,
) -> tuple[Ints, Floats]:
    """Walk from all s starts in step.

    Args:
        band: (n, reach) the products of each token with itself and, to the other side of `direction`, its neighbours.
        starts: (s,) where the walks start.
        squares: (s,) the squares <c0, c0> of their centres.
        direction: -1 to the left, 1 to the right.
        of_start: The products <c0, h_j> of some starts' centres, by number, with one token each.
        settings: `cluster`, `cluster_threshold`.

    Returns:
        how many tokens each walk joined, and the square of each centre at its end.
    """
    own, width = band[:, 0], min(WIDTH, band.shape[1])
    halves = np.ldexp(1.0, -np.arange(width))
    halves[0] = 0.0
    between = np.cumsum(band[:, :width] * halves, axis=1)
    lengths, squares = np.zeros_like(starts), squares.copy()
    rows, at, steps = np.arange(len(starts)), starts + direction, 0
    while True:
        inside = (at >= 0) & (at < len(band))
        rows, at = rows[inside], at[inside]
        if len(rows) == 0:
            return lengths, squares
        if steps == WIDTH + WIDTH // 2:
            more, squares[rows] = _go_on(between[:, -1], own, at, direction, settings)
            lengths[rows] = steps + more
            return lengths, squares
        product = between[at, min(steps, width - 1)]
        if steps < WIDTH:
            product = product + 0.5**steps * of_start(rows, at)
        joins = _joins(product, squares[rows], own[at], settings)
        rows, at, product = rows[joins], at[joins], product[joins]
        squares[rows] = (squares[rows] + 2.0 * product + own[at]) / 4.0
        steps += 1
        lengths[rows] = steps
        at = at + direction


def _joins(products: Floats, squares: Floats, own: Floats, settings: SaliencySettings) -> npt.NDArray[np.bool_]:
    """Whether tokens join, from their products with the centres, the centres' squares and their own."""
    norm = np.sqrt(np.maximum(squares, 0.0)) * np.sqrt(own)
    cosine = np.divide(products, norm, out=np.zeros_like(products), where=norm > 0)
    closeness = cosine if settings.cluster == "similarity" else 1.0 - cosine
    joins: npt.NDArray[np.bool_] = closeness > settings.cluster_threshold
    return joins


def _go_on(products: Floats, own: Floats, at: Ints, direction: int, settings: SaliencySettings) -> tuple[Ints, Floats]:
    """How many more tokens long walks join from `at` on, and the squares of their centres at the end.

    By now a centre is a sum over the tokens before it, wherever the walk began, and so is its square:
    |c_j|^2 = sum over k > 0 of 4^-k (2 <c, h> + |h|^2) of the token k before j.
    """
    n = len(own)
    products, own, places = (products, own, at) if direction > 0 else (products[::-1], own[::-1], n - 1 - at)
    quarters = np.ldexp(1.0, -2 * np.arange(1, WIDTH // 2 + 1))
    squares = np.concatenate([[0.0], np.convolve(2.0 * products + own, quarters)[:n]])
    refused = np.where(_joins(products, squares[:n], own, settings), n, np.arange(n))
    ends = np.minimum.accumulate(refused[::-1])[::-1][places]
    return ends - places, squares[ends]


def _by_centres(found: Products, near: Floats, starts: Ints, lengths: Ints) -> Callable[[Ints, Ints], Floats]:
    """The products of the centres after the walks to the left, which joined `lengths` tokens, with tokens on the right.

    With e the last token joined, the centre is the sum over k < length of 2^-(k+1) h_(e+k), and 2^-length h_start.
    """
    ends, long = starts - lengths, lengths >= WIDTH
    far, place = np.zeros((0, 0)), np.zeros_like(starts)
    if long.any():
        distinct, place[long] = np.unique(ends[long], return_inverse=True)
        far = found.far(torch.from_numpy(distinct).to(found.near.device)).cpu().numpy().astype(np.float64)
    k = np.arange(int(lengths[~long].max(initial=0)) + 1)

    def product(rows: Ints, at: Ints) -> Floats:
        result = np.empty(len(rows))
        away = long[rows]
        result[away] = far[place[rows[away]], at[away]]
        rows, at = rows[~away, None], at[~away, None]
        tokens, length = ends[rows] + k, lengths[rows]
        weights = np.ldexp(1.0, -np.minimum(k + 1, length)) * (k <= length)
        tokens = np.minimum(tokens, starts[rows])
        result[~away] = (weights * near[tokens, at - tokens]).sum(axis=1)
        return result

    return product


def _join(joined: npt.NDArray[np.bool_], first: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]) -> None:
    """Mark the tokens first .. stop - 1 of every walk, in place."""
    change = np.zeros(len(joined) + 1, dtype=np.intp)
    np.add.at(change, first, 1)
    np.add.at(change, stop, -1)
    joined |= np.cumsum(change)[:-1] > 0
