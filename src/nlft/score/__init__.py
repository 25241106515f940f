"""The score stage: the three paths' log-probabilities of each response, and what they make of every token.

`schema.py` is the stored form and its recomputation, `sketch.py` what it keeps of the hidden states,
`stage.py` the stage itself, which alone needs a language model and is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlft.score.schema import allocate_scores, make_scores, settings_of
    from nlft.score.stage import score

__all__ = ["allocate_scores", "make_scores", "score", "settings_of"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nlft.score' has no attribute {name!r}")
    home = "stage" if name == "score" else "schema"
    return getattr(import_module(f"nlft.score.{home}"), name)
