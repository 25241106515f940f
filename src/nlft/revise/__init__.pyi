from .checks import refusal
from .config import ReviseSettings
from .likelihood import BaseLikelihood
from .step import Candidate, Revisions, revise_file, revise_rows
from .ways import WAYS, first_steps

__all__ = [
    "WAYS",
    "BaseLikelihood",
    "Candidate",
    "ReviseSettings",
    "Revisions",
    "first_steps",
    "refusal",
    "revise_file",
    "revise_rows",
]
