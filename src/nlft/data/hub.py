"""Data sets of the Hugging Face hub, through `datasets` (the `hub` extra)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nlft.errors import ConfigError, DataError, hub_remedy


def load_hub_rows(name: str, *, config: str | None, split: str, remedy: str) -> Iterable[dict[str, Any]]:
    """The rows of a hub data set, memory-mapped from the local cache once downloaded.

    Raises:
        ConfigError: where `datasets` is not installed.
        DataError: when the hub cannot be reached or has no such set, with `remedy`.
    """
    try:
        import datasets
    except ImportError:
        raise ConfigError(
            "the hub needs the package datasets, which is not installed",
            remedy=f'pip install "nlft[hub]", or {remedy}',
        ) from None
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # datasets, huggingface_hub and their HTTP client each raise their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        told = f"the data set {name} cannot be loaded from the hub: {reason}"
        raise DataError(told, remedy=hub_remedy(error, name, remedy)) from error
    return rows
