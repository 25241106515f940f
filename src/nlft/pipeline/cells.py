"""Run the cells: one preparation, one training run per (method, size, seed), one evaluation per cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nlft.errors import ConfigError, DataError, LockedError
from nlft.evaluate import read_evaluation
from nlft.files import read_objects, sole_writer
from nlft.pipeline.experiment import Cell, Experiment, Split, cells
from nlft.pipeline.graph import (
    Step,
    read_record,
    refuse_old_folder,
    refuse_unasked,
    run_step,
    settings_hash,
    sources_hash,
)
from nlft.pipeline.parallel import Slots, side_by_side, taken
from nlft.pipeline.plan import Run, plan_cells
from nlft.pipeline.results import (
    RESULTS_VERSION,
    CellResult,
    Training,
    read_results,
    result_path,
    solved_digits,
    write_result,
)
from nlft.progress import Progress, progress, tell
from nlft.records import Judged, read_records


def missing_cells(experiment: Experiment, results: Path, split: Split) -> list[Cell]:
    """The cells without a results file."""
    wanted = cells(experiment, split)
    done = read_results(results, split, wanted)
    return [cell for cell in wanted if cell not in done]


def run_cells(
    experiment: Experiment,
    results: Path,
    split: Split,
    *,
    file: str | Path | None = None,
    methods: Sequence[str] | None = None,
    jobs: int = 1,
) -> int:
    """Run the missing cells, each once; a result is on disk before the next cell of its run begins.

    Args:
        experiment: What to run.
        results: The folder of its results files.
        split: "dev" while making choices, "test" for reported results.
        file: The recipe, for messages.
        methods: Only these.
        jobs: Parallel training runs: each on its own GPU if there are several, otherwise on its share of
            the CPU's threads.

    Returns:
        The number of cells run; it skips the cells of a training run that another process is working on.

    Raises:
        ConfigError: before anything runs.
        StepError: if a step fails; finished cells are kept.
    """
    refuse_old_folder(experiment.folder)
    shared, runs = plan_cells(experiment, split, file=file)
    hashes = refuse_others(experiment, results, split, file=file)
    todo = {c for c in missing_cells(experiment, results, split) if methods is None or c.method in methods}
    wanted = [run for run in runs if todo & run.evaluations.keys()]
    if not wanted:
        return 0
    refuse_unasked([*shared, *(step for run in wanted for step in (*run.train, *run.evaluations.values()))])
    with sole_writer(experiment.folder / "experiment"):
        own = {step.name: step for run in wanted for step in run.judge}
        for step in [*shared, *own.values()]:
            run_step(step, experiment.folder, tell=tell)

    with progress("cells", len(todo), each=True) as bar:
        work = partial(_run, experiment, results, split, todo, hashes, bar)
        return sum(side_by_side(work, wanted, min(jobs, len(wanted))))


def _run(
    experiment: Experiment,
    results: Path,
    split: Split,
    todo: set[Cell],
    hashes: dict[Cell, Hashes],
    bar: Progress,
    run: Run,
    slots: Slots,
) -> int:
    """Train, and evaluate the cells that are missing."""
    folder, done = experiment.folder, 0
    first = next(iter(run.evaluations))
    try:
        with taken(slots) as slot, sole_writer(folder / "adapters" / f"{first.run}-s{first.seed}.run"):
            for step in run.train:
                if run_step(step, folder, slot, tell) and step.verb == "train":
                    _prune(step.output)
            for cell, step in run.evaluations.items():
                if cell not in todo or result_path(results, split, cell).exists():
                    continue
                tell(f"{cell.id}, {split}")
                run_step(_at_checkpoint(step, cell), folder, slot)
                evaluation = read_evaluation(step.output)
                result = CellResult(
                    version=RESULTS_VERSION,
                    experiment=experiment.name,
                    split=split,
                    **asdict(cell),
                    settings_hash=hashes[cell].settings,
                    sources_hash=hashes[cell].sources,
                    evaluation=evaluation,
                    solved=solved_digits(evaluation),
                    training=_trained(experiment, run.train[-1]) if run.train else None,
                )
                write_result(results, result)
                done += 1
                bar.advance()
    except LockedError:
        tell(f"{first.run}-s{first.seed}: another process is running it")
    return done


def _at_checkpoint(step: Step, cell: Cell) -> Step:
    """The evaluation of a cell, at the checkpoint of its epoch if it names one."""
    if cell.epoch is None:
        return step
    adapter = Path(str(step.settings.model_dump()["adapter"]))
    settings = step.settings.model_copy(update={"adapter": str(_checkpoint(adapter, cell.epoch))})
    return Step(step.name, step.verb, settings, step.inputs, step.output)


def _checkpoint(adapter: Path, epoch: int) -> Path:
    """The checkpoint saved at the end of this epoch.

    Raises:
        DataError: if it does not exist.
    """
    for state in sorted(adapter.glob("checkpoint-*/trainer_state.json")):
        if abs(json.loads(state.read_text(encoding="utf-8"))["epoch"] - epoch) < 1e-6:
            return state.parent
    raise DataError(
        f"no checkpoint for epoch {epoch}",
        file=adapter,
        remedy="remove save_steps from the section `train`, so that each epoch is saved; or raise max_steps",
    )


def _prune(adapter: Path) -> None:
    """Drop the optimiser's state, ten times the adapter's size, from the checkpoints of a finished training run."""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        for file in adapter.glob(f"checkpoint-*/{name}"):
            file.unlink()


class Hashes(NamedTuple):
    """What identifies a cell's result."""

    settings: str
    sources: str


def _hashes(experiment: Experiment, shared: Iterable[Step], run: Run, cell: Cell) -> Hashes:
    """Hashes of the settings a cell depends on, and of the files they read, wherever those are."""
    steps = [*shared, *run.judge, *run.train, run.evaluations[cell]]
    folder = experiment.folder
    return Hashes(settings_hash(steps, folder)[:16], sources_hash(steps, folder)[:16])


def refuse_others(
    experiment: Experiment, results: Path, split: Split, *, file: str | Path | None = None
) -> dict[Cell, Hashes]:
    """Keep results made with different settings or data out of this experiment's tables.

    Returns:
        What identifies each cell's result.

    Raises:
        ConfigError: for a result of another kind, or as `plan_cells`.
    """
    shared, runs = plan_cells(experiment, split, file=file)
    hashes = {cell: _hashes(experiment, shared, run, cell) for run in runs for cell in run.evaluations}
    for cell, result in read_results(results, split, hashes).items():
        settings, sources = hashes[cell]
        if result.version == 1:
            other = "with nlft 0.1, whose settings are not comparable with the recipe's"
        elif result.settings_hash != settings:
            other = "with settings that differ from the recipe's"
        elif result.sources_hash != sources:
            other = "from files that have changed since (problems, responses, recorded answers or the model)"
        else:
            continue
        raise ConfigError(
            f"this result was made {other}",
            file=result_path(results, split, cell),
            remedy="choose another folder (--results; of `nlft choose`, -o), or move the old results",
        )
    return hashes


def _trained(experiment: Experiment, step: Step) -> Training:
    record = read_record(experiment.folder, step.name)
    metrics = [row for _, row in read_objects(step.output / "metrics.jsonl")]
    last = metrics[-1] if metrics else {}
    rates = sorted(row["tokens_per_second"] for row in metrics if "tokens_per_second" in row)
    return Training(
        rows=sum(1 for _ in read_records(step.inputs[0], Judged)),
        steps=last.get("step"),
        seconds=last.get("seconds", record.seconds if record else 0.0),
        epochs=last.get("epoch") or 0.0,
        peak_memory_mb=record.peak_memory_mb if record else None,
        tokens_per_second=rates[len(rates) // 2] if rates else None,
        command=step.describe(experiment.folder),
    )
