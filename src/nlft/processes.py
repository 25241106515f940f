"""The processes that `torchrun` or `accelerate launch` has started for one command; usually one.

All run the same program. What they exchange goes through accelerate, which `join` sets up; in a single process nothing
here loads torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from nlft.errors import ConfigError, NLFTError

T = TypeVar("T")
R = TypeVar("R")


def count() -> int:
    """The number of processes."""
    # Some clusters set WORLD_SIZE alone, for what they start; launchers set both.
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def join(device: str) -> None:
    """Let the processes find one another; on GPUs, each takes its own.

    Args:
        device: The device to run on, as `nlft.lm.load_model` takes it.

    Raises:
        ConfigError: for a single GPU that all processes would use, none at all, or sharding that needs GPUs.
    """
    if count() == 1:
        return
    for name in ("FSDP", "DEEPSPEED"):
        if device == "cpu" and os.environ.get(f"ACCELERATE_USE_{name}") == "true":
            raise ConfigError(f"accelerate knows no {name} on the CPU", remedy="start it with torchrun")
    if device.startswith("cuda:"):
        raise ConfigError(
            f'{count()} processes cannot share "{device}"', remedy="use --device cuda: each takes its own"
        )
    import torch
    from accelerate import PartialState

    if device != "cpu" and not torch.accelerator.is_available():
        raise ConfigError(f"a launcher started {count()} processes, but there is no GPU", remedy="add --device cpu")
    PartialState(cpu=device == "cpu")


def gather(item: T) -> list[T]:
    """Every process's item, in order of rank, in every process."""
    if count() == 1:
        return [item]
    from accelerate.utils import gather_object

    found: list[T] = gather_object([item])
    return found


def agree(value: T) -> T:
    """The leading process's value, in every process."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    found: list[Any] = broadcast_object_list([value])
    return found[0]  # type: ignore[no-any-return]


def first(work: Callable[[], T]) -> T:
    """Let the leading process do this while the others wait; all get its result, or its error."""
    result, error = None, None
    if leads():
        try:
            result = work()
        except NLFTError as raised:
            error = raised
            error.shared = True
    result, error = agree((result, error))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def deal(items: Sequence[T], work: Callable[[T], R]) -> Iterator[R]:
    """`map(work, items)` with the items dealt to the processes in turn; every process gets every result, in order.

    In the last round, processes left without an item repeat the last one for nothing, so that all make the same passes.
    """
    for start in range(0, len(items), count()):
        yield from gather(work(items[min(start + rank(), len(items) - 1)]))[: len(items) - start]
