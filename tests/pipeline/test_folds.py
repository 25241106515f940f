"""Folds: balanced, no question on both sides, and the rows a method takes from them."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.cli.app import run
from nlft.data.duplicates import normalised
from nlft.data.folds import fold_numbers
from nlft.errors import ConfigError, DataError
from nlft.pipeline.experiment import Cell, cells, load_experiment
from nlft.pipeline.folds import Fold, held_out_file
from nlft.pipeline.plan import plan
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.select import WORDED, RowsSettings, rows_file, select_rows
from nlft.prompts import load_prompts
from nlft.records import Judged, Problem, Verdict, read_records, write_records


def judged(name: str, question: str, correct: bool) -> Judged:
    verdict = Verdict(correct=correct, reason="made up")
    judgment, reference = None if correct else "wrong", f"#### {question[-1]}"
    row = {"id": name, "question": question, "reference": reference, "response": name, "judgment": judgment}
    return Judged.model_validate({**row, "verdict": verdict, "grades": {"x": verdict}, "own": 1})


ROWS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=3, max_size=40).map(
    lambda drawn: [judged(f"r{i}", f"How many, {'x' * k}?", right) for i, (k, right) in enumerate(drawn)]
)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(2, 5), st.integers(0, 3))
def test_folds_are_even_and_share_no_question(rows: list[Judged], folds: int, seed: int) -> None:
    questions = {normalised(row.question) for row in rows}
    if len(questions) < folds:
        with pytest.raises(DataError, match="cannot make"):
            fold_numbers(rows, folds, seed)
        return
    numbers = fold_numbers(rows, folds, seed)
    home = dict(zip((normalised(row.question) for row in rows), numbers, strict=True))
    assert numbers == [home[normalised(row.question)] for row in rows]
    sizes = Counter(home.values())
    assert set(sizes) == set(range(folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    wrong = Counter(home[q] for q in {normalised(r.question) for r in rows if not r.verdict.correct})
    shares = [wrong[fold] for fold in range(folds)]
    assert max(shares) - min(shares) <= 1


def test_folds_depend_on_the_seed_alone() -> None:
    rows = [judged(f"r{i}", f"q {i}", True) for i in range(20)]
    assert fold_numbers(rows, 4, 0) == fold_numbers(rows, 4, 0) != fold_numbers(rows, 4, 1)


def test_spelling_makes_no_other_question(tmp_path: Path) -> None:
    rows = [judged("a", "How many?", True), judged("b", "how  many", False), judged("c", "Who?", True)]
    first, second, third = fold_numbers(rows, 2)
    assert first == second != third
    write_records(tmp_path / "rows.jsonl", rows)
    held_out_file(Fold(folds=2, fold=first), tmp_path / "rows.jsonl", tmp_path / "held.jsonl")
    (kept,) = read_records(tmp_path / "held.jsonl", Problem)
    assert kept.model_dump() == {"id": "a", "question": "How many?", "reference": "#### ?", "own": 1}


def test_a_fold_is_left_out_of_the_first_rows(tmp_path: Path) -> None:
    rows = [judged(f"r{i}", f"q {i}", bool(i % 4)) for i in range(9)]
    write_records(tmp_path / "rows.jsonl", rows)
    numbers = fold_numbers(rows, 3, 5)
    for fold in range(3):
        chosen = RowsSettings(rows="correct", size=7, fold=Fold(folds=3, fold=fold, seed=5))
        rows_file(chosen, tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
        wanted = [r.id for r, n in list(zip(rows, numbers, strict=True))[:7] if n != fold and r.verdict.correct]
        assert [row.id for row in read_records(tmp_path / "out.jsonl", Judged)] == wanted
    write_records(tmp_path / "wrong.jsonl", [row for row in rows if not row.verdict.correct])
    with pytest.raises(DataError, match="no row is left of `rows: correct`"):
        rows_file(RowsSettings(rows="correct"), tmp_path / "wrong.jsonl", tmp_path / "out.jsonl")


def test_standard_answers_alone_and_beside_the_responses() -> None:
    rows = [judged("a", "q 1", True), judged("b", "Q 1!", False), judged("c", "q 2", False)]
    alone = select_rows(rows, "reference")
    assert [(r.id, r.response, r.verdict.correct, r.judgment, r.grades) for r in alone] == [
        ("a", "#### 1", True, None, {}),
        ("c", "#### 2", True, None, {}),
    ]
    both = select_rows(rows, "both")
    assert both[:3] == rows
    assert [(r.id, r.response) for r in both[3:]] == [("a#standard", "#### 1"), ("c#standard", "#### 2")]


def test_wrong_responses_are_used_in_other_ways_than_by_weights() -> None:
    rows = [judged("a", "q 1", True), judged("b", "q 2", False)]
    beside = select_rows(rows, "wrong-and-reference")
    assert [(r.id, r.verdict.correct) for r in beside] == [("b", False), ("a#standard", True), ("b#standard", True)]
    (right, pair) = select_rows(rows, "pairs")
    assert right == rows[0]
    assert (pair.response, (pair.model_extra or {})["preferred"]) == (rows[1].response, "#### 2")
    prompts = load_prompts("short")
    corrected = select_rows(rows, "corrections", prompts)
    assert [(r.id, r.response) for r in corrected] == [
        ("a", rows[0].response),
        ("b", "#### 2"),
        ("b#correction", "#### 2"),
    ]
    assert rows[1].response in corrected[2].question
    asked = [
        [r.question != r0.question for r, r0 in zip(select_rows(rows, kind, prompts), rows, strict=True)]
        for kind in WORDED[1:]
    ]
    assert asked == [[False, True], [True, False]], "wrong ones are asked for as such; in the control, right ones"


def test_only_rows_with_another_prompt_name_the_prompt_set(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(folder=tmp_path) + "prompts: short\n")
    assert plan(load_recipe(path, ["rows=pairs"]))[-2].settings == RowsSettings(rows="pairs")
    worded = plan(load_recipe(path, ["rows=corrections"]))[-2]
    assert worded.settings == RowsSettings(rows="corrections", prompts="short")
    rows = [judged("a", "q 1", True), judged("b", "q 2", False)]
    write_records(tmp_path / "judged.jsonl", rows)
    rows_file(worded.settings, tmp_path / "judged.jsonl", tmp_path / "rows.jsonl")  # type: ignore[arg-type]
    assert [row.id for row in read_records(tmp_path / "rows.jsonl", Judged)] == ["a", "b", "b#correction"]


RECIPE = """\
name: tiny
model: {folder}/model
data: {{source: {folder}/train.jsonl}}
train: {{lora: {{r: 2}}}}
"""


def test_the_rows_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    assert [step.verb for step in plan(load_recipe(path))] == ["data", "grade", "judge", "train"]
    steps = plan(load_recipe(path, ["rows=both"]))
    assert [step.verb for step in steps] == ["data", "grade", "judge", "rows", "train"]
    assert steps[-1].inputs == (steps[-2].output,)
    assert steps[-2].settings == RowsSettings(rows="both")
    with pytest.raises(ConfigError, match="`rows` needs a section `train`"):
        load_recipe(path, ["rows=both", "train=null"])
    with pytest.raises(ConfigError, match='did you mean "both"'):
        load_recipe(path, ["rows=boht"])


def test_folds_are_the_dev_split_of_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    more = "title: t\nmethods: {base: {train: null}, sft: {train: {objective: sft}}}\nsizes: [4]\nfolds: 2\n"
    path.write_text(RECIPE.format(folder=tmp_path) + more + f"test: {{source: {tmp_path}/test.jsonl}}\n")
    experiment = load_experiment(path)
    assert cells(experiment, "test") == [Cell("base", 0, None, 0), Cell("sft", 4, None, 0)]
    assert [cell.id for cell in cells(experiment, "dev")] == ["base-f0-s0", "base-f1-s0", "sft-4-f0-s0", "sft-4-f1-s0"]
    assert run(["experiment", str(path), "--split", "dev", "--dry-run"]) == 0
    assert "4 cells, 4 missing" in capsys.readouterr().out
    assert run(["experiment", str(path), "--set", "dev.source=gsm8k", "--dry-run"]) == 2
    assert "`folds` and `dev` exclude each other" in capsys.readouterr().err
