"""`nlft choose`: an experiment over candidates and folds, its cost in advance, and a recipe for what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nlft.choose.candidates import CANDIDATES, obstacle
from nlft.choose.config import ChooseSettings
from nlft.choose.cost import measured_seconds
from nlft.choose.recipes import experiment_lines, recipe_lines
from nlft.choose.verdict import choose
from nlft.errors import ConfigError
from nlft.files import sole_writer, write_lines
from nlft.pipeline.cells import missing_cells, refuse_others, run_cells
from nlft.pipeline.experiment import load_experiment
from nlft.pipeline.folds import Fold
from nlft.pipeline.report import points, write_report
from nlft.progress import Outcome, duration, tell
from nlft.records import Judged, read_records

LONG = 600.0  # seconds; a longer run is not begun unasked


def run(
    settings: ChooseSettings,
    judged: Path,
    output: Path,
    *,
    agree: Callable[[str], bool] = lambda cost: True,
    assignments: Sequence[str] = (),
    jobs: int = 1,
    dry_run: bool = False,
) -> Outcome:
    """Compare the candidates on folds of the rows, and recommend one.

    The folder `output` then holds `experiment.yaml` and its results, `choice.md` and `choice.csv`, and `recipe.yaml`,
    which trains the recommended candidate on all rows. The same call resumes an interrupted run.

    Args:
        settings: The candidates, the folds and the cost.
        judged: The judged rows.
        output: The folder to write.
        agree: Asked before a run of more than ten minutes, with its estimate; false stops.
        assignments: Keys of `experiment.yaml` to override, such as `train.lora.r=8`.
        jobs: Parallel training runs.
        dry_run: Stop after the estimate.

    Raises:
        ConfigError: for settings that do not fit the rows, or if `agree` refuses.
        StepError: if a step fails; finished cells are kept.
    """
    rows = list(read_records(judged, Judged))
    names = _allowed(settings, rows, judged)
    file, results = output / "experiment.yaml", output / "results"
    with sole_writer(output / "choice"):
        write_lines(file, experiment_lines(settings, names, rows, judged, output, assignments))
        experiment = load_experiment(file)
        refuse_others(experiment, results, "dev")
        if missing := missing_cells(experiment, results, "dev"):
            seconds = measured_seconds(experiment, missing)
            cost = (
                f"{len(experiment.methods) - 1} candidates on {settings.folds} folds of {len(rows)} rows: "
                f"{len(missing)} cells to run, about {duration(seconds)}"
            )
            if dry_run:
                return Outcome(cost)
            tell(cost)
            if seconds > LONG and not agree(cost):
                remedy = "add --yes, or compare less (--method, --folds, --epochs)"
                raise ConfigError(f"not begun: it takes about {duration(seconds)}", remedy=remedy)
            run_cells(experiment, results, "dev", file=file, jobs=jobs)
        write_report(experiment, results, "dev")
        choice = choose(points(experiment, results, "dev"), experiment.grader)
        table, said = choice.table(), choice.text()
        write_lines(output / "choice.md", [*table.markdown().splitlines(), "", *said.splitlines()])
        write_lines(output / "choice.csv", table.csv().splitlines())
        write_lines(output / "recipe.yaml", recipe_lines(experiment, choice, output))
    told = f"{table.text()}\n\n{said}\n\ntrain it on all rows: nlft run {output / 'recipe.yaml'}"
    return Outcome(told, data={"recipe": output / "recipe.yaml", **choice.facts()})


def _allowed(settings: ChooseSettings, rows: Sequence[Judged], judged: Path) -> list[str]:
    """The candidates to compare.

    Raises:
        ConfigError: if the rows do not allow one that was asked for, or fewer than two.
    """
    folds = (Fold(folds=settings.folds, fold=fold, seed=settings.seed) for fold in range(settings.folds))
    parts = [[row for row, out in zip(rows, fold.left_out(rows), strict=True) if not out] for fold in folds]
    reasons = {name: obstacle(name, parts) for name in settings.methods or CANDIDATES}
    for name, reason in reasons.items():
        if reason is not None and settings.methods is not None:
            raise ConfigError(f"these rows do not allow {name}: {reason}", file=judged, remedy="leave it out")
        if reason is not None:
            tell(f"left out: {name}: {reason}")
    names = [name for name, reason in reasons.items() if reason is None]
    if len(names) * len(settings.learning_rates) < 2:
        raise ConfigError("there is only one candidate", file=judged, remedy="give another --method or --learning-rate")
    return names
