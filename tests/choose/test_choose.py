"""`nlft choose` from the command line, on the tiny model: folds, resuming, refusals, and a recipe that runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import nlft.choose.cost
import nlft.choose.step
from nlft.choose.candidates import CANDIDATES, obstacle
from nlft.choose.recipes import recipe_lines
from nlft.choose.verdict import choose
from nlft.cli.app import run
from nlft.edits import EditsFile
from nlft.pipeline.experiment import cells, load_experiment
from nlft.pipeline.plan import plan, plan_cells
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.report import points
from nlft.pipeline.results import read_result
from nlft.records import Judged, Problem, read_records

SMALL = ["train.lora.r=2", "train.batch_size=2", "evaluate.max_new_tokens=4"]
WORDS = ["--method", "sft-reference", "--method", "first-error", "--folds", "2", "--epochs", "1", "--prompts", "short"]
WORDS += ["--dtype", "float32", "--device", "cpu", *(word for each in SMALL for word in ("--set", each))]


def judged_rows(path: Path, n: int = 7, *, judgments: bool = True) -> Path:
    """Sums with a response; every third is wrong, and the last question has two rows."""
    with path.open("w", encoding="utf-8") as stream:
        for i in range(n + 1):
            k = min(i, n - 1)
            right = bool(i % 3)
            total = k + 2 if right else k + 3
            row = {"id": f"r{i}", "question": f"What is {k} + 2?", "reference": f"It is {k + 2}.\n#### {k + 2}"}
            row |= {"response": f"{k} + 2 = {total}\n#### {total}", "verdict": {"correct": right, "reason": "-"}}
            row["judgment"] = None if right or not judgments else f'The step "{k} + 2 = {total}" is wrong.'
            stream.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def chosen(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a choice was made."""
    folder = tmp_path_factory.mktemp("choose")
    judged_rows(folder / "judged.jsonl")
    assert (
        run(["choose", str(folder / "judged.jsonl"), "-m", str(world / "model"), *WORDS, "-o", str(folder / "c")]) == 0
    )
    return folder


def words(folder: Path, world: Path, *more: str) -> list[str]:
    return ["choose", str(folder / "judged.jsonl"), "-m", str(world / "model"), *WORDS, "-o", str(folder / "c"), *more]


def test_no_question_is_on_both_sides_of_a_fold(chosen: Path) -> None:
    asked = [[row.question for row in read_records(chosen / f"c/run/folds/{fold}.jsonl", Problem)] for fold in (0, 1)]
    assert sorted(asked[0] + asked[1]) == sorted({f"What is {k} + 2?" for k in range(7)}), "each question once"
    for fold in (0, 1):
        for rows in ("all", "reference"):
            trained = list(read_records(chosen / f"c/run/rows/{rows}-8-f{fold}.jsonl", Judged))
            assert {row.question for row in trained} == set(asked[1 - fold])
            if rows == "reference":
                assert all(row.response == row.reference and row.verdict.correct for row in trained)


def test_every_candidate_takes_as_many_steps_and_answers_every_question(chosen: Path) -> None:
    found = [read_result(path) for path in sorted((chosen / "c/results/dev").glob("*.json"))]
    assert len(found) == 6
    assert {(r.method, r.fold) for r in found} == {
        (method, fold) for method in ("sft-reference", "first-error", "untrained") for fold in (0, 1)
    }
    assert {r.training.steps for r in found if r.training is not None} == {1}  # one pass of 4 rows, four a step
    assert {r.method: sum(x.evaluation.n for x in found if x.method == r.method) for r in found} == dict.fromkeys(
        ("sft-reference", "first-error", "untrained"), 7
    )
    table = (chosen / "c/results/dev/table.md").read_text()
    assert "| sft-reference | 8 | - | 1 | 7 |" in table


def test_the_choice_is_written_and_shown(chosen: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (chosen / "c/results/dev").glob("*.json")}
    assert run(words(chosen, world)) == 0
    told = capsys.readouterr()
    assert "to run" not in told.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for line in (chosen / "c/choice.md").read_text().splitlines()[-4:]:
        assert line in told.out
    assert "Take sft-reference: of those not told apart, the plain SFT that solved most." in told.out
    assert (chosen / "c/choice.csv").read_text().startswith(",flexible,95 %,strict,in format,against ")


def test_a_missing_cell_alone_is_run_again(chosen: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = chosen / "c/results/dev"
    before = {path.name: path.stat().st_mtime_ns for path in home.glob("*.json")}
    (home / "first-error-8-f1-s0.json").unlink()
    assert run(words(chosen, world, "--dry-run")) == 0
    assert "2 candidates on 2 folds of 8 rows: 1 cells to run, about " in capsys.readouterr().out
    assert not (home / "first-error-8-f1-s0.json").exists()
    assert run(words(chosen, world)) == 0
    after = {path.name: path.stat().st_mtime_ns for path in home.glob("*.json")}
    assert [name for name in before if before[name] != after[name]] == ["first-error-8-f1-s0.json"]


def test_the_few_tokens_of_the_estimate_raise_no_alarm(
    chosen: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nlft.choose.cost, "TOKENS", 1)  # this model would end some of its answers sooner
    shutil.copytree(chosen, tmp_path, dirs_exist_ok=True)
    (tmp_path / "c/results/dev/untrained-f0-s0.json").unlink()
    assert run(words(tmp_path, world, "--dry-run")) == 0
    said = capfd.readouterr()
    assert "1 cells to run" in said.out
    rows = map(json.loads, (tmp_path / "c/run/cost/evaluation.jsonl").read_text().splitlines())
    assert {row["finish_reason"] for row in rows} == {"length"}
    assert "stop token" not in said.err


def test_results_of_other_settings_are_refused(chosen: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in (["--epochs", "5"], ["--lr", "0.1"], ["--set", "train.lora.r=4"]):
        assert run(words(chosen, world, *change)) == 2
        assert "settings that differ" in capsys.readouterr().err
    assert run(words(chosen, world)) == 0


def test_a_long_run_is_not_begun_unasked(
    chosen: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nlft.choose.step, "LONG", 0.0)
    shutil.copytree(chosen, tmp_path, dirs_exist_ok=True)
    (tmp_path / "c/results/dev/untrained-f0-s0.json").unlink()
    assert run(words(tmp_path, world)) == 2
    told = capsys.readouterr().err
    assert "not begun: it takes about" in told
    assert "--yes" in told
    assert run(words(tmp_path, world, "--yes")) == 0


def test_the_recipe_trains_the_choice_on_all_rows(chosen: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((chosen / "c/recipe.yaml").read_text())
    assert (recipe["name"], recipe["rows"], recipe["train"]["max_steps"]) == ("sft-reference", "reference", 2)
    assert "of those not told apart" in (chosen / "c/recipe.yaml").read_text()
    assert run(["run", str(chosen / "c/recipe.yaml"), "--set", f"output={tmp_path / 'run'}"]) == 0
    summary = json.loads((tmp_path / "run/adapter/train.json").read_text())
    assert (summary["rows"], summary["steps"], summary["objective"]) == (7, 2, "sft")


def test_every_learning_rate_makes_a_candidate_of_its_own(
    chosen: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nlft.choose.step, "measured_seconds", lambda *_: 1.0)
    more = ["--lr", "0.001", "--lr", "2e-4", "--dry-run"]
    judged_rows(tmp_path / "judged.jsonl")
    assert run(words(tmp_path, world, *more)) == 0
    methods = load_experiment(tmp_path / "c/experiment.yaml").methods
    rates = {name: method.train.learning_rate for name, method in methods.items() if method.train is not None}
    assert rates == {
        "sft-reference-0.001": 0.001, "sft-reference-0.0002": 0.0002,
        "first-error-0.001": 0.001, "first-error-0.0002": 0.0002,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--method", "sft-respons"], 'did you mean "sft-response"?'),
        (["--method", "cut"], "do not allow cut: too few wrong responses have a judgment"),
        (["--method", "sft-response"], "there is only one candidate"),
        (["--folds", "9"], "7 different questions cannot make 9 folds"),
        (["--grader", "exakt"], 'did you mean "exact"?'),
        (["--set", "train.epoch=3"], 'did you mean "epochs"?'),
        (["--set", "folds"], "is not an assignment"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str], change: list[str], said: str
) -> None:
    judged = judged_rows(tmp_path / "judged.jsonl", judgments=False)
    code = run(["choose", str(judged), "-m", str(world / "model"), "-o", str(tmp_path / "c"), *change])
    assert code in (1, 2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "c/run").exists()


def test_candidates_that_the_rows_do_not_allow_are_left_out_and_told(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nlft.choose.step, "measured_seconds", lambda *_: 1.0)
    judged = judged_rows(tmp_path / "judged.jsonl", judgments=False)
    base = ["choose", str(judged), "-m", str(world / "model"), "-o", str(tmp_path / "c"), "--dry-run"]
    assert run(base) == 0
    left = [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert left == ["revise", "nlft-paper", "nlft-paper-unmarked", "nlft-authors", "cut", "first-error"]
    rows = [json.loads(line) for line in judged.read_text().splitlines()]
    right = [json.dumps(row) for row in rows if row["verdict"]["correct"]]
    judged.write_text("\n".join(right) + "\n")
    assert run(base) == 0
    left = [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert left == ["sft-correct", "sft-mixed", "resample", "revise", "nlft-paper-unmarked", "cut", "first-error"]


def test_revised_rows_are_a_candidate(
    chosen: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nlft.choose.step, "measured_seconds", lambda *_: 1.0)
    judged, home = judged_rows(tmp_path / "judged.jsonl"), tmp_path / "c"
    names = ["--method", "resample", "--method", "revise", "--device", "cpu", "--dry-run"]
    assert run(["choose", str(judged), "-m", str(world / "model"), *names, "-o", str(home)]) == 0
    experiment = load_experiment(home / "experiment.yaml")
    for cell in cells(experiment, "dev"):
        (training,) = [run.train for run in plan_cells(experiment, "dev")[1] if cell in run.evaluations]
        assert [step.verb for step in training] == (["rows", "train", "revise", "train"] if cell.size else [])
        if cell.size:
            asked = training[2].settings.model_dump()
            assert asked["ways"] == (["question"] if cell.method == "resample" else ["correction", "judgment"])
            assert (asked["samples"], asked["device"], asked["max_new_tokens"]) == (8, "cpu", 16)
            assert training[1].inputs == (training[0].output,), "the student learns from all rows of the fold first"
    done = load_experiment(chosen / "c/experiment.yaml")
    choice = choose(points(done, chosen / "c/results", "dev"), "flexible")
    choice = replace(choice, taken=replace(choice.taken, method="revise"))
    (tmp_path / "recipe.yaml").write_text("\n".join(recipe_lines(experiment, choice, home)))
    steps = {step.name: step for step in plan(load_recipe(tmp_path / "recipe.yaml"))}
    told = steps["revise"].settings.model_dump()
    assert (told["ways"], told["samples"], told["max_new_tokens"]) == (["correction", "judgment"], 8, 16)
    assert steps["train-student"].inputs == (steps["grade"].output,), "all rows"


def test_the_marks_of_a_person_can_be_compared_with_none(tmp_path: Path) -> None:
    """`nlft-paper` uses them, `nlft-paper-unmarked` does not; without marks the two would be the same."""
    judged = judged_rows(tmp_path / "judged.jsonl")
    rows = list(read_records(judged, Judged))
    parts = [rows, rows]
    assert "a person marked" in (obstacle("nlft-paper-unmarked", parts) or "")
    edits = EditsFile(judged)
    for row in rows:
        if not row.verdict.correct:
            mark = {"start": 0, "end": 1, "text": row.response[0]}
            edits.change(row.id, row.response, edits.now(row.id).changed({"marks": [mark]}, row.response))
    edits.close()
    rows = list(read_records(judged, Judged))
    assert obstacle("nlft-paper-unmarked", [rows, rows]) is None
    assert CANDIDATES["nlft-paper-unmarked"]["train"] == CANDIDATES["nlft-paper"]["train"] | {"marks": "ignore"}
