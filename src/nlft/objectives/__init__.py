"""What a token is worth: one class per objective, one interface, one trainer.

A user's own is a subclass of `Objective` with the decorator `register`; see there.
"""

from nlft.core.loss import Loss
from nlft.objectives.cut import CUT
from nlft.objectives.first_error import ClippedRatio, FirstError
from nlft.objectives.interface import Example, Needs, Objective, TopTokens
from nlft.objectives.likelihood import DFT, SFT, TokenWeights
from nlft.objectives.nlft import NLFT
from nlft.objectives.pairs import Pairs
from nlft.objectives.registry import available, get_objective, register
from nlft.objectives.sdft import SDFT

__all__ = [
    "CUT",
    "DFT",
    "NLFT",
    "SDFT",
    "SFT",
    "ClippedRatio",
    "Example",
    "FirstError",
    "Loss",
    "Needs",
    "Objective",
    "Pairs",
    "TokenWeights",
    "TopTokens",
    "available",
    "get_objective",
    "register",
]
