"""Several models answer the same problems: `nlft answer -m A -m B`, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlft.cli.app import run
from nlft.records import Attempt, Problem, read_records, write_records


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    write_records(
        tmp_path / "p.jsonl", [Problem(id=str(i), question=f"{i} + 1?", reference=f"#### {i + 1}") for i in range(4)]
    )
    return tmp_path / "p.jsonl"


@pytest.fixture
def server(make_server: Callable[[], Any]) -> Any:
    """A is right and brief; B is right once, and says more; C fails at one problem."""
    made = make_server()

    def says(body: dict[str, Any]) -> str:
        number = int(body["messages"][-1]["content"].split()[0])
        return f"#### {number + 1}" if body["model"] == "A" else f"I take {number} and say #### 1"

    made.says = says
    return made


def answer(server: Any, problems: Path, out: Path, *more: str) -> int:
    return run(["answer", str(problems), "-o", str(out), "--base-url", server.url, "-m", "A", "-m", "B", *more])


def test_each_answers_every_problem_and_none_is_asked_twice(
    server: Any, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.jsonl"
    assert answer(server, problems, out, "--samples", "2") == 0
    rows = list(read_records(out, Attempt))
    assert [row.id for row in rows[:5]] == ["0#0@A", "0#1@A", "0#0@B", "0#1@B", "1#0@A"]
    assert len(rows) == 16
    assert {(row.source, row.answerer, row.response.startswith("I take")) for row in rows} == {
        ("A", "A", False),
        ("B", "B", True),
    }
    said = capsys.readouterr().out
    assert "8 answers by A" in said
    assert "8 answers by B" in said
    assert "16 requests" in said
    bytes_ = out.read_bytes()
    asked = len(server.bodies)
    out.unlink()
    assert answer(server, problems, out, "--samples", "2") == 0
    assert (out.read_bytes(), len(server.bodies)) == (bytes_, asked)


def test_a_limit_is_for_all_together_and_a_resumed_run_goes_on(server: Any, problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert answer(server, problems, out, "--max-requests", "5") == 4
    assert [row.id for row in read_records(out, Attempt)] == ["0@A", "0@B", "1@A", "2@A", "3@A"]
    assert len(server.bodies) == 5
    assert answer(server, problems, out) == 0
    assert len(server.bodies) == 8


def test_a_source_of_the_problems_own_stays(server: Any, tmp_path: Path) -> None:
    write_records(tmp_path / "p.jsonl", [Problem(id="x", question="1 + 1?", reference="2", source="the web")])  # type: ignore[call-arg]
    assert answer(server, tmp_path / "p.jsonl", tmp_path / "a.jsonl") == 0
    assert [(row.source, row.answerer) for row in read_records(tmp_path / "a.jsonl", Attempt)] == [
        ("the web", "A"),
        ("the web", "B"),
    ]


def test_the_grades_compare_the_teachers(
    server: Any, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, graded = tmp_path / "a.jsonl", tmp_path / "g.jsonl"
    assert answer(server, problems, out, "--price-in", "1000", "--price-out", "2000") == 0
    rows = list(read_records(out, Attempt))
    assert all(row.cost > 0 for row in rows)
    capsys.readouterr()
    assert run(["grade", str(out), "-o", str(graded)]) == 0
    header, a, b = capsys.readouterr().out.splitlines()[-3:]
    cost = {name: sum(row.cost for row in rows if row.answerer == name) for name in "AB"}
    assert header.split("  ")[0] == "teacher"
    assert a.split() == [
        *["A", "4", "100.0", "%", "51.0", "..", "100.0", "2", "0.0", "%"],
        f"{cost['A']:.4f}",
        f"{cost['A'] / 4:.4f}",
    ]
    assert b.split() == [
        *["B", "4", "25.0", "%", "4.6", "..", "69.9", "7", "0.0", "%"],
        f"{cost['B']:.4f}",
        f"{cost['B']:.4f}",
    ]
    assert run(["grade", str(out), "-o", str(graded), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["teachers"]
    assert [(each["name"], each["right"]["count"], each["cost"]) for each in told] == [
        ("A", 4, pytest.approx(cost["A"])),
        ("B", 1, pytest.approx(cost["B"])),
    ]
    # Of one teacher there is nothing to compare.
    lines = out.read_text(encoding="utf-8").splitlines()
    out.write_text("\n".join(line for line in lines if json.loads(line)["answerer"] == "A"), encoding="utf-8")
    assert run(["grade", str(out), "-o", str(graded)]) == 0
    assert "teacher" not in capsys.readouterr().out


def test_what_several_models_cannot_do_is_refused(
    server: Any, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, told in (
        (["-m", "A"], 'two models are called "A"'),
        (["--adapter", str(tmp_path)], "an adapter belongs to one model"),
    ):
        assert answer(server, problems, tmp_path / "a.jsonl", *more) == 2
        assert told in capsys.readouterr().err
    words = ["answer", str(problems), "-o", str(tmp_path / "a.jsonl"), "-m", "A", "-m", "B", "--out-of-fold", "2"]
    assert run(words) == 2
    assert "trains the model that answers, and several are given" in capsys.readouterr().err
    assert not server.bodies
    assert answer(server, problems, tmp_path / "a.jsonl", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "A: would send 4 requests" in out
    assert "B: would send 4 requests" in out
