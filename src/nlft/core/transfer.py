"""To the device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def send(values: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors of one dtype from the host to the device together; on CUDA nothing waits for the copy.

    Args:
        values: On the CPU, of any shapes.
        device: Where to.

    Returns:
        The same in the same shapes, as views of one tensor.
    """
    flat = torch.cat([value.flatten() for value in values])
    # From pageable memory the host would wait until the copy, and all work before it, is done.
    moved = (flat.pin_memory() if device.type == "cuda" else flat).to(device, non_blocking=True)
    parts = torch.split(moved, [value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]
