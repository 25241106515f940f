"""What a whole file's tokens are worth, by role: what NLFT trains on, and what SFT would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nlft.core import SaliencySettings
from nlft.records import Scored
from nlft.saliency_map.facts import Role, loss_terms, roles_of
from nlft.score.schema import allocate_scores, settings_of


@dataclass
class RoleTotals:
    """The tokens of one role.

    Attributes:
        tokens: their number.
        surprise: the sum of their -log P(base), nats: what SFT on the same responses minimises.
        scale: the sum of their scales.
        loss: the sum of their absolute terms of NLFT's weighted loss.
    """

    tokens: int = 0
    surprise: float = 0.0
    scale: float = 0.0
    loss: float = 0.0

    def add(self, surprise: float, scale: float, loss: float) -> None:
        """Count one more token."""
        self.tokens += 1
        self.surprise += surprise
        self.scale += scale
        self.loss += loss


@dataclass
class Totals:
    """The right or the wrong responses of a file.

    Attributes:
        rows: their number, including excluded ones.
        excluded: the number that the filter excludes; `roles` has none of their tokens.
        roles: the tokens of the others.
        left_out: the tokens of the excluded ones.
    """

    rows: int = 0
    excluded: int = 0
    roles: dict[Role, RoleTotals] = field(default_factory=dict)
    left_out: RoleTotals = field(default_factory=RoleTotals)


def totals(rows: Iterable[Scored], settings: SaliencySettings | None = None) -> tuple[Totals, Totals]:
    """Totals of the right and of the wrong responses, under the file's own settings or others."""
    right, wrong = Totals(), Totals()
    for row in rows:
        scores = row.scores
        chosen = settings or settings_of(scores)
        allocation = allocate_scores(scores, chosen)
        correct = scores.logp_judge is None
        side = right if correct else wrong
        side.rows += 1
        side.excluded += bool(allocation.excluded)
        roles = roles_of(allocation.salient.tolist(), allocation.cluster.tolist(), correct=correct, marks=scores.marks)
        terms = loss_terms(scores, allocation, chosen)
        for role, logp, scale, term in zip(roles, scores.logp_base, allocation.scale.tolist(), terms, strict=True):
            if allocation.excluded:
                side.left_out.add(-logp, 0.0, 0.0)
            else:
                side.roles.setdefault(role, RoleTotals()).add(-logp, scale, term)
    return right, wrong
