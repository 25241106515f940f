from .core import Allocation, Loss, SaliencySettings, allocate, example_loss
from .errors import NLFTError
from .lm import load_model
from .records import Attempt, Graded, Judged, Problem, Scored, Verdict, read_records, write_records
from .train import NLFTConfig, NLFTTrainer

__version__: str

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
