from .compute import score
from .schema import allocate_scores, make_scores, settings_of

__all__ = [
    "allocate_scores",
    "make_scores",
    "score",
    "settings_of",
]
