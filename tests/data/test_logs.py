"""Logs that lm-eval and Inspect wrote, as graded rows (`logs/README.md` says where they come from)."""

import builtins
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlft.data import load_problems
from nlft.errors import DataError
from nlft.records import Attempt, Graded, read_records

LOGS = Path(__file__).parent / "logs"
RECIPES = Path(__file__).parents[2] / "recipes"


def inspect_log(name: str = "inspect-epochs") -> dict[str, Any]:
    return json.loads((LOGS / f"{name}.json").read_text(encoding="utf-8"))


def test_the_two_filters_of_a_problem_are_grades_of_one_row() -> None:
    rows = list(load_problems(LOGS / "lm-eval-weak.jsonl"))
    said = {row.question: row for row in read_records(RECIPES / "gsm8k-100.jsonl", Attempt)}
    assert [row.id for row in rows] == [str(number) for number in range(8)]
    for row in rows:
        assert isinstance(row, Graded)
        assert (row.reference, row.response) == (said[row.question].reference, said[row.question].response)
        assert list(row.grades) == ["exact_match,strict", "exact_match,flexible"]
        assert row.verdict == row.grades["exact_match,strict"]
        # What a filter did not find is no value.
        assert (row.verdict.value is None) is ("#### " not in row.response)
    assert [sum(row.grades[name].correct for row in rows) for name in rows[0].grades] == [3, 6]


def test_columns_of_the_problem_and_the_prompt_can_be_named(run: Callable[..., int], tmp_path: Path) -> None:
    log, out = LOGS / "lm-eval-choices.jsonl", tmp_path / "out.jsonl"
    assert run("data", log, "-o", out, "--map", "question=prompt", "--map", "verdict=grades.acc_norm") == 0
    rows = list(read_records(out, Graded))
    assert all(row.question.startswith("<|im_start|>system") for row in rows)
    assert [row.verdict.correct for row in rows] == [False, True, False]


def test_of_several_choices_the_likeliest_is_the_response() -> None:
    rows = list(load_problems(LOGS / "lm-eval-choices.jsonl"))
    assert [(row.question, row.reference, row.response) for row in rows] == [
        ("A dog has how many legs?", "four", "nine"),
        ("Which is a fruit?", "a ripe apple", "a ripe apple"),
        ("The opposite of hot is", "cold", "cold"),
    ]
    assert [[grade.correct for grade in row.grades.values()] for row in rows] == [
        [False, False],
        [True, True],
        [True, False],
    ]


def test_choices_that_are_asked_in_other_ways(jsonl: Callable[..., Path]) -> None:
    line = json.loads((LOGS / "lm-eval-choices.jsonl").read_text(encoding="utf-8").splitlines()[0])

    def logged(requests: list[tuple[str, str, float]], **more: Any) -> str:
        arguments = {f"gen_args_{at}": {"arg_0": one, "arg_1": two} for at, (one, two, _) in enumerate(requests)}
        resps = [[[str(likely), "False"]] for *_, likely in requests]
        (row,) = load_problems(jsonl("log.jsonl", [{**line, "arguments": arguments, "resps": resps, **more}]))
        assert isinstance(row, Attempt)
        return row.response

    mutual = [("Q", " four", -3.0), ("Q", " nine", -2.0), ("", " four", -1.0), ("", " nine", -1.5)]
    assert logged(mutual, metrics=["acc", "acc_mutual_info"], acc_mutual_info=1.0) == "nine"
    assert logged([("He", " ran.", -2.0), ("She", " ran.", -1.0)]) == "She"


def test_logs_are_known_by_how_they_begin(tmp_path: Path) -> None:
    for name in ("lm-eval-strong.jsonl", "inspect-choices.json"):
        (tmp_path / "log.txt").write_bytes((LOGS / name).read_bytes())
        assert isinstance(next(load_problems(tmp_path / "log.txt")), Graded)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [*lines, lines[0]], r":17: the sample 0 of the filter strict is already on line 1"),
        (lambda lines: [lines[0], '{"doc_id": 9}'], r":2: this is no sample of lm-eval: KeyError: 'filter'"),
        (lambda lines: [lines[0].replace('"resps": [[', '"resps": [[], [')], r":1: this is no sample of lm-eval"),
    ],
)
def test_a_log_of_two_runs_or_of_something_else_is_refused(tmp_path: Path, change: Any, told: str) -> None:
    lines = (LOGS / "lm-eval-weak.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "log.jsonl").write_text("\n".join(change(lines)), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        list(load_problems(tmp_path / "log.jsonl"))


def test_epochs_of_inspect_are_samples_and_its_scorers_grades() -> None:
    rows = list(load_problems(LOGS / "inspect-epochs.json"))
    assert [row.id for row in rows[:2]] == ["gsm8k-test-313#0", "gsm8k-test-349#0"]
    assert len(rows) == len({row.id for row in rows}) == 8
    first = rows[0]
    assert isinstance(first, Graded)
    assert (first.response, first.reference, first.finish_reason) == ("#### 120000", "120000", "stop")
    assert {name: grade.correct for name, grade in first.grades.items()} == {"match": True, "includes": True}
    assert (first.verdict.value, first.model_extra) == (
        "1.2e+05",
        {"answerer": "mockllm/model", "problem": "gsm8k-test-313", "sample": 0},
    )
    assert [row.verdict.correct for row in rows[1:3]] == [False, False]


def test_choices_and_earlier_turns_of_inspect() -> None:
    plain, chat = load_problems(LOGS / "inspect-choices.json")
    assert (plain.id, plain.question, plain.reference) == ("1", "Which is a fruit?\n\nA) stone\nB) apple", "B")
    assert chat.question == "Which is red?\n\nA) blood\nB) grass"
    assert (chat.system, [turn["content"] for turn in chat.earlier_turns]) == ("Be short.", ["Hi.", "Hello."])


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
def test_the_archive_is_the_same_log(tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = pytest.importorskip("backports.zstd.zipfile") if compression == "zstd" else zipfile
    kind = pack.ZIP_ZSTANDARD if compression == "zstd" else pack.ZIP_DEFLATED
    log, path = inspect_log(), tmp_path / "log.eval"
    with pack.ZipFile(path, "w", kind) as archive:
        for sample in log["samples"]:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("header.json", json.dumps({name: log[name] for name in log if name != "samples"}))
    assert list(load_problems(path)) == list(load_problems(LOGS / "inspect-epochs.json"))
    if compression == "zstd":
        real = builtins.__import__
        monkeypatch.setattr(builtins, "__import__", lambda name, *more: real(_absent(name), *more))
        if not hasattr(zipfile, "ZIP_ZSTANDARD"):
            with pytest.raises(DataError, match="compressed by Zstandard") as refused:
                list(load_problems(path))
            assert "nlft[logs]" in str(refused.value.remedy)


def _absent(name: str) -> str:
    return "no_such_module" if name == "backports.zstd" else name


def test_scores_that_are_no_share_are_left_out_and_errors_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = inspect_log()
    log["eval"]["config"] = {"epochs": 1}
    half, open_, wrong, *_ = log["samples"]
    half["scores"] = {"judge": {"value": {"tone": "P", "length": 120, "clear": True}}}
    half["output"]["choices"][0] |= {"stop_reason": "max_tokens"}
    half["output"]["choices"][0]["message"]["content"] = [
        {"type": "reasoning", "reasoning": "Hm."},
        {"type": "text", "text": "So 3."},
    ]
    open_["scores"] = {"length": {"value": 7}}
    wrong["error"] = {"message": "the server is gone"}
    (tmp_path / "log.json").write_text(json.dumps({**log, "samples": [half, open_, wrong]}), encoding="utf-8")
    graded, attempt = load_problems(tmp_path / "log.json")
    assert isinstance(graded, Graded)
    assert {name: (grade.correct, grade.score) for name, grade in graded.grades.items()} == {
        "judge,tone": (False, 0.5),
        "judge,clear": (True, None),
    }
    assert (graded.response, graded.thoughts, graded.finish_reason) == ("So 3.", "Hm.", "length")
    assert type(attempt) is Attempt
    assert "1 samples ended in an error and are left out" in caplog.text


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b'{"version": 2, "status": "success"}'])
def test_what_only_begins_like_a_log_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.eval").write_bytes(content)
    with pytest.raises(DataError, match="this is no log of Inspect"):
        list(load_problems(tmp_path / "log.eval"))


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", '{"eval": {}}')
        archive.writestr("samples/1_epoch_1.json", json.dumps(inspect_log()["samples"][0]))
    path.write_bytes(path.read_bytes().replace(b"120000", b"120001", 1))
    with pytest.raises(DataError, match=r"samples/1_epoch_1.json is damaged: Bad CRC-32"):
        list(load_problems(path))


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", '{"eval": {}}')
        with archive.open("samples/1_epoch_1.json", "w") as stream:
            for _ in range(257):
                stream.write(bytes(1 << 20))
    with pytest.raises(DataError, match="larger than 256 MB"):
        list(load_problems(tmp_path / "log.eval"))


def test_check_and_show_take_the_names_of_columns(
    run: Callable[..., int], jsonl: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = jsonl("in.jsonl", [{"Body": "2 + 2?", "meta": {"key": "#### 4"}}])
    named = ("--map", "question=Body", "--map", "reference=meta.key")
    assert run("data", "check", path) == 1
    assert run("data", "check", path, *named) == 0
    assert "1 rows (1 Problem)" in capsys.readouterr().out
    assert run("data", "show", path, "1", *named) == 0
    assert "2 + 2?" in capsys.readouterr().out
    assert run("data", "check", LOGS / "lm-eval-weak.jsonl") == 0
    assert "correct: 3 of 8" in capsys.readouterr().out
