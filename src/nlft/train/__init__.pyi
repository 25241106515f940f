from .arguments import NLFTConfig, lora_config
from .dataset import encode_dataset
from .loop import train
from .summary import TrainResult
from .trainer import NLFTTrainer

__all__ = [
    "NLFTConfig",
    "NLFTTrainer",
    "TrainResult",
    "encode_dataset",
    "lora_config",
    "train",
]
