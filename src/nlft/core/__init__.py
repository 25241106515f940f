"""The paper: salient tokens, phrases, scales and loss, as pure functions of tensors.

    settings.py   every constant            saliency.py   section 3.3, eqs. 1, 2
    cluster.py    phrases, section 3.3      scales.py     eqs. 3, 4
    allocation.py the three together        loss.py       eq. 5

`SaliencySettings` loads no torch; the rest does, when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nlft.core.settings import SaliencySettings

if TYPE_CHECKING:
    from nlft.core.allocation import Allocation, allocate, allocate_by_products
    from nlft.core.loss import Loss, example_loss, token_terms

__all__ = [
    "Allocation",
    "Loss",
    "SaliencySettings",
    "allocate",
    "allocate_by_products",
    "example_loss",
    "token_terms",
]

_HOMES = {
    "Allocation": "allocation",
    "allocate": "allocation",
    "allocate_by_products": "allocation",
    "Loss": "loss",
    "example_loss": "loss",
    "token_terms": "loss",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"nlft.core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nlft.core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
