from .card import Score, write_card
from .record import Source, Told, begin, copy_adapter, finish, model_id, read_told

__all__ = ["Score", "Source", "Told", "begin", "copy_adapter", "finish", "model_id", "read_told", "write_card"]
