"""The dry run: every cell, whether it is there, and what it would cost."""

from __future__ import annotations

from collections.abc import Sequence

from nlft.evaluate.table import Table, duration
from nlft.pipeline.estimate import cell_cost
from nlft.pipeline.spec import Cell, Experiment, Method, cells

__all__ = ["listing"]


def listing(experiment: Experiment, missing: Sequence[Cell]) -> str:
    """The cells of an experiment as text, with the estimate where the recipe has numbers for one."""
    wanted, absent = cells(experiment), set(missing)
    estimate = experiment.estimate
    header = ["cell", "method", "state"]
    rows = []
    runs: dict[tuple[str, int], float] = {}
    evaluation = 0.0
    for cell in wanted:
        row = [cell.id, describe_method(experiment.methods[cell.method]), "missing" if cell in absent else "done"]
        if estimate is not None:
            cost = cell_cost(experiment, cell, estimate)
            row += [duration(cost.training), duration(cost.evaluation), f"{cost.gigabytes:.1f} GB"]
            if cell in absent:
                runs[cell.run, cell.seed] = cost.training
                evaluation += cost.evaluation
        rows.append(tuple(row))
    if estimate is not None:
        header += ["training run", "evaluation", "memory"]
    text = [Table(tuple(header), tuple(rows)).text(), "", f"{len(wanted)} cells, {len(absent)} missing"]
    if estimate is not None:
        total = sum(runs.values()) + evaluation
        text.append(f"estimate for {estimate.machine}: {duration(total)} ({len(runs)} training runs)")
    return "\n".join(text)


def describe_method(method: Method) -> str:
    """A method in a few words."""
    if method.train is None:
        return "untouched model"
    parts = [f"{key} {value}" for key, value in {**method.train, **method.settings}.items()]
    parts += [f"rows {method.rows}"] if method.rows != "all" else []
    return ", ".join(parts) or "as the section train"
