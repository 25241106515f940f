"""`nlft init`: what it takes a file for, and that the recipe it writes runs as it is."""

import csv
import json
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.data.config import FileSettings
from nlft.data.step import make_problems
from nlft.errors import ConfigError
from nlft.pipeline.init import guess
from nlft.pipeline.recipe import load_recipe
from nlft.prompts import load_prompts
from nlft.records import Judged, Problem, read_records

LABELS = ["refund", "complaint", "billing", "other"]


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """48 tickets of four labels, under columns of the user's own."""
    path = tmp_path / "tickets.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "category"])
        table.writerows([f"Ticket {i} is about {LABELS[i % 4]}", LABELS[i % 4]] for i in range(48))
    return path


def problems(*references: str, **more: object) -> list[Problem]:
    rows = [{"id": str(i), "question": f"q{i}", "reference": r, **more} for i, r in enumerate(references)]
    return [Problem.model_validate(row) for row in rows]


@pytest.mark.parametrize(
    ("rows", "task", "why"),
    [
        (problems(*LABELS * 3), "label", "4 labels in 12 rows: refund (3)"),
        (problems(*["a; b", "b", "c", "a; c"] * 3), "label", "3 labels in 12 rows: a (6)"),
        (problems(*['1', '2', '3', '4', '5'] * 4), "label", "5 labels in 20 rows"),
        (problems(*[f'{{"total": {i}}}' for i in range(5)]), "json", "with the fields total"),
        (problems(*[f"{i} + 1 = {i + 1}\n#### {i + 1}" for i in range(9)]), "math", "9 of 9 standard answers are numbers"),
        (problems(*map(str, range(9))), "math", "numbers"),
        (problems(*["def f(x): return x"] * 3, tests=["assert f(1) == 1"]), "code", "column tests"),
        (problems(*[f"Dear customer {i}, thank you for your 3 letters." for i in range(9)]), "text", "neither JSON"),
    ],
)  # fmt: skip
def test_the_task_is_told_from_the_standard_answers(rows: list[Problem], task: str, why: str) -> None:
    found = guess(rows)
    assert (found.task, why in found.why) == (task, True), found.why


def test_a_recipe_says_what_it_assumes(tickets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tickets)]) == 0
    out = capfd.readouterr().out
    assert "taken for the task label: 4 labels in 48 rows: refund (12), complaint (12)" in out
    file = tickets.with_suffix(".yaml")
    assert f"next: nlft run {file}" in out
    text = file.read_text()
    assert "# Taken for the task label: 4 labels in 48 rows" in text
    assert "48 rows, of which 9 questions are held out" in text
    assert "few, so the intervals will be wide" in text
    assert "# Time: about" in text
    recipe = load_recipe(file)
    assert isinstance(recipe.data, FileSettings)
    assert recipe.data.map == {"question": "text", "reference": "category"}
    assert recipe.evaluate.grader == recipe.grade.grader == "label"
    assert "billing, complaint, other, refund" in load_prompts(recipe.prompts).solve
    assert recipe.train is not None
    assert recipe.train.prompts == recipe.prompts
    assert run(["init", str(tickets)]) == 2
    assert "already exists" in capfd.readouterr().err


def test_rows_with_responses_need_no_answers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"question": f"{i} + 1?", "reference": f"#### {i + 1}", "response": "#### 3"} for i in range(10)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert run(["init", str(file), "-o", str(tmp_path / "mine.yaml")]) == 0
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.answer, recipe.name, recipe.task) == (None, "mine", "math")


@pytest.mark.parametrize("worked", [False, True])
def test_bare_numbers_are_asked_for_and_warned_of(
    worked: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Told to work step by step and trained on the number alone, a student would do neither."""
    file = tmp_path / "sums.jsonl"
    answers = [f"{i} + 1 = {i + 1}\n#### {i + 1}" if worked else str(i + 1) for i in range(12)]
    file.write_text("\n".join(json.dumps({"question": f"{i} + 1?", "answer": a}) for i, a in enumerate(answers)))
    assert run(["init", str(file)]) == 0
    assert ("bare numbers" in capfd.readouterr().out) != worked
    recipe = load_recipe(tmp_path / "sums.yaml")
    assert recipe.answer is not None
    told = load_prompts(recipe.answer.prompts).solve
    assert ("step by step" in told, "the number alone" in told) == (worked, not worked)


def test_the_two_parts_of_a_file_share_no_question(tickets: Path, tmp_path: Path) -> None:
    given = {"source": str(tickets), "map": {"question": "text", "reference": "category"}, "test_n": 9}
    parts = [{p.id for p in make_problems(FileSettings(**given, part=part))} for part in ("train", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [39, 9]
    assert not parts[0] & parts[1]
    with pytest.raises(ValueError, match="no effect on all rows"):
        FileSettings(**given)  # type: ignore[arg-type]
    assert run(["init", str(tickets)]) == 0
    with pytest.raises(ConfigError, match="divide the same file differently"):
        load_recipe(tickets.with_suffix(".yaml"), ["test.test_n=5"])


def test_the_recipe_runs_as_it_is(tickets: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tickets.parent)
    (tickets.parent / "tiny-0.1M").symlink_to(folder)
    assert run(["init", "tickets.csv", "--model", "tiny-0.1M"]) == 0
    assert run(["run", "tickets.yaml"]) == 0
    runs = tickets.parent / "runs" / "tickets"
    rows = list(read_records(runs / "judged.jsonl", Judged))
    assert len(rows) == 39
    assert all(row.judgment for row in rows if not row.verdict.correct)
    report = (runs / "report.md").read_text()
    assert "| right and alone | 95 % | right |" in report
    assert "after vs before | right |" in report
