from .allocation import Allocation, allocate, allocate_by_products
from .loss import Loss, example_loss, token_terms
from .settings import SaliencySettings

__all__ = [
    "Allocation",
    "Loss",
    "SaliencySettings",
    "allocate",
    "allocate_by_products",
    "example_loss",
    "token_terms",
]
