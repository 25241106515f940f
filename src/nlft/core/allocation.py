"""From the three paths' probabilities to each token's role and weight (paper 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nlft.core.cluster import Products, phrases, products, products_of
from nlft.core.saliency import prepare, salient_correct, salient_incorrect
from nlft.core.scales import scale_correct, scale_incorrect
from nlft.core.settings import SaliencySettings
from nlft.core.transfer import send


@dataclass(frozen=True)
class Allocation:
    """The role and scale of each of the n response tokens, without gradient.

    A correct response's tokens are salient, sub-salient (`cluster & ~salient`) or irrelevant
    (`~cluster`); in an incorrect one, salient means error, and all other tokens are irrelevant.

    Attributes:
        salient: (n,) the salient tokens.
        cluster: (n,) the tokens of their phrases, salient ones included.
        scale: (n,) S(y_t) of eqs. 3 and 4.
        excluded: whether the filter drops the example; its scales are then all 0.
        correct: whether the response is correct, which decides the loss term of a salient token.
    """

    salient: Bool[Tensor, " n"]
    cluster: Bool[Tensor, " n"]
    scale: Float[Tensor, " n"]
    excluded: bool = False
    correct: bool = True

    def to(self, device: torch.device | str) -> Allocation:
        """The same on another device."""
        return Allocation(
            self.salient.to(device), self.cluster.to(device), self.scale.to(device), self.excluded, self.correct
        )

    @classmethod
    def nothing(cls, like: Float[Tensor, " n"], *, correct: bool) -> Allocation:
        """No token is salient, every scale is 0, and the example is excluded."""
        none = torch.zeros_like(like, dtype=torch.bool)
        scale = torch.zeros(like.shape, dtype=_working_dtype(like), device=like.device)
        return cls(none, none, scale, excluded=True, correct=correct)


@dataclass(frozen=True)
class Paths:
    """What one response of n tokens is weighed by.

    Attributes:
        logp_base: log P(y_t | base), nats.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats; None for a correct response.
        products: the inner products of the base path's last hidden states; row t is the state that predicts y_t.
        marks: the errors of an incorrect response as a person marked them.
    """

    logp_base: Float[Tensor, " n"]
    logp_standard: Float[Tensor, " n"]
    logp_judge: Float[Tensor, " n"] | None
    products: Products
    marks: Bool[Tensor, " n"] | None = None


@torch.no_grad()
def allocate(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"] | None,
    hidden_states: Float[Tensor, "n d"],
    settings: SaliencySettings,
    marks: Bool[Tensor, " n"] | None = None,
) -> Allocation:
    """Find the salient tokens of one response, the phrases around them, and every token's scale.


    Args:
        logp_base: log P(y_t | base), nats.
        logp_standard: log P(y_t | standard), nats.
        logp_judge: log P(y_t | judge), nats; None for a correct response.
        hidden_states: the base path's last hidden states; row t is the state that predicts y_t.
        settings: the constants.
        marks: the errors of an incorrect response as a person marked them, whatever the ratios and the filter say.

    Raises:
        ValueError: for no tokens, or inputs of different lengths.

    >>> import torch
    >>> a = allocate(
    ...     torch.tensor([0.5, 0.5, 0.5]).log(), torch.tensor([0.99, 0.5, 0.5]).log(), None,
    ...     torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), SaliencySettings.paper())
    >>> a.salient.tolist(), a.cluster.tolist()
    ([True, False, False], [True, True, False])

    Source: arXiv 2412.20382, sections 3.3, 3.4, 6.1.
    """  # fmt: skip
    return allocate_all([Paths(logp_base, logp_standard, logp_judge, products(hidden_states), marks)], settings)[0]


@torch.no_grad()
def allocate_by_products(
    logp_base: Float[Tensor, " n"],
    logp_standard: Float[Tensor, " n"],
    logp_judge: Float[Tensor, " n"] | None,
    inner: Float[Tensor, "n n"],
    settings: SaliencySettings,
    marks: Bool[Tensor, " n"] | None = None,
) -> Allocation:
    """Like `allocate`, from the inner products of the hidden states, which is all that stored scores keep."""
    return allocate_all([Paths(logp_base, logp_standard, logp_judge, products_of(inner), marks)], settings)[0]


@torch.no_grad()
def allocate_all(rows: Sequence[Paths], settings: SaliencySettings) -> list[Allocation]:
    """`allocate` for several responses.

    Costs one transfer from the device and one back for all of them, whatever their lengths: the host walks the phrases,
    and reads the salient tokens and the products of near hidden states. Only a walk that joined 64 tokens and more on
    its left costs one more.
    """
    if not rows:
        return []
    for row in rows:
        _check(row)
    masks = [_salient(row, settings) for row in rows]
    walked = _host_walk(masks, rows, settings)
    return [
        _weigh(row, salient, cluster, share, settings)
        for row, salient, (cluster, share) in zip(rows, masks, walked, strict=True)
    ]


def _salient(row: Paths, settings: SaliencySettings) -> Bool[Tensor, " n"]:
    base, standard, judge = _prepared(row, settings)
    if judge is None:
        return salient_correct(base, standard, settings)
    if not settings.use_judge:
        return torch.zeros_like(base, dtype=torch.bool)
    return salient_incorrect(base, standard, judge, settings) if row.marks is None else row.marks


def _weigh(
    row: Paths, salient: Bool[Tensor, " n"], cluster: Bool[Tensor, " n"], share: float, settings: SaliencySettings
) -> Allocation:
    base, standard, judge = _prepared(row, settings)
    if judge is None:
        scale = scale_correct(base, standard, salient, cluster, settings)
        return Allocation(salient, cluster, _mean_one(scale, settings), excluded=False, correct=True)
    if not settings.use_judge:
        return Allocation.nothing(row.logp_base, correct=False)
    filtered = row.marks is None and settings.filter != "off" and share > settings.filter_threshold
    scale = scale_incorrect(base, standard, judge, salient, cluster, settings, masked=filtered)
    excluded = filtered and settings.filter == "drop"
    scale = torch.zeros_like(scale) if excluded else _mean_one(scale, settings)
    return Allocation(salient, cluster, scale, excluded, correct=False)


def _prepared(row: Paths, settings: SaliencySettings) -> tuple[Tensor, Tensor, Tensor | None]:
    judge = row.logp_judge
    correct = judge is None
    return (
        prepare(row.logp_base, settings, correct=correct, base=True),
        prepare(row.logp_standard, settings, correct=correct),
        None if judge is None else prepare(judge, settings, correct=correct),
    )


def _host_walk(
    masks: Sequence[Bool[Tensor, " _"]], rows: Sequence[Paths], settings: SaliencySettings
) -> list[tuple[Bool[Tensor, " _"], float]]:
    """Each row's phrase mask, on the device, and its share of salient tokens; every row has its own n."""
    walk = settings.cluster != "none"
    columns = [(row.products.near if walk else row.products.near[:, :0]) for row in rows]
    sent = [torch.cat([mask[:, None].to(near), near], 1) for mask, near in zip(masks, columns, strict=True)]
    flat = torch.cat([each.flatten() for each in sent]).cpu().double()
    parts = torch.split(flat, [each.numel() for each in sent])
    hosts = [part.view(each.shape).numpy() for part, each in zip(parts, sent, strict=True)]
    starts = [host[:, 0] > 0 for host in hosts]
    shares = [float(each.mean()) for each in starts]
    if not walk:
        return list(zip(masks, shares, strict=True))
    joined = [
        torch.from_numpy(phrases(row.products, host[:, 1:], each, settings))
        for row, host, each in zip(rows, hosts, starts, strict=True)
    ]
    return list(zip(send(joined, masks[0].device), shares, strict=True))


def _mean_one(scale: Float[Tensor, " n"], settings: SaliencySettings) -> Float[Tensor, " n"]:
    """Divide by the mean if the settings ask for it; scales that are all 0 stay 0."""
    if not settings.mean_one:
        return scale
    mean = scale.mean()
    return torch.where(mean > 0, scale / mean, scale)


def _working_dtype(logp: Tensor) -> torch.dtype:
    return torch.float64 if logp.dtype == torch.float64 else torch.float32


def _check(row: Paths) -> None:
    base, standard, judge = row.logp_base, row.logp_standard, row.logp_judge
    lengths = {len(base), len(standard), len(row.products.near), *([] if judge is None else [len(judge)])}
    if lengths == {0}:
        raise ValueError("a response needs at least one token")
    if len(lengths) > 1:
        raise ValueError(f"the paths differ in length: {sorted(lengths)}")
