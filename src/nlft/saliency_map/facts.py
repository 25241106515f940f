"""The facts about each token, in Python: the numbers behind the page and the terminal view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from nlft.core import Allocation, SaliencySettings, token_terms
from nlft.records import Scores
from nlft.score.schema import allocate_scores
from nlft.score.sketch import decode_sketch

Role = Literal["irrelevant", "sub_salient", "salient", "near_error", "error", "marked"]


@dataclass(frozen=True)
class TokenFacts:
    """One token: probabilities, ratios (None for a correct response), role, the user's factor, its part in the loss."""

    piece: str
    p_base: float
    p_standard: float
    p_judge: float | None
    r1: float | None
    r2: float | None
    similarity: float | None
    role: Role
    scale: float
    weight: float
    share: float


def token_facts(scores: Scores, settings: SaliencySettings | None = None) -> list[TokenFacts]:
    """Everything the page shows about each token, under the file's own settings or others."""
    settings = settings or SaliencySettings.from_mapping(scores.settings)
    allocation = allocate_scores(scores, settings)
    salient, cluster = allocation.salient.tolist(), allocation.cluster.tolist()
    roles = roles_of(salient, cluster, correct=scores.logp_judge is None, marks=scores.marks)
    inner = decode_sketch(scores.sketch, len(salient)).numpy()
    near = similarities(inner, np.array(salient, dtype=bool), settings)
    terms = loss_terms(scores, allocation, settings)
    whole = sum(terms)
    facts = []
    for t, piece in enumerate(scores.pieces):
        base, standard = scores.logp_base[t], scores.logp_standard[t]
        judge = None if scores.logp_judge is None else scores.logp_judge[t]
        facts.append(
            TokenFacts(
                piece=piece,
                p_base=math.exp(base),
                p_standard=math.exp(standard),
                p_judge=None if judge is None else math.exp(judge),
                r1=None if judge is None else _exp(judge - base),
                r2=None if judge is None else _exp(judge - standard),
                similarity=None if math.isnan(near[t]) else float(near[t]),
                role=roles[t],
                scale=float(allocation.scale[t]),
                weight=1.0 if scores.weights is None else scores.weights[t],
                share=terms[t] / whole if whole > 0 else 0.0,
            )
        )
    return facts


def roles_of(
    salient: Sequence[bool], cluster: Sequence[bool], *, correct: bool, marks: Sequence[bool] | None = None
) -> list[Role]:
    """Each token's role; in an incorrect response a salient token is an error, found by the ratios or marked by a person."""
    wrong = "error" if marks is None else "marked"
    high, low = ("salient", "sub_salient") if correct else (wrong, "near_error")
    roles: list[Role] = []
    for is_salient, is_near in zip(salient, cluster, strict=True):
        role = high if is_salient else low if is_near else "irrelevant"
        roles.append(role)  # type: ignore[arg-type]  # mypy widens the conditional of two literals to str
    return roles


def similarities(
    inner: npt.NDArray[np.float64], salient: npt.NDArray[np.bool_], settings: SaliencySettings
) -> npt.NDArray[np.float64]:
    """Each token's cosine to the centre of its phrase when the walk reached it; NaN if none did.

    For a token outside all phrases it is the cosine at which it was rejected. If several walks reached it,
    one that joined it takes precedence, then the nearest start, then the first.

    Args:
        inner: (n, n) inner products of the hidden states.
        salient: (n,) where the walks start.
        settings: `cluster`, `cluster_threshold`.
    """
    n = len(salient)
    best: list[tuple[bool, int, float] | None] = [None] * n
    if settings.cluster != "none":
        for start in np.flatnonzero(salient):
            for at, cosine, joins in _walk(inner, int(start), settings):
                found = (not joins, abs(at - int(start)), cosine)
                held = best[at]
                if held is None or found[:2] < held[:2]:
                    best[at] = found
    return np.array([math.nan if held is None else held[2] for held in best])


def _walk(inner: npt.NDArray[np.float64], start: int, settings: SaliencySettings) -> list[tuple[int, float, bool]]:
    """Every neighbour one walk looks at: (token, cosine, whether it joins); nlft.core.cluster has the rule."""
    seen: list[tuple[int, float, bool]] = []
    to_all, square = inner[start].copy(), float(inner[start, start])
    for path in (range(start - 1, -1, -1), range(start + 1, len(inner))):
        for at in path:
            length = math.sqrt(max(square, 0.0)) * math.sqrt(inner[at, at])
            cosine = float(to_all[at] / length) if length > 0 else 0.0
            near = cosine if settings.cluster == "similarity" else 1.0 - cosine
            seen.append((at, cosine, near > settings.cluster_threshold))
            if not seen[-1][2]:
                break
            square = (square + 2 * float(to_all[at]) + float(inner[at, at])) / 4
            to_all = (to_all + inner[at]) / 2
    return seen


def loss_terms(scores: Scores, allocation: Allocation, settings: SaliencySettings) -> list[float]:
    """Each token's absolute term of the weighted loss (eq. 5, not divided by n), times the user's factor.

    All are 0 in an excluded response.
    """
    logp = torch.tensor(scores.logp_base, dtype=torch.float64)
    terms = token_terms(logp, allocation, settings, correct=allocation.correct)
    if scores.weights is not None:
        terms = terms * torch.tensor(scores.weights, dtype=torch.float64)
    found: list[float] = terms.abs().tolist()
    return found


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
