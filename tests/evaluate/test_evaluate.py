"""Evaluation with a tiny model: rows as they come, resumed runs, refusals; through Python and the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nlft.answer import LocalAnswerer
from nlft.errors import ConfigError, DataError, LockedError
from nlft.evaluate import Evaluated, Evaluation, compare, evaluate, read_evaluation
from nlft.files import journal_path, sole_writer
from nlft.lm import LanguageModel, SamplingSettings
from nlft.prompts import load_prompts
from nlft.records import Problem, read_records, write_records

SETTINGS = SamplingSettings(temperature=1.0, max_new_tokens=6, seed=5, batch_size=3)


@pytest.fixture
def problems() -> list[Problem]:
    return [Problem(id=f"p{i}", question=f"What is {i} + {{question}}?", reference=f"#### {i}") for i in range(8)]


def run(problems: list[Problem], lm: LanguageModel, **options: object) -> Evaluation:
    return evaluate(problems, LocalAnswerer(lm, SETTINGS), load_prompts("short"), **options)  # type: ignore[arg-type]


def test_everything_is_told(problems: list[Problem], lm: LanguageModel, tmp_path: Path) -> None:
    result = run(problems, lm, output=tmp_path / "eval.json", data="problems.jsonl")
    assert result.n == len(result.rows) == result.strict.n == 8
    assert [row.id for row in result.rows] == [p.id for p in problems]
    assert all(0 < row.tokens <= 6 for row in result.rows)
    assert result.hit_length.count == sum(row.finish_reason == "length" for row in result.rows)
    assert result.tokens == sum(row.tokens for row in result.rows)
    assert (result.seed, result.data, result.resumed) == (5, "problems.jsonl", 0)
    assert result.settings["temperature"] == 1.0
    assert result.provenance.versions["torch"]
    assert read_evaluation(tmp_path / "eval.json") == result
    stored = (tmp_path / "eval.json").read_text()
    assert str(Path(lm.name).parent) not in stored, "where someone keeps a model is no part of a result"


def test_a_stop_that_never_came_is_said(
    problems: list[Problem], lm: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    for limit in (1, 6):
        caplog.clear()
        answerer = LocalAnswerer(lm, SETTINGS.model_copy(update={"max_new_tokens": limit}))
        result = evaluate(problems, answerer, load_prompts("short"))
        assert ("the stop token never came: all 8 answers" in caplog.text) is (result.hit_length.count == 8)
        assert (result.hit_length.count == 8) is (limit == 1)


def test_answers_that_are_no_numbers_have_a_grader_of_their_own(lm: LanguageModel, tmp_path: Path) -> None:
    words = [Problem(id=i, question=f"Which, {i}?", reference="yes") for i in "abc"]
    with pytest.raises(DataError, match="no number"):
        run(words, lm)
    with pytest.raises(ConfigError, match="exakt"):
        run(words, lm, grader="exakt")
    result = run(words, lm, grader="exact", output=tmp_path / "eval.json")
    assert (result.grader, result.strict.n, result.strict) == ("exact", 3, result.flexible)
    assert read_evaluation(tmp_path / "eval.json") == result
    right = run([p.model_copy(update={"reference": row.response}) for p, row in zip(words, result.rows, strict=True)],
                lm, grader="exact")  # fmt: skip
    assert right.flexible.count == 3
    numbers = [p.model_copy(update={"reference": "4"}) for p in words]
    with pytest.raises(DataError, match=r"was graded by exact, but .* by gsm8k"):
        compare(run(numbers, lm, grader="exact"), run(numbers, lm))


@pytest.mark.parametrize("cut", [1, 40, 41, 42, -1])
def test_a_torn_run_resumes_where_it_stopped(
    problems: list[Problem], lm: LanguageModel, tmp_path: Path, cut: int
) -> None:
    """The rows of an unbroken run and of one whose journal was cut in the middle of a line are the same bytes."""
    whole = run(problems, lm, output=tmp_path / "whole.json")
    lines = journal_path(tmp_path / "whole.json").read_bytes().splitlines(keepends=True)
    assert len(lines) == 8
    journal_path(tmp_path / "torn.json").write_bytes(lines[6] + lines[2] + lines[3][:cut])
    resumed = run(problems, lm, output=tmp_path / "torn.json")
    assert resumed.resumed == 2
    assert (tmp_path / "torn.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert resumed.strict == whole.strict


def test_a_finished_run_is_not_run_again(
    problems: list[Problem], lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(problems, lm, output=tmp_path / "eval.json")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("generated again")

    monkeypatch.setattr("nlft.lm.generate.generate", refuse)
    again = run(problems, lm, output=tmp_path / "eval.json")
    assert again == first, "time and speed are those of the run that did the work"


def test_two_processes_cannot_write_one_evaluation(problems: list[Problem], lm: LanguageModel, tmp_path: Path) -> None:
    with sole_writer(tmp_path / "eval.json"), pytest.raises(LockedError):
        run(problems, lm, output=tmp_path / "eval.json")


def test_the_batch_decides_nothing(problems: list[Problem], lm: LanguageModel) -> None:
    settings = SamplingSettings(temperature=1.0, max_new_tokens=6, seed=5, batch_size=1)
    one = evaluate(problems, LocalAnswerer(lm, settings), load_prompts("short"))
    assert one.rows == run(problems, lm).rows


def test_other_rows_are_not_mixed_in(problems: list[Problem], lm: LanguageModel, tmp_path: Path) -> None:
    run(problems[:2], lm, output=tmp_path / "eval.json")
    before = (tmp_path / "eval.jsonl").read_bytes()
    with pytest.raises(DataError, match="another evaluation"):
        run(problems, lm, output=tmp_path / "eval.json")
    for changed in (
        {"prompts": load_prompts("generic")},
        {"answerer": LocalAnswerer(lm, SETTINGS.model_copy(update={"seed": 6}))},
        {"problems": [problems[0], problems[2]]},
    ):
        given = {"problems": problems[:2], "answerer": LocalAnswerer(lm, SETTINGS), "prompts": load_prompts("short")}
        with pytest.raises(DataError, match="another evaluation"):
            evaluate(**{**given, **changed}, output=tmp_path / "eval.json")  # type: ignore[arg-type]
    assert (tmp_path / "eval.jsonl").read_bytes() == before
    whole = run(problems, lm, output=tmp_path / "eval.json", overwrite=True)
    assert (whole.n, whole.resumed) == (8, 2), "an answer to the same question is not paid for twice"


@pytest.mark.parametrize("reference", ["no number at all", "####"])
def test_a_reference_without_a_number_is_told_before_the_model_runs(
    reference: str, lm: LanguageModel, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        run([Problem(id="a", question="q", reference=reference)], lm, output=tmp_path / "e.json")
    assert not (tmp_path / "e.jsonl").exists()


def test_nothing_and_doubles_are_refused(problems: list[Problem], lm: LanguageModel) -> None:
    with pytest.raises(DataError, match="no problem"):
        run([], lm)
    with pytest.raises(DataError, match="more than once"):
        run([problems[0], problems[0]], lm)


def command(folder: Path, problems: Path, output: Path, *more: str) -> list[str]:
    fixed = ["--prompts", "short", "--temperature", "1", "--dtype", "float32", "--device", "cpu", "--batch-size", "2"]
    words = ["evaluate", str(problems), "-m", str(folder), "-o", str(output), *fixed, *more]
    return [sys.executable, "-m", "nlft", *words]


def test_the_command_interrupted_keeps_its_rows_and_goes_on(
    problems: list[Problem], folder: Path, tmp_path: Path
) -> None:
    data, output = tmp_path / "problems.jsonl", tmp_path / "eval.json"
    many = [p.model_copy(update={"id": f"{p.id}-{k}"}) for k in range(6) for p in problems]
    write_records(data, many)
    words = command(folder, data, output, "--max-new-tokens", "80")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        rows = journal_path(output)
        deadline = time.monotonic() + 60
        while not (rows.exists() and rows.read_bytes().count(b"\n") >= 2):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    kept = [json.loads(line)["text"] for line in rows.read_text().splitlines()]
    assert 2 <= len(kept) < len(many)
    assert not output.exists()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "in format" in done.stdout
    stored = json.loads(output.read_text())
    assert stored["n"] == len(many)
    assert stored["resumed"] >= len(kept)
    assert {json.loads(line)["text"] for line in rows.read_text().splitlines()[: len(kept)]} == set(kept)
    assert kept[0] in {row.response for row in read_records(output.with_suffix(".jsonl"), Evaluated)}
