"""Tables of results: one plain form, printed as aligned text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nlft.evaluate.compare import Comparison
from nlft.evaluate.evaluation import Evaluation
from nlft.evaluate.statistics import Interval
from nlft.progress import duration
from nlft.tasks import columns_of


@dataclass(frozen=True)
class Table:
    """A header and rows of text; the first column names the row, the others are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Aligned columns for a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_aligned(line, widths) for line in lines)

    def markdown(self) -> str:
        """A Markdown table; a bar or a line break inside a cell stays text."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [self.header, rule, *self.rows]
        return "\n".join("| " + " | ".join(map(_markdown_cell, line)) + " |" for line in lines)

    def csv(self) -> str:
        """Comma-separated values, with a header line."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return buffer.getvalue()


def summary_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """One row per evaluation, by its name such as "before": accuracies with n and 95 % interval, format, time, memory."""
    called = {evaluation.columns for evaluation in evaluations.values()}
    strict, flexible, formatted = called.pop() if len(called) == 1 else columns_of(None)
    header = ("", "n", strict, "95 %", flexible, "95 %", formatted, "cut off", "time", "tokens/s", "peak memory")
    rows = []
    for name, e in evaluations.items():
        memory = f"{e.peak_memory_mb:.0f} MB" if e.peak_memory_mb is not None else "unknown"
        cells = (
            name,
            str(e.n),
            percent(e.strict.share),
            interval(e.strict.interval),
            percent(e.flexible.share),
            interval(e.flexible.interval),
            percent(e.formatted.share),
            percent(e.hit_length.share),
            duration(e.seconds),
            f"{e.tokens_per_second:.0f}" if e.tokens_per_second else "-",
            memory,
        )
        rows.append(cells)
    return Table(header, tuple(rows))


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per paired comparison: difference, interval, discordant problems, p."""
    header = ("", "grader", "accuracy", "against", "difference", "95 %", "better on", "worse on", "p", "p (Holm)")
    rows = [
        (
            f"{c.b} vs {c.a}",
            c.grader,
            percent(c.accuracy_b.share),
            percent(c.accuracy_a.share),
            f"{100 * c.difference:+.1f}",
            interval(c.interval),
            str(c.only_b),
            str(c.only_a),
            p_value(c.p_value),
            p_value(c.p_holm) if c.p_holm is not None else "-",
        )
        for c in comparisons
    ]
    return Table(header, tuple(rows))


def percent(share: float) -> str:
    """A share, such as `34.4 %`."""
    return f"{100 * share:.1f} %"


def interval(ends: Interval) -> str:
    """An interval in percent, such as `25.9 .. 44.0`."""
    return f"{100 * ends.low:.1f} .. {100 * ends.high:.1f}"


def p_value(p: float) -> str:
    """A p-value with three digits, and never a bare zero.

    >>> p_value(0.0421), p_value(1e-6)
    ('0.042', '< 0.001')
    """
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
    return "  ".join([line[0].ljust(len(first)), *others]).rstrip()


def _markdown_cell(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
