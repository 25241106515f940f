"""Paired comparison, through Python and through the real command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.errors import DataError
from nlft.evaluate import (
    Accuracy,
    Evaluated,
    Evaluation,
    compare,
    compare_many,
    compare_solved,
    exact_mcnemar,
    read_evaluation,
    write_evaluation,
)
from nlft.evaluate.evaluation import counts
from nlft.evaluate.table import Table, comparison_table, summary_table
from nlft.provenance import Provenance
from nlft.records import Verdict, write_records


def evaluation(right: str, *, data_hash: str = "d", run: str = "r", seed: int = 0) -> Evaluation:
    """An evaluation whose i-th problem is right where the i-th letter is `+`."""
    rows = [
        Evaluated(
            id=f"p{i}",
            response=f"#### {i}",
            strict=Verdict(correct=mark == "+", value="1" if mark in "+-" else None, reason="made up"),
            flexible=Verdict(correct=mark in "+f", value="1", reason="made up"),
            finish_reason="length" if mark == "l" else "stop",
            tokens=5,
            run=run,
        )
        for i, mark in enumerate(right)
    ]
    return Evaluation(
        model="tiny",
        settings={"temperature": 0.6},
        prompts="short",
        prompts_hash="h",
        seed=seed,
        data="test.jsonl",
        data_hash=data_hash,
        run=run,
        seconds=61.0,
        tokens_per_second=12.0,
        peak_memory_mb=100.0,
        provenance=Provenance(command="nlft", commit=None, versions={}, device="cpu", threads=1),
        **counts(rows),
    )


def save(folder: Path, name: str, e: Evaluation) -> Path:
    path = folder / name
    write_evaluation(path, e)
    write_records(path.with_suffix(".jsonl"), e.rows)
    return path


def test_difference_and_exact_test() -> None:
    c = compare(evaluation("++--------"), evaluation("+-++++++--"))
    assert (c.only_a, c.only_b) == (1, 6)
    assert c.difference == pytest.approx(0.5)
    assert c.p_value == pytest.approx(exact_mcnemar(1, 6)) == pytest.approx(0.125)
    assert c.interval.low <= 0.5 <= c.interval.high


def test_swapping_the_sides_changes_signs_only() -> None:
    a, b = evaluation("+-+-+--+"), evaluation("++--++--")
    one, other = compare(a, b), compare(b, a)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)


def test_the_grader_counts() -> None:
    a, b = evaluation("----"), evaluation("ffff")
    assert compare(a, b, grader="strict").difference == 0
    assert compare(a, b, grader="flexible").difference == 1


def test_rows_are_paired_by_id_not_by_place() -> None:
    a = evaluation("++--")
    shuffled = a.model_copy(update={"rows": a.rows[::-1]})
    assert compare(a, shuffled).p_value == 1.0
    assert compare(a, shuffled).only_a == compare(a, shuffled).only_b == 0


def test_different_problems_are_refused() -> None:
    with pytest.raises(DataError, match="different problems"):
        compare(evaluation("+"), evaluation("+", data_hash="e"))


def test_several_seeds_count_each_problem_once() -> None:
    """Ten copies of one seed are no more evidence against the null than one."""
    a, b = dict.fromkeys("12345", False), dict.fromkeys("12345", True)
    of = {"grader": "flexible", "names": ("a", "b")}
    ten = compare_solved([a] * 10, [b] * 10, **of)
    assert ten.p_value == compare_solved([a], [b], **of).p_value == exact_mcnemar(0, 5)
    assert ten.accuracy_b.n == 50
    with pytest.raises(DataError, match="2 evaluations"):
        compare_solved([a, a], [b], **of)


def test_many_are_corrected_after_holm() -> None:
    base = evaluation("-" * 8)
    first, second = compare_many(base, {"b": evaluation("+" * 8), "c": evaluation("++------")})
    assert first.p_holm == pytest.approx(2 * exact_mcnemar(0, 8))
    assert second.p_holm == pytest.approx(exact_mcnemar(0, 2))


def test_an_evaluation_survives_its_files(tmp_path: Path) -> None:
    e = evaluation("+-fl")
    assert read_evaluation(save(tmp_path, "eval.json", e)) == e
    stored = json.loads((tmp_path / "eval.json").read_text())
    assert stored["strict"]["count"] == 1
    assert stored["strict"]["interval"] == pytest.approx(e.strict.interval)
    assert stored["hit_length"]["count"] == 1
    assert stored["formatted"]["count"] == 2


def test_rows_of_another_run_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "eval.json", evaluation("+-"))
    save(tmp_path, "other.json", evaluation("+-", run="x"))
    (tmp_path / "other.jsonl").replace(tmp_path / "eval.jsonl")
    with pytest.raises(DataError, match=r"eval\.jsonl.*do not match"):
        read_evaluation(path)


def test_the_command_prints_both_graders(tmp_path: Path) -> None:
    a, b = save(tmp_path, "before.json", evaluation("-" * 8)), save(tmp_path, "after.json", evaluation("+" * 8))
    out = tmp_path / "compared.json"
    result = CliRunner().invoke(app, ["compare", str(a), str(b), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "after vs before" in result.stdout
    assert "+100.0" in result.stdout
    assert "0.008" in result.stdout  # 2 / 2^8
    assert [row["grader"] for row in json.loads(out.read_text())] == ["strict", "flexible"]


def test_tables_hold_what_they_are_given() -> None:
    table = summary_table({"before": evaluation("---"), "after | x": evaluation("+f-")})
    assert table.rows[1][1:4] == ("3", "33.3 %", "6.1 .. 79.2")
    assert table.markdown().splitlines()[3].startswith(r"| after \| x | 3 | 33.3 %")
    assert table.csv().splitlines()[0].endswith("tokens/s,peak memory")
    assert len({len(line) for line in table.text().splitlines()[1:]}) <= 2
    text = comparison_table([compare(evaluation("--"), evaluation("++"))]).text()
    assert "+100.0" in text


def test_text_columns_line_up() -> None:
    lines = Table(("", "x"), (("a", "1"), ("long", "22"))).text().splitlines()
    assert lines == ["       x", "a      1", "long  22"]


def test_accuracy_reads_well() -> None:
    assert str(Accuracy(count=10, n=100)) == "10.0 % (5.5-17.4, n = 100)"
