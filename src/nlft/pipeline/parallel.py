"""Work side by side: each piece on a GPU of its own where there are several, else on its share of the CPU's threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

from nlft.pipeline.graph import Slot
from nlft.pipeline.process import interrupt_all

T = TypeVar("T")
R = TypeVar("R")
Slots = SimpleQueue[Slot]


def side_by_side(work: Callable[[T, Slots], R], pieces: Sequence[T], jobs: int) -> list[R]:
    """Work on the pieces, `jobs` at a time; after a failure those under way are finished, and no other is begun.

    Args:
        work: Takes a piece, and a slot for as long as it works (`taken`).
        pieces: What to work on.
        jobs: The number of slots.

    Raises:
        Exception: what the first piece that failed raised; KeyboardInterrupt once the others have saved their work.
    """
    stop = threading.Event()
    slots = _slots(jobs, stop)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, piece, slots) for piece in pieces]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            interrupt_all()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    failed = next((future for future in futures if not future.cancelled() and future.exception() is not None), None)
    if failed is not None:
        failed.result()
    return [future.result() for future in futures]


@contextmanager
def taken(slots: Slots) -> Iterator[Slot]:
    """A slot that is free, or the next one to become free."""
    slot = slots.get()
    try:
        yield slot
    finally:
        slots.put(slot)


def _slots(jobs: int, stop: threading.Event) -> Slots:
    """What each of `jobs` workers may use."""
    slots: Slots = SimpleQueue()
    gpus = _gpus() if jobs > 1 else []
    for number in range(jobs):
        if len(gpus) > 1:
            slots.put(Slot(gpu=gpus[number % len(gpus)], stop=stop))
        else:
            slots.put(Slot(threads=max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None, stop=stop))
    return slots


def _gpus() -> list[str]:
    """The CUDA devices that are visible, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [each for each in visible.split(",") if each.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
