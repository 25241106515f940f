"""Natural Language Fine-Tuning: words as the training signal (arXiv 2412.20382).

The names below are the public surface; those that need torch are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nlft.core import Allocation, Loss, SaliencySettings, allocate, example_loss
    from nlft.errors import NLFTError
    from nlft.lm import load_model
    from nlft.records import Attempt, Graded, Judged, Problem, Scored, Verdict, read_records, write_records
    from nlft.train import NLFTConfig, NLFTTrainer

_HOMES = {
    "Allocation": "nlft.core",
    "Attempt": "nlft.records",
    "Graded": "nlft.records",
    "Judged": "nlft.records",
    "Loss": "nlft.core",
    "NLFTConfig": "nlft.train",
    "NLFTError": "nlft.errors",
    "NLFTTrainer": "nlft.train",
    "Problem": "nlft.records",
    "SaliencySettings": "nlft.core",
    "Scored": "nlft.records",
    "Verdict": "nlft.records",
    "allocate": "nlft.core",
    "example_loss": "nlft.core",
    "load_model": "nlft.lm",
    "read_records": "nlft.records",
    "write_records": "nlft.records",
}

__all__ = [
    "Allocation",
    "Attempt",
    "Graded",
    "Judged",
    "Loss",
    "NLFTConfig",
    "NLFTError",
    "NLFTTrainer",
    "Problem",
    "SaliencySettings",
    "Scored",
    "Verdict",
    "allocate",
    "example_loss",
    "load_model",
    "read_records",
    "write_records",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nlft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
