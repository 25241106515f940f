from .checks import refusal
from .config import ReviseSettings
from .likelihood import BaseLikelihood
from .rows import corrections, pairs, verdict_prompts
from .step import Candidate, Revisions, revise_rows
from .ways import WAYS, first_steps

__all__ = [
    "WAYS",
    "BaseLikelihood",
    "Candidate",
    "ReviseSettings",
    "Revisions",
    "corrections",
    "first_steps",
    "pairs",
    "refusal",
    "revise_rows",
    "verdict_prompts",
]
