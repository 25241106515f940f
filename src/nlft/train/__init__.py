"""Training: one trainer for every objective, in TRL's manner."""

from nlft.train.config import NLFTConfig, lora_config
from nlft.train.dataset import encode_dataset
from nlft.train.stage import train
from nlft.train.summary import TrainResult
from nlft.train.trainer import NLFTTrainer

__all__ = ["NLFTConfig", "NLFTTrainer", "TrainResult", "encode_dataset", "lora_config", "train"]
