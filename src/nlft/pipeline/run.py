"""`nlft run`: run the steps of a recipe in order, then write tables, figures and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from nlft.errors import IncompleteError
from nlft.evaluate import Evaluation, compare, read_evaluation
from nlft.evaluate.figures import plot_accuracy, plot_loss
from nlft.evaluate.table import Table, comparison_table, summary_table
from nlft.evaluate.teachers import teachers_in, teachers_table
from nlft.files import sole_writer, write_lines
from nlft.pipeline.graph import Step, read_record, refuse_old_folder, refuse_unasked, run_step
from nlft.pipeline.plan import plan
from nlft.pipeline.recipe import load_recipe
from nlft.progress import duration, tell
from nlft.records import Graded, read_records


def run_recipe(path: str | Path, assignments: Sequence[str] = ()) -> str:
    """Run a recipe's steps, skipping those that have finished with the same settings and inputs.

    Afterwards the run's folder holds one file per step, `steps/` (fingerprint, time and memory of each),
    `report.md`, `loss.png` and `accuracy.png`.

    Returns:
        The report as text for a terminal.

    Raises:
        ConfigError: for a mistake in the recipe, before anything runs.
        StepError: if a step fails; finished work is kept.
        LockedError: if another process is running in the same folder.
        IncompleteError: at the end, if rows failed for good in some step.
    """
    recipe = load_recipe(path, assignments)
    folder = recipe.folder
    refuse_old_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder / "recipe.yaml"):
        settings = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_lines(folder / "recipe.yaml", settings.splitlines())
        steps = plan(recipe)
        refuse_unasked(steps)
        for number, step in enumerate(steps, start=1):
            tell(f"[{number}/{len(steps)}] {step.describe(folder)}")
            if not run_step(step, folder, tell=tell):
                tell("      already finished, skipped")
        text = summarise(folder, steps)
    failed = [s.name for s in steps if (record := read_record(folder, s.name)) and not record.complete]
    if failed:
        raise IncompleteError(
            f"the run finished, but some rows failed for good in: {', '.join(failed)}",
            file=folder,
            remedy="see the .failed.jsonl files; set retry_failed: true in the step's section to retry them",
        )
    return f"{text}\n\nreport: {folder / 'report.md'}"


def summarise(folder: Path, steps: list[Step]) -> str:
    """Write `report.md` and the figures of a run from its files; return what the terminal shows."""
    blocks: list[tuple[str, Table]] = [("Steps", _step_table(folder, steps))]
    images: list[str] = []
    graded = folder / "graded.jsonl"
    if graded.exists() and (teachers := teachers_in(read_records(graded, Graded))):
        blocks.append(("Teachers", teachers_table(teachers)))
    evaluations = evaluations_in(folder)
    if evaluations:
        blocks.append(("Accuracy", summary_table(evaluations)))
        plot_accuracy(evaluations, folder / "accuracy.png")
        images.append("accuracy.png")
    for earlier in [name for name in evaluations if name != "after" and "after" in evaluations]:
        pair = [
            compare(evaluations[earlier], evaluations["after"], grader=grader, names=(earlier, "after"))
            for grader in ("strict", "flexible")
        ]
        blocks.append((f"After vs. {earlier}, on the same problems", comparison_table(pair)))
    dev = [s.output for s in steps if s.name.startswith("dev-") and s.output.exists()]
    if dev:
        rounds = {f"round {n}": read_evaluation(path) for n, path in enumerate(dev)}
        blocks.append(("Rounds of self-study, on the dev split", summary_table(rounds)))
    metrics = folder / "adapter" / "metrics.jsonl"
    if metrics.exists():
        plot_loss(metrics, folder / "loss.png")
        images.append("loss.png")
    lines = [f"# {folder.name}", "", "Made by `nlft run recipe.yaml`; the recipe is next to this file.", ""]
    for title, table in blocks:
        lines += [f"## {title}", "", table.markdown(), ""]
    lines += [f"![{name.removesuffix('.png')}]({name})" for name in images]
    if evaluations:
        last = list(evaluations.values())[-1]
        versions = ", ".join(f"{name} {version}" for name, version in last.provenance.versions.items())
        lines += ["", f"On {last.provenance.device}, commit {last.provenance.commit or 'unknown'}; {versions}."]
    write_lines(folder / "report.md", lines)
    return "\n\n".join(f"{title}\n{table.text()}" for title, table in blocks)


def evaluations_in(folder: Path) -> dict[str, Evaluation]:
    """The evaluations of a run, by name, in the order of its steps."""
    present = [name for name in ("before", "correct-rows", "all-rows", "after") if (folder / f"{name}.json").exists()]
    return {name: read_evaluation(folder / f"{name}.json") for name in present}


def _step_table(folder: Path, steps: list[Step]) -> Table:
    rows = []
    for step in steps:
        record = read_record(folder, step.name)
        memory = f"{record.peak_memory_mb:.0f} MB" if record and record.peak_memory_mb else "-"
        time = duration(record.seconds) if record else "-"
        rows.append((step.name, _rows(step.output), time, memory, step.output.name))
    return Table(("step", "rows", "time", "peak memory", "file"), tuple(rows))


def _rows(path: Path) -> str:
    if path.suffix != ".jsonl" or not path.exists():
        return "-"
    with path.open("rb") as stream:
        return str(sum(1 for line in stream if line.strip()))
