from .schema import allocate_scores, make_scores, settings_of
from .step import score

__all__ = [
    "allocate_scores",
    "make_scores",
    "score",
    "settings_of",
]
