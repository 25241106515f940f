"""Figures of a run: the loss by step, and accuracies with their intervals. Drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlft.errors import DataError
from nlft.evaluate.evaluation import Evaluation, Grade
from nlft.files import read_objects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that stay distinct in greyscale and for colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def plot_loss(metrics: str | Path, output: str | Path) -> Path:
    """Draw the loss of `metrics.jsonl`, step by step, into `output` (PNG or SVG by its ending).

    Raises:
        DataError: if no row of the file has a step and a loss.
    """
    rows = [row for _, row in read_objects(metrics) if "step" in row and "loss" in row]
    if not rows:
        raise DataError("no row has a step and a loss", file=metrics, remedy="pass a metrics.jsonl of `nlft train`")
    figure = new_figure()
    axes = figure.subplots()
    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    axes.plot(steps, losses, color=COLOURS[0], linewidth=1.6, marker="o", markersize=3 if len(rows) < 60 else 0)
    axes.set(xlabel="step", ylabel="loss", title="Training loss")
    axes.set_xlim(left=0)
    return save_figure(figure, output)


def plot_accuracy(evaluations: Mapping[str, Evaluation], output: str | Path) -> Path:
    """Draw strict and flexible accuracy of each evaluation, with 95 % intervals, into `output`."""
    figure = new_figure()
    axes = figure.subplots()
    width = 0.38
    sides: tuple[tuple[float, Grade, str], ...] = (
        (-width / 2, "strict", COLOURS[0]),
        (width / 2, "flexible", COLOURS[1]),
    )
    for shift, grader, colour in sides:
        accuracies = [getattr(e, grader) for e in evaluations.values()]
        shares = [100 * a.share for a in accuracies]
        below = [max(0.0, 100 * (a.share - a.interval.low)) for a in accuracies]
        above = [max(0.0, 100 * (a.interval.high - a.share)) for a in accuracies]
        places = [i + shift for i in range(len(accuracies))]
        called = {e.column(grader) for e in evaluations.values()}
        axes.bar(places, shares, width, label=called.pop() if len(called) == 1 else grader, color=colour)
        axes.errorbar(places, shares, yerr=[below, above], fmt="none", ecolor="#444444", capsize=3, linewidth=1)
        for place, share, up in zip(places, shares, above, strict=True):
            axes.annotate(
                f"{share:.0f}", (place, share + up), ha="center", va="bottom", fontsize=9, xytext=(0, 2),
                textcoords="offset points",
            )  # fmt: skip
    sizes = sorted({e.n for e in evaluations.values()})
    axes.set_xticks(range(len(evaluations)), [plain(name) for name in evaluations])
    axes.set(ylabel="correct, %", title=f"Accuracy on n = {', '.join(map(str, sizes))} problems, 95 % intervals")
    axes.set_ylim(0, 108)
    axes.legend(frameon=False, loc="upper left")
    return save_figure(figure, output)


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure in the house style; made without pyplot, to avoid global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def save_figure(figure: Figure, output: str | Path) -> Path:
    """Save a figure; the same figure gives the same bytes (no date, no version, no random ids).

    Raises:
        DataError: if the file cannot be written.
    """
    import matplotlib as mpl

    output = Path(output)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    metadata: dict[str, Any] = {"Date": None, "Creator": None} if output.suffix == ".svg" else {"Software": None}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context({"svg.hashsalt": "nlft", "svg.fonttype": "none"}):
            figure.savefig(output, dpi=144, metadata=metadata)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", file=output, remedy="free some disk space") from error
    return output
