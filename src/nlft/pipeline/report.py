"""Tables and figures of an experiment, from nothing but its results files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nlft.evaluate import Accuracy, Comparison, Interval, compare_solved, correct, effective_n, wilson_interval
from nlft.evaluate.evaluation import GRADERS, Grade
from nlft.evaluate.figures import COLOURS, new_figure, plain, save_figure
from nlft.evaluate.table import Table, comparison_table, interval, percent
from nlft.files import write_lines
from nlft.pipeline.experiment import Experiment, Split, cells
from nlft.pipeline.results import CellResult, read_results
from nlft.progress import duration


@dataclass(frozen=True)
class Point:
    """One method at one size and epoch: its cells, one per seed, or one per seed and fold."""

    method: str
    size: int
    epoch: int | None
    results: tuple[CellResult, ...]

    def accuracy(self, grader: Grade) -> float:
        """Share solved, over all seeds."""
        return _share([result.evaluation.grade(grader) for result in self.results])

    def solved(self, grader: Grade) -> dict[int, dict[str, bool]]:
        """For each seed, whether each problem was solved, those of all folds together."""
        seeds: dict[int, dict[str, bool]] = {}
        for result in self.results:
            own = {f"{result.fold}:{place}": right for place, right in result.solved_by(grader).items()}
            seeds.setdefault(result.seed, {}).update(own)
        return seeds

    @property
    def problems(self) -> dict[int, list[str]]:
        """For each seed, the hashes of the problems that its cells answered."""
        seeds: dict[int, list[str]] = {}
        for result in self.results:
            seeds.setdefault(result.seed, []).append(result.evaluation.data_hash)
        return seeds

    def interval(self, grader: Grade) -> Interval:
        """95 % of it: Wilson's, with the effective number of problems over all seeds."""
        n = effective_n([list(solved.values()) for solved in self.solved(grader).values()])
        return wilson_interval(n * self.accuracy(grader), n)

    @property
    def formatted(self) -> float:
        """Share in the required format, over all seeds."""
        return _share([result.evaluation.formatted for result in self.results])

    @property
    def minutes_per_epoch(self) -> float | None:
        """Mean over the seeds' training runs."""
        runs = [r.training for r in self.results if r.training is not None and r.training.epochs]
        return sum(t.seconds / t.epochs for t in runs) / len(runs) / 60 if runs else None

    @property
    def memory_mb(self) -> float | None:
        """The highest of the seeds' training runs."""
        peaks = [r.training.peak_memory_mb for r in self.results if r.training and r.training.peak_memory_mb]
        return max(peaks) if peaks else None

    @property
    def name(self) -> str:
        """Its name in tables."""
        parts = [self.method, f"n {self.size}" if self.size else "", f"epoch {self.epoch}" if self.epoch else ""]
        return ", ".join(part for part in parts if part)


def _share(each: Sequence[Accuracy]) -> float:
    n = sum(a.n for a in each)
    return sum(a.count for a in each) / n if n else 0.0


def points(experiment: Experiment, folder: Path, split: Split) -> list[Point]:
    """The contents of the results files, grouped over seeds, in the experiment's order."""
    found: dict[tuple[str, int, int | None], list[CellResult]] = {}
    for cell, result in read_results(folder, split, cells(experiment, split)).items():
        found.setdefault((cell.method, cell.size, cell.epoch), []).append(result)
    return [Point(*key, tuple(results)) for key, results in found.items()]


def write_report(experiment: Experiment, folder: Path, split: Split) -> list[Path]:
    """Write `table.md`, `table.csv`, `comparison.md`, `comparison.csv`, `figure.png`, `figure.svg` for a split.

    The same results files give the same bytes. Without results, it writes nothing.
    """
    found = points(experiment, folder, split)
    if not found:
        return []
    home = folder / split
    tables = {"table": accuracy_table(found)}
    if comparisons := compare_points(experiment, found):
        tables["comparison"] = comparison_table(comparisons)
    written: list[Path] = []
    for name, table in tables.items():
        for suffix, text in ((".md", table.markdown()), (".csv", table.csv().rstrip("\n"))):
            write_lines(home / f"{name}{suffix}", text.split("\n"))
            written.append(home / f"{name}{suffix}")
    figure = draw(experiment, found)
    return written + [save_figure(figure, home / f"figure{suffix}") for suffix in (".png", ".svg")]


def accuracy_table(found: Sequence[Point]) -> Table:
    """One row per method, size and epoch."""
    strict, flexible, formatted = found[0].results[0].evaluation.columns
    header = (
        "method", "examples", "epoch", "seeds", "n", strict, "95 %", flexible, "95 %", formatted,
        "time per epoch", "peak memory",
    )  # fmt: skip
    rows = []
    for p in found:
        minutes, memory = p.minutes_per_epoch, p.memory_mb
        rows.append(
            (
                p.method,
                str(p.size) if p.size else "-",
                str(p.epoch) if p.epoch else "-",
                str(len(p.problems)),
                str(max(map(len, p.solved("strict").values()))),
                percent(p.accuracy("strict")),
                interval(p.interval("strict")),
                percent(p.accuracy("flexible")),
                interval(p.interval("flexible")),
                percent(p.formatted),
                duration(60 * minutes) if minutes is not None else "-",
                f"{memory:.0f} MB" if memory is not None else "-",
            )
        )
    return Table(header, tuple(rows))


def compare_points(experiment: Experiment, found: Sequence[Point]) -> list[Comparison]:
    """Each method against the baseline at the same size, epoch and seeds; an untrained baseline against all.

    An untrained baseline of one seed (greedy, so a second would repeat it) is compared with every seed of the others.
    P-values are Holm-corrected over all comparisons of one grader.
    """
    if experiment.baseline is None:
        return []
    base = {(p.size, p.epoch): p for p in found if p.method == experiment.baseline}
    graders: list[Grade] = list(GRADERS)
    corrected: list[Comparison] = []
    for grader in graders:
        made = []
        for point in found:
            rival = base.get((point.size, point.epoch), base.get((0, None)))
            if rival is None or point.method == experiment.baseline:
                continue
            if (comparison := compare_two(rival, point, grader)) is not None:
                made.append(comparison.model_copy(update={"b": point.name}))
        corrected += correct(made)
    return corrected


def compare_two(a: Point, b: Point, grader: Grade) -> Comparison | None:
    """b against a, over the seeds for which both have answered the same problems; None if there are none.

    An untrained a of one seed (greedy, so a second would repeat it) stands against every seed of b.
    """
    ours, theirs = b.problems, a.problems
    solved, base = b.solved(grader), a.solved(grader)
    if a.size == 0 and len(theirs) == 1:
        only = next(iter(theirs))
        theirs, base = dict.fromkeys(ours, theirs[only]), dict.fromkeys(ours, base[only])
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds or any(ours[seed] != theirs[seed] or ours[seed] != ours[seeds[0]] for seed in seeds):
        return None
    sides = ([base[seed] for seed in seeds], [solved[seed] for seed in seeds])
    return compare_solved(*sides, grader=a.results[0].evaluation.column(grader), names=(a.method, b.method))


def draw(experiment: Experiment, found: Sequence[Point]):  # type: ignore[no-untyped-def]  # matplotlib has no types here
    """The experiment's figure."""
    if experiment.chart in ("epochs", "sizes"):
        return _lines(experiment, found)
    return _bars(experiment, found)


def _lines(experiment: Experiment, found: Sequence[Point]):  # type: ignore[no-untyped-def]
    """Accuracy by epoch, one panel per size; or by size, one panel per epoch."""
    by_epoch = experiment.chart == "epochs"
    trained = [p for p in found if p.size]
    panels = sorted({(p.size if by_epoch else p.epoch or 0) for p in trained})
    lines = [method for method in experiment.methods if any(p.method == method for p in trained)]
    figure = new_figure(width=1.6 + 4.2 * max(1, len(panels)), height=4.0)
    axes = figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=False):
        values = sorted({(p.epoch or 0) if by_epoch else p.size for p in trained})
        step = 0.012 * (values[-1] - values[0]) or 0.02
        for method, (colour, marker) in _styles(experiment).items():
            line = [p for p in trained if p.method == method and (p.size if by_epoch else p.epoch or 0) == panel]
            line.sort(key=lambda p: (p.epoch or 0) if by_epoch else p.size)
            if line:
                shift = step * (
                    lines.index(method) - (len(lines) - 1) / 2
                )  # side by side, so that no point hides another
                xs = [shift + ((p.epoch or 0) if by_epoch else p.size) for p in line]
                _line(axis, xs, line, experiment.grader, colour, marker)
            untrained = [p for p in found if p.method == method and not p.size]
            for p in untrained:
                share = 100 * p.accuracy(experiment.grader)
                axis.axhline(share, color=colour, linestyle=":", linewidth=1.2, label=plain(method))
        title = f"{panel} examples" if by_epoch else (f"after {panel} epochs" if panel else "")
        title = title or ("at the end" if len(panels) > 1 else "")
        axis.set(xlabel="epoch" if by_epoch else "examples", title=title, xticks=values)
    axes[0].set_ylabel(f"correct ({_called(experiment, found)}), %")
    top = max(100 * p.interval(experiment.grader).high for p in found)
    axes[0].set_ylim(0, min(100, top + 5))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    figure.suptitle(plain(experiment.title))
    return figure


def _line(axis, xs, line: Sequence[Point], grader: Grade, colour: str, marker: str) -> None:  # type: ignore[no-untyped-def]
    shares = [100 * p.accuracy(grader) for p in line]
    ends = [p.interval(grader) for p in line]
    below = [max(0.0, share - 100 * low) for share, (low, _) in zip(shares, ends, strict=True)]
    above = [max(0.0, 100 * high - share) for share, (_, high) in zip(shares, ends, strict=True)]
    axis.errorbar(
        xs, shares, yerr=[below, above], color=colour, marker=marker, markersize=4, capsize=2, linewidth=1.6,
        elinewidth=0.8, label=plain(line[0].method),
    )  # fmt: skip


def _bars(experiment: Experiment, found: Sequence[Point]):  # type: ignore[no-untyped-def]
    """One bar per method, size and epoch: accuracy, memory or time."""
    values = [(p, _value(experiment, p)) for p in found]
    shown = [(p, value) for p, value in values if value is not None]
    figure = new_figure(height=1.4 + 0.36 * max(3, len(shown)))
    axis = figure.subplots()
    styles = _styles(experiment)
    for place, (p, value) in enumerate(shown):
        axis.barh(place, value, color=styles[p.method][0], height=0.7)
        if experiment.chart == "bars":
            ends = p.interval(experiment.grader)
            error = [[max(0.0, value - 100 * ends.low)], [max(0.0, 100 * ends.high - value)]]
            axis.errorbar(value, place, xerr=error, fmt="none", ecolor="#444444", capsize=2, linewidth=0.9)
    units = {
        "bars": f"correct ({_called(experiment, found)}), %, 95 % interval",
        "memory": "peak memory of training, MB",
    }
    axis.set_yticks(range(len(shown)), [plain(p.name) for p, _ in shown], fontsize=9)
    axis.invert_yaxis()
    axis.set(xlabel=units.get(experiment.chart, "minutes per epoch"), title=plain(experiment.title))
    axis.set_xlim(left=0)
    return figure


def _called(experiment: Experiment, found: Sequence[Point]) -> str:
    """The column that the figure shows, by its name in the tables."""
    return found[0].results[0].evaluation.column(experiment.grader)


def _value(experiment: Experiment, point: Point) -> float | None:
    if experiment.chart == "memory":
        return point.memory_mb
    if experiment.chart == "time":
        return point.minutes_per_epoch
    return 100 * point.accuracy(experiment.grader)


def _styles(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method; each pair is unique for up to 32 methods."""
    styles = itertools.cycle((colour, marker) for marker in "os^D" for colour in COLOURS)
    return dict(zip(experiment.methods, styles, strict=False))
