from .config import ReFTConfig
from .step import train_reft
from .trainer import ReFTTrainer

__all__ = [
    "ReFTConfig",
    "ReFTTrainer",
    "train_reft",
]
