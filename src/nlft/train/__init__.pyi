from .arguments import NLFTConfig
from .dataset import encode_dataset
from .loop import train
from .lora import lora_config
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
