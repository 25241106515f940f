"""Revised rows in a run and in an experiment: who revises, on what, and what is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlft.errors import ConfigError
from nlft.pipeline.experiment import load_experiment
from nlft.pipeline.graph import Step
from nlft.pipeline.plan import plan, plan_cells
from nlft.pipeline.recipe import load_recipe

TOP = "name: t\nmodel: m\nseed: 3\ndata: {source: rows.jsonl}\ngrade: {grader: gsm8k-strict}\njudge: null\n"
RUN = TOP + "train: {objective: sft, learning_rate: 0.5}\ntest: {source: test.jsonl}\n"
GRID = (
    TOP
    + "title: t\ntrain: {objective: sft}\ntest: {source: test.jsonl}\nsizes: [4]\nseeds: [7]\nmethods:\n  plain: {}\n"
)


def steps_of(tmp_path: Path, text: str) -> dict[str, Step]:
    (tmp_path / "recipe.yaml").write_text(text)
    return {step.name: step for step in plan(load_recipe(tmp_path / "recipe.yaml"))}


def test_the_student_that_revises_is_trained_on_the_correct_rows_and_evaluated(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, RUN + "revise: {samples: 2, ways: correction}\n")
    student, revise, train = steps["train-student"], steps["revise"], steps["train"]
    assert steps["rows-student"].settings.model_dump()["rows"] == "correct"
    assert student.inputs == (steps["rows-student"].output,)
    assert student.settings == train.settings, "trained as the model is in the end"
    told = revise.settings.model_dump()
    assert (told["adapter"], told["samples"], told["seed"], told["grader"]) == (
        str(student.output),
        2,
        3,
        "gsm8k-strict",
    )
    assert "first" not in told, "what runs is `nlft revise`, which does not know it"
    assert train.inputs == (revise.output,)
    answered = {name: steps[name].settings.model_dump()["adapter"] for name in ("before", "correct-rows", "after")}
    assert answered == {"before": None, "correct-rows": str(student.output), "after": str(train.output)}


def test_the_student_may_learn_from_all_rows_before_it_revises(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, RUN + "revise: {first: all}\n")
    assert "rows-student" not in steps
    assert steps["train-student"].inputs == steps["revise"].inputs == (steps["grade"].output,)
    assert steps["all-rows"].settings.model_dump()["adapter"] == str(steps["train-student"].output)


def test_the_untouched_model_may_revise(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, RUN + "revise: {first: untouched, adapter: a}\n")
    assert "train-student" not in steps
    assert "correct-rows" not in steps
    assert steps["revise"].settings.model_dump()["adapter"] == "a"
    with pytest.raises(ConfigError, match="an adapter is given as well"):
        steps_of(tmp_path, RUN + "revise: {adapter: a}\n")


def test_a_student_that_is_not_to_be_trained_cannot_revise(tmp_path: Path) -> None:
    none = TOP + "train: null\nrevise: {samples: 2}\n"
    with pytest.raises(ConfigError, match="trained first") as refused:
        steps_of(tmp_path, none)
    assert refused.value.line == 8
    assert "revise" in steps_of(tmp_path, none.replace("samples: 2", "samples: 2, first: untouched"))


def test_a_method_of_an_experiment_revises_its_own_rows(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID + "  revised: {revise: {samples: 2}}\n")
    _, runs = plan_cells(load_experiment(tmp_path / "grid.yaml"), "test")
    plain, revised = ([step.name for step in run.train] for run in runs)
    assert plain == ["rows-all-4", "train-plain-4-s7"]
    rows, correct, student, revise, train = runs[1].train
    assert revised == [rows.name, correct.name, student.name, revise.name, "train-revised-4-s7"]
    assert student.settings.model_dump()["seed"] == revise.settings.model_dump()["seed"] == 7
    assert revise.settings.model_dump()["grader"] == "gsm8k-strict"
    assert (correct.inputs, revise.inputs, train.inputs) == ((rows.output,), (rows.output,), (revise.output,))
    (tmp_path / "grid.yaml").write_text(GRID + "  none: {train: null, revise: {samples: 2}}\n")
    with pytest.raises(ConfigError, match="nothing is trained on the revised rows"):
        load_experiment(tmp_path / "grid.yaml")
