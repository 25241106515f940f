from .allocation import Allocation, Paths, allocate, allocate_all, allocate_by_products
from .loss import Loss, example_loss, token_terms
from .settings import SaliencySettings

__all__ = [
    "Allocation",
    "Loss",
    "Paths",
    "SaliencySettings",
    "allocate",
    "allocate_all",
    "allocate_by_products",
    "example_loss",
    "token_terms",
]
