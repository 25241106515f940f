"""Running the cells: one preparation, one training run per (method, size, seed), one evaluation per cell."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from nlft.errors import ConfigError, DataError
from nlft.evaluate import read_evaluation
from nlft.files import sole_writer
from nlft.pipeline.graph import Stage, read_stage, relative, run_stage, sources_hash
from nlft.pipeline.recipe import Plan, Section
from nlft.pipeline.results import CellResult, Training, read_results, result_path, solved_digits, write_result
from nlft.pipeline.rounds import leave_out_trained
from nlft.pipeline.spec import Cell, Experiment, Rows, Split, cells
from nlft.provenance import digest, public_name
from nlft.records import Graded, Judged, Verdict, read_objects, read_records, write_lines, write_records

__all__ = ["missing_cells", "plan_cells", "run_cells"]


class Hashes(NamedTuple):
    """What a cell's result is told by."""

    settings: str
    sources: str


def missing_cells(experiment: Experiment, results: Path, split: Split) -> list[Cell]:
    """The cells without a results file."""
    wanted = cells(experiment)
    done = read_results(results, split, wanted)
    return [cell for cell in wanted if cell not in done]


def plan_cells(experiment: Experiment, split: Split, *, file: str | Path | None = None) -> dict[Cell, list[Stage]]:
    """The commands of every cell, checked by the commands' own parsers; nothing is run.

    Raises:
        ConfigError: for an option that a command would refuse, or a split without a section.
    """
    if getattr(experiment, split) is None:
        raise ConfigError(
            f"the experiment has no section `{split}`", file=file, remedy="add it, or use the other split"
        )
    Plan(experiment, file).prepare()
    return {cell: _cell_stages(experiment, cell, split, file) for cell in cells(experiment)}


def run_cells(
    experiment: Experiment,
    results: Path,
    split: Split,
    *,
    file: str | Path | None = None,
    methods: Sequence[str] | None = None,
) -> int:
    """Run the missing cells; each is evaluated once, and its result is on disk before the next begins.

    Args:
        experiment: What to run.
        results: The folder of its results files.
        split: "dev" while choosing, "test" for what is reported.
        file: The recipe, for messages.
        methods: Only these.

    Returns:
        How many cells were run.

    Raises:
        ConfigError: before anything runs.
        StageError: when a command fails; finished cells are kept.
        LockedError: when another process runs the same experiment.
    """
    stages = plan_cells(experiment, split, file=file)
    before = _shared_stages(experiment, split, file)
    hashes = {cell: _hashes(experiment, [*before, *each]) for cell, each in stages.items()}
    _refuse_others(results, split, hashes)
    todo = [c for c in missing_cells(experiment, results, split) if methods is None or c.method in methods]
    if not todo:
        return 0
    with sole_writer(experiment.folder / "experiment"):
        _prepare(experiment, split, file)
        for number, cell in enumerate(todo, start=1):
            print(f"[{number}/{len(todo)}] {cell.id}, {split}", file=sys.stderr)
            _write_rows(experiment, cell)
            for stage in stages[cell]:
                if run_stage(_at_checkpoint(stage, cell), experiment.folder) and stage.words[0] == "train":
                    _prune(stage.outputs[0])
            write_result(results, _result(experiment, cell, split, stages[cell], hashes[cell]))
    return len(todo)


def _prepare(experiment: Experiment, split: Split, file: str | Path | None) -> None:
    """Training rows and problems, shared by all cells."""
    for stage in _shared_stages(experiment, split, file):
        if run_stage(stage, experiment.folder):
            print(f"      {stage.command}", file=sys.stderr)
    if split == "dev":
        # What is trained on says nothing of what was learned.
        folder = experiment.folder
        leave_out_trained(folder / _pool(split), folder / "problems.jsonl", folder / "dev.jsonl")


def _shared_stages(experiment: Experiment, split: Split, file: str | Path | None) -> list[Stage]:
    plan = Plan(experiment, file)
    plan.prepare()
    plan.data(split, _pool(split), getattr(experiment, split))
    return plan.stages


def _pool(split: Split) -> str:
    return "test.jsonl" if split == "test" else "dev-pool.jsonl"


def _cell_stages(experiment: Experiment, cell: Cell, split: Split, file: str | Path | None) -> list[Stage]:
    """Training, where there is any, and evaluation of one cell."""
    method = experiment.methods[cell.method]
    plan = Plan(experiment, file)
    adapter = None
    if method.train is not None:
        options: Section = {**experiment.train, **method.train, "seed": cell.seed}
        if experiment.last_epoch is not None:
            options |= {"epochs": experiment.last_epoch, "keep_checkpoints": experiment.last_epoch}
        extra: tuple[Path, ...] = ()
        if method.settings:
            extra = (_settings_path(experiment, cell),)
            options["settings"] = str(extra[0])
        run = f"{cell.run}-s{cell.seed}"
        rows = experiment.folder / "rows" / f"{method.rows}-{cell.size}.jsonl"
        adapter = plan.train(f"train-{run}", rows, f"adapters/{run}", options, extra)
    problems = experiment.folder / f"{split}.jsonl"
    evaluate: Section = {**experiment.evaluate, **method.evaluate, "seed": cell.seed}
    name = f"{split}-{cell.id}"
    plan.evaluate(name, problems, adapter, f"evaluations/{name}.json", evaluate)
    return plan.stages


def _settings_path(experiment: Experiment, cell: Cell) -> Path:
    return experiment.folder / "settings" / f"{cell.method}.yaml"


def _write_rows(experiment: Experiment, cell: Cell) -> None:
    """The training rows of a cell's method and size, and its constants, as files its command reads."""
    method = experiment.methods[cell.method]
    if method.train is None:
        return
    judged = list(read_records(experiment.folder / "judged.jsonl", Judged))
    if cell.size > len(judged):
        raise DataError(
            f"{cell.size} training rows are asked for, but there are {len(judged)}",
            file=experiment.folder / "judged.jsonl",
            remedy="make `sizes` smaller, or n in the section `data` larger",
        )
    path = experiment.folder / "rows" / f"{method.rows}-{cell.size}.jsonl"
    write_records(path, select_rows(judged[: cell.size], method.rows))
    if method.settings:
        text = yaml.safe_dump(dict(method.settings), sort_keys=True, allow_unicode=True)
        write_lines(_settings_path(experiment, cell), text.splitlines())


def select_rows(rows: Sequence[Judged], which: Rows) -> list[Judged]:
    """All rows; the correct ones; or all with the standard answer where the response is incorrect."""
    if which == "all":
        return list(rows)
    if which == "correct":
        return [row for row in rows if row.verdict.correct]
    right = Verdict(correct=True, reason="the standard answer, in the place of an incorrect response")
    replaced = {"verdict": right, "judgment": None, "finish_reason": "stop"}
    return [
        row if row.verdict.correct else row.model_copy(update={**replaced, "response": row.reference}) for row in rows
    ]


def _at_checkpoint(stage: Stage, cell: Cell) -> Stage:
    """The evaluation of a cell that asks for an epoch in the middle of its training run looks at that checkpoint."""
    if stage.words[0] != "evaluate" or cell.epoch is None or len(stage.inputs) < 2:
        return stage
    problems, adapter = stage.inputs
    checkpoint = _checkpoint(adapter, cell.epoch)
    words = tuple(str(checkpoint) if word == str(adapter) else word for word in stage.words)
    return Stage(stage.name, words, (problems, checkpoint), stage.outputs, stage.again, stage.anew)


def _checkpoint(adapter: Path, epoch: int) -> Path:
    """The checkpoint that was saved at the end of this epoch.

    Raises:
        DataError: when there is none.
    """
    for state in sorted(adapter.glob("checkpoint-*/trainer_state.json")):
        if abs(json.loads(state.read_text(encoding="utf-8"))["epoch"] - epoch) < 1e-6:
            return state.parent
    raise DataError(
        f"no checkpoint of epoch {epoch} is there",
        file=adapter,
        remedy="leave save_steps out of the section `train`, so that each epoch is saved",
    )


def _prune(adapter: Path) -> None:
    """Drop the optimiser's state, ten times the adapter's size, from the checkpoints of a finished training run."""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        for file in adapter.glob(f"checkpoint-*/{name}"):
            file.unlink()


def _hashes(experiment: Experiment, stages: Sequence[Stage]) -> Hashes:
    """Hashes of every command a cell stands on, and of what they read; where the files lie does not count."""
    folder = experiment.folder
    words = [[public_name(relative(word, folder)) for word in stage.words] for stage in stages]
    constants = {name: method.settings for name, method in experiment.methods.items() if method.settings}
    used = [each for name, each in constants.items() if any(f"{name}.yaml" in word for line in words for word in line)]
    return Hashes(digest([words, used])[:16], sources_hash(stages, folder)[:16])


def _refuse_others(results: Path, split: Split, hashes: dict[Cell, Hashes]) -> None:
    """Cells of other settings or other data must not stand in one table with these."""
    for cell, result in read_results(results, split, hashes).items():
        settings, sources = hashes[cell]
        if result.settings_hash != settings:
            other = "with other settings than the recipe now has"
        elif result.sources_hash not in (None, sources):
            other = "from files that have changed since (problems, responses or recorded answers)"
        else:
            continue
        raise ConfigError(
            f"this result was made {other}",
            file=result_path(results, split, cell),
            remedy="give another folder with --results, or move the old results away",
        )


def _result(experiment: Experiment, cell: Cell, split: Split, stages: Sequence[Stage], hashes: Hashes) -> CellResult:
    evaluation = read_evaluation(stages[-1].outputs[0])
    return CellResult(
        experiment=experiment.name,
        split=split,
        method=cell.method,
        size=cell.size,
        epoch=cell.epoch,
        seed=cell.seed,
        settings_hash=hashes.settings,
        sources_hash=hashes.sources,
        evaluation=evaluation,
        solved=solved_digits(evaluation),
        training=_training(experiment, stages[0]) if len(stages) > 1 else None,
    )


def _training(experiment: Experiment, stage: Stage) -> Training:
    record = read_stage(experiment.folder, stage.name)
    metrics = [row for _, row in read_objects(stage.outputs[0] / "metrics.jsonl")]
    last = metrics[-1] if metrics else {}
    rates = sorted(row["tokens_per_second"] for row in metrics if "tokens_per_second" in row)
    return Training(
        rows=sum(1 for _ in read_records(stage.inputs[0], Graded)),
        steps=last.get("step"),
        seconds=last.get("seconds", record.seconds if record else 0.0),
        epochs=last.get("epoch") or 0.0,
        peak_memory_mb=record.peak_memory_mb if record else None,
        tokens_per_second=rates[len(rates) // 2] if rates else None,
        command=_public_command(record.command if record else stage.command),
    )


def _public_command(command: str) -> str:
    """Without the places of a machine: results files are made to be shared."""
    return shlex.join(public_name(word) for word in shlex.split(command))
