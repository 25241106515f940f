"""The score stage: the three paths' log-probabilities of each response, and what they make of every token."""

from nlft.score.schema import allocate_scores, make_scores, settings_of
from nlft.score.score import score

__all__ = ["allocate_scores", "make_scores", "score", "settings_of"]
