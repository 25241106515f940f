"""ReFT (arXiv 2401.08967): SFT as a warm-up, then PPO on the same questions; the RL baseline.

Needs TRL, the extra `reft`; nothing of it is loaded before one of the names below is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlft.train.reft.config import ReFTConfig
    from nlft.train.reft.stage import train_reft
    from nlft.train.reft.trainer import ReFTTrainer

_HOMES = {"ReFTConfig": "config", "ReFTTrainer": "trainer", "train_reft": "stage"}

__all__ = ["ReFTConfig", "ReFTTrainer", "train_reft"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"nlft.train.reft.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nlft.train.reft' has no attribute {name!r}")
