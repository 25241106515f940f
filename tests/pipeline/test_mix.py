"""`mix`: shares of several teachers among the training rows, and what the report says of them."""

from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.pipeline.experiment import load_experiment
from nlft.pipeline.plan import plan, plan_cells
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.run import summarise
from nlft.pipeline.select import RowsSettings, rows_file
from nlft.records import Judged, Verdict, read_records, write_records

RIGHT = Verdict(correct=True, reason="made up")


def row(number: int, who: str | None) -> Judged:
    told = {"answerer": who} if who is not None else {}
    return Judged.model_validate(
        {
            "id": f"{number}@{who}", "question": f"{number} + 1?", "reference": "1", "response": "1", "judgment": None,
            "verdict": RIGHT, **told,
        }
    )  # fmt: skip


def chosen(tmp_path: Path, rows: list[Judged], mix: dict[str, float], size: int | None = None) -> list[str]:
    write_records(tmp_path / "judged.jsonl", rows)
    rows_file(RowsSettings(rows="all", mix=mix, size=size), tmp_path / "judged.jsonl", tmp_path / "out.jsonl")
    return [row.id for row in read_records(tmp_path / "out.jsonl", Judged)]


def test_each_question_is_answered_once_in_the_shares_asked_for(tmp_path: Path) -> None:
    rows = [row(number, who) for who in "AB" for number in range(10)]
    ids = chosen(tmp_path, rows, {"A": 0.7, "B": 0.3})
    assert [sum(each.endswith(who) for each in ids) for who in "AB"] == [7, 3]
    assert len({each.partition("@")[0] for each in ids}) == 10
    # Shares are proportions, and rows by others are left out.
    assert len(chosen(tmp_path, [*rows, row(11, "C"), row(12, None)], {"A": 1, "B": 1}, size=4)) == 4
    assert chosen(tmp_path, rows, {"B": 2}) == [f"{number}@B" for number in range(10)]


def test_the_shares_are_those_of_the_rows_that_are_kept(tmp_path: Path) -> None:
    """Every second answer by B is wrong: mixed first and chosen then, four of them would be lost."""
    wrong = Verdict(correct=False, reason="made up")
    rows = [row(number, "A") for number in range(16)]
    rows += [row(n, "B").model_copy(update={"verdict": RIGHT if n % 2 else wrong}) for n in range(16)]
    write_records(tmp_path / "judged.jsonl", rows)
    settings = RowsSettings(rows="correct", mix={"A": 1, "B": 1})
    done = rows_file(settings, tmp_path / "judged.jsonl", tmp_path / "out.jsonl")
    assert done.text.splitlines()[1:] == ["  8 of A", "  8 of B"]
    chosen = list(read_records(tmp_path / "out.jsonl", Judged))
    assert [sum(each.id.endswith(who) for each in chosen) for who in "AB"] == [8, 8]
    assert all(each.verdict.correct for each in chosen)


def test_a_teacher_with_few_answers_gets_them_first(tmp_path: Path) -> None:
    """B answered the first three questions only: A, which answered all and lacks more, must leave them to B."""
    rows = [*(row(number, "B") for number in range(3)), *(row(number, "A") for number in range(10))]
    ids = ["0@B", "1@B", "2@B", *(f"{number}@A" for number in range(3, 10))]
    assert chosen(tmp_path, rows, {"A": 0.7, "B": 0.3}) == ids


def test_what_cannot_be_mixed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*(row(number, "big") for number in range(4)), row(0, "small")]
    with pytest.raises(Exception, match="there are 2 of 2 by big, 1 of 2 by small"):
        chosen(tmp_path, rows, {"big": 0.5, "small": 0.5})
    with pytest.raises(Exception, match='no row is by "smal"') as refused:
        chosen(tmp_path, rows, {"smal": 1.0})
    assert 'did you mean "small"?' in str(refused.value.remedy)  # type: ignore[attr-defined]


RECIPE = "name: r\nmodel: m\ndata: {source: rows.jsonl}\njudge: null\nmix: {A: 1, B: 2}\n"
EXPERIMENT = """
name: e
title: t
model: m
data: {source: rows.jsonl}
judge: null
test: {source: test.jsonl}
sizes: [4]
methods:
  one: {train: {objective: sft}, mix: {A: 1}}
  both: {train: {objective: sft}, mix: {A: 1, B: 1}}
"""


def test_recipes_and_the_methods_of_an_experiment_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    steps = {step.name: step for step in plan(load_recipe(path))}
    assert steps["rows"].settings == RowsSettings(rows="all", mix={"A": 1, "B": 2})
    assert steps["train"].inputs == (steps["rows"].output,)
    # Without it, the step is what it was before there was a mix.
    assert "mix" not in RowsSettings(rows="both").identity()
    path.write_text(EXPERIMENT, encoding="utf-8")
    _, runs = plan_cells(load_experiment(path), "test")
    assert [run.train[0].settings.mix for run in runs] == [{"A": 1}, {"A": 1, "B": 1}]  # type: ignore[attr-defined]
    assert len({run.train[0].output for run in runs}) == 2
    path.write_text(EXPERIMENT + "incorrect_share: 0.2\n", encoding="utf-8")
    assert run(["experiment", str(path), "--dry-run"]) == 2
    assert "`mix` and `incorrect_share` both choose one row a question" in capsys.readouterr().err
    path.write_text(RECIPE.replace("mix: {A: 1, B: 2}", "mix: {A: 0}"), encoding="utf-8")
    assert run(["run", str(path)]) == 2


def test_the_report_of_a_run_compares_the_teachers(tmp_path: Path) -> None:
    write_records(tmp_path / "graded.jsonl", [row(number, who) for number, who in enumerate("AAB")])
    assert "Teachers\nteacher  n" in summarise(tmp_path, [])
    assert "| A | 2 | 100.0 % |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    write_records(tmp_path / "graded.jsonl", [row(number, "A") for number in range(2)])
    assert "Teachers" not in summarise(tmp_path, [])
