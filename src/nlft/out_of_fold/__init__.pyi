from .answerer import FoldTrainer, OutOfFold, out_of_fold
from .config import OutOfFoldSettings

__all__ = ["FoldTrainer", "OutOfFold", "OutOfFoldSettings", "out_of_fold"]
