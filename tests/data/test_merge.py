"""`nlft data merge`, and `also` in a recipe's data: files put together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nlft.data.config import FileSettings
from nlft.data.step import make_problems
from nlft.records import Problem, read_records

ROW = {"question": "1 + 1?", "reference": "#### 2", "response": "#### 2"}


def test_ids_stay_unique_and_source_says_whose_a_row_is(
    run: Callable[..., int], jsonl: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_a = jsonl("a.jsonl", [ROW | {"id": "1", "answerer": "A"}, ROW | {"id": "2", "answerer": "A"}])
    by_b = jsonl("b.jsonl", [ROW | {"id": "1", "answerer": "B"}, ROW | {"id": "1@B", "source": "the web"}])
    by_c = jsonl("c.jsonl", [ROW | {"id": "1"}, ROW | {"id": "2", "answerer": "B"}, ROW | {"id": "1@c"}])
    out = tmp_path / "out.jsonl"
    assert run("data", "merge", by_a, by_b, by_c, "-o", out) == 0
    rows = [(row.id, row.source) for row in read_records(out, Problem)]
    assert rows == [
        ("1", "A"),
        ("2", "A"),
        ("1@B", "B"),
        ("1@B@the web", "the web"),
        ("1@c", "c"),
        ("2@B", "B"),
        ("1@c@c", "c"),
    ]
    assert "7 rows" in (said := capsys.readouterr().out)
    assert "2 of A\n  2 of B\n  1 of the web\n  2 of c" in said
    # Merged again with another, nothing changes but what is added.
    assert run("data", "merge", out, by_c, "-o", tmp_path / "more.jsonl") == 0
    again = [(row.id, row.source) for row in read_records(tmp_path / "more.jsonl", Problem)]
    assert again == [*rows, ("1@c-2", "c"), ("2@B-2", "B"), ("1@c@c-2", "c")]


def test_files_of_one_name_are_told_apart_and_columns_mapped(
    run: Callable[..., int], jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    one, other = jsonl("rows.jsonl", [{"q": "1?", "a": "1"}]), jsonl("x/rows.jsonl", [{"q": "2?", "a": "2"}])
    out = tmp_path / "out.jsonl"
    assert run("data", "merge", one, other, "-o", out, "--map", "question=q", "--map", "reference=a") == 0
    assert [row.source for row in read_records(out, Problem)] == [one.as_posix(), other.as_posix()]
    settings = FileSettings(source=str(one), also=[str(other)], map={"question": "q", "reference": "a"})
    assert [(row.id, row.question) for row in make_problems(settings)] == [
        ("rows-0", "1?"),
        (f"rows-0@{other.as_posix()}", "2?"),
    ]


def test_one_file_or_the_same_twice_is_refused(run: Callable[..., int], jsonl: Callable[..., Path]) -> None:
    path = jsonl("a.jsonl", [ROW])
    assert run("data", "merge", path, "-o", path.with_name("out.jsonl")) == 2
    assert run("data", "merge", path, path, "-o", path.with_name("out.jsonl")) == 2
    assert run("data", "merge", path, jsonl("b.jsonl", [ROW]), "-o", path) == 2
