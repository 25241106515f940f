"""How things are measured: all variants in one process, alternating; memory in a child of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        what: What was measured.
        versus: What it was compared with.
        ratio: The one over the other.
        target: What the ratio should be, with its sense, such as "<= 0.6".
        met: Whether it is.
        unit: Of the two measured values.
        value: Median of what was measured.
        other: Median of what it was compared with.
        repeats: How many times each was measured, at least.
        note: What a reader must know.
        prompt_tokens: Length of the shared instruction, where a curve is drawn over it.
        rows: Rows per step, likewise.
    """

    what: str
    versus: str
    ratio: float
    target: str
    met: bool
    unit: str = ""
    value: float | None = None
    other: float | None = None
    repeats: int = 1
    note: str = ""
    prompt_tokens: int | None = None
    rows: int | None = None

    def row(self) -> dict[str, object]:
        """As JSON, without what does not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def result(what: str, versus: str, value: float, other: float, target: str, **more: object) -> Result:
    """Compare two measured values against a target such as "<= 0.6"."""
    ratio = value / other
    return Result(what, versus, round(ratio, 4), target, fits(ratio, target), value=value, other=other, **more)  # type: ignore[arg-type]


def seeded(part: Callable[[], list[Result]]) -> list[dict[str, object]]:
    """The rows of a part of the benchmark, for a process that has nothing else to do."""
    import torch  # what only compares numbers need not wait for it

    torch.manual_seed(0)
    return [found.row() for found in part()]


def fits(ratio: float, target: str) -> bool:
    """Whether a ratio meets a target; one without a sense ("-") is only reported."""
    sense, _, number = target.partition(" ")
    if sense == "-":
        return True
    return ratio <= float(number) if sense == "<=" else ratio >= float(number)


def alternate(variants: Mapping[str, Sequence[Callable[[], object]]]) -> dict[str, list[float]]:
    """Time each variant's calls in turn: call 1 of all, then call 2 of those that have one, and so on.

    Returns:
        Seconds of every call, by variant.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(max(map(len, variants.values()))):
        for name, calls in variants.items():
            if number >= len(calls):
                continue
            start = time.perf_counter()
            calls[number]()
            seconds[name].append(time.perf_counter() - start)
            print(f"  {name} #{number + 1}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return seconds


def medians(
    steps: Mapping[str, Callable[[Sequence[T]], object]],
    batches: Sequence[Sequence[T]],
    fewer: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Seconds of one step of each variant, the median over the batches, measured in turn.

    Args:
        steps: For each variant, what runs it on a batch.
        batches: What to run them on; before, each runs once on a single row, unmeasured.
        fewer: For slow variants, how many of the batches they run on.
    """
    for step in steps.values():
        step(batches[0][:1])
    calls = {name: [partial(step, b) for b in batches[: (fewer or {}).get(name)]] for name, step in steps.items()}
    return {name: median(values) for name, values in alternate(calls).items()}


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def peak_above(module: str, *words: str) -> float:
    """Run `python -m module words` in a child that prints, last, its peak memory above what it had loaded (MiB)."""
    ran = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{module} {words}: {ran.stderr[-2000:]}")
    return float(ran.stdout.strip().splitlines()[-1])


def reset_peak() -> float:
    """Start the high-water mark anew (Linux); the resident memory now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak() -> float:
    """The high-water mark of resident memory, in MiB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {name}")
