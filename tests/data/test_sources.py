"""Where problems come from: symbolic problems, GSM8K, and subsets of both."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlft.data import gsm8k, gsm_symbolic, gsm_symbolic_kinds, load_problems, subset_rows
from nlft.errors import ConfigError, DataError
from nlft.grade import grade_response
from nlft.records import Problem, read_records


def test_the_subset_is_the_papers_shuffle() -> None:
    """The first of GSM8K's 7,473 training rows under seed 42, as recorded with a teacher's answers."""
    assert subset_rows(7473, 6) == [1458, 3620, 6312, 4833, 5032, 1914]


@given(total=st.integers(1, 200), seed=st.integers(0, 99), data=st.data())
def test_subsets_of_one_seed_are_nested(total: int, seed: int, data: st.DataObject) -> None:
    large = data.draw(st.integers(1, total))
    small = data.draw(st.integers(1, large))
    rows = subset_rows(total, large, seed)
    assert rows[:small] == subset_rows(total, small, seed)
    assert len(set(rows)) == large
    assert set(rows) <= set(range(total))


@pytest.mark.parametrize("n", [0, -1, 6])
def test_a_subset_out_of_range_is_refused(n: int) -> None:
    with pytest.raises(ConfigError):
        subset_rows(5, n)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "official"
    folder.mkdir()
    for split, count in (("train", 30), ("test", 10)):
        rows = [
            {"question": f"{split} {i}: {i} + 1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"} for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_gsm8k_from_the_official_files(official: Path) -> None:
    train = gsm8k("train", path=official)
    assert [problem.id for problem in train] == [f"gsm8k-train-{i}" for i in range(30)]
    assert train[3] == Problem(id="gsm8k-train-3", question="train 3: 3 + 1?", reference="3 + 1 = 4\n#### 4")
    some = gsm8k("train", n=7, seed=42, path=official)
    assert some == [train[row] for row in subset_rows(30, 7, 42)]
    assert gsm8k("test", path=official / "test.jsonl") == gsm8k("test", path=official)


def test_gsm8k_tells_what_is_wrong(official: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no split "dev"'):
        gsm8k("dev", path=official)
    with pytest.raises(ConfigError, match="30 rows"):
        gsm8k("train", n=31, path=official)
    with pytest.raises(DataError, match="no such file"):
        gsm8k("train", path=tmp_path)
    (official / "train.jsonl").write_text('{"question": "?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r'train.jsonl:1: the field "answer" is missing'):
        gsm8k("train", path=official)
    (official / "train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        gsm8k("train", path=official)


def test_gsm8k_without_a_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*arguments: object, **named: object) -> None:
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"Couldn't reach the hub[\s\S]*--path FOLDER"):
        gsm8k("train")


def test_gsm8k_from_the_hub(monkeypatch: pytest.MonkeyPatch, official: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [json.loads(line) for line in (official / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = []

    def load(name: str, config: str, *, split: str) -> list[dict]:
        asked.append((name, config, split))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert gsm8k("test", n=4) == gsm8k("test", n=4, path=official)
    assert asked == [("openai/gsm8k", "main", "test")]


def test_symbolic_problems_are_the_seeds() -> None:
    problems = gsm_symbolic(24, seed=5, kinds=[3, 17, 42])
    assert problems == gsm_symbolic(24, seed=5, kinds=[3, 17, 42])
    assert problems[:10] == gsm_symbolic(10, seed=5, kinds=[3, 17, 42])
    assert problems != gsm_symbolic(24, seed=6, kinds=[3, 17, 42])
    assert len({problem.question for problem in problems}) == 24
    kinds = [problem.model_extra["kind"] for problem in problems if problem.model_extra]
    assert sorted(kinds) == [3] * 8 + [17] * 8 + [42] * 8
    assert [problem.id for problem in problems] == [f"gsm_symbolic-{kind}-s5-{row}" for row, kind in enumerate(kinds)]


def test_excluded_questions_do_not_come_up() -> None:
    first = gsm_symbolic(10, kinds=[3])
    second = gsm_symbolic(10, kinds=[3], exclude=[problem.question for problem in first])
    assert not {problem.question for problem in first} & {problem.question for problem in second}
    assert gsm_symbolic(10, kinds=[3], exclude=["another"]) == first


def test_every_kind_gives_a_reference_that_its_own_answer_passes() -> None:
    kinds = gsm_symbolic_kinds()
    assert len(kinds) == 85
    for problem in gsm_symbolic(2 * len(kinds), seed=11):
        number = re.search(r"\n#### (-?[0-9]+(?:\.[0-9]{1,2})?)$", problem.reference)
        assert number, problem.reference
        assert problem.reference.count("####") == 1
        assert grade_response(f"#### {number[1]}", problem.reference, "gsm8k-strict").correct
        assert "  " not in problem.question


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "nothing to make"),
        ({"n": 1, "kinds": [100]}, "no kind 100"),
        ({"n": 1, "kinds": []}, "empty"),
        ({"n": 1, "difficulty": 0.5}, "below 1.0"),
        ({"n": 1, "difficulty": float("nan")}, "below 1.0"),
    ],
)
def test_symbolic_problems_that_cannot_be_made(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gsm_symbolic(**arguments)


def test_harder_problems_differ() -> None:
    assert gsm_symbolic(6, kinds=[3], difficulty=4.0) != gsm_symbolic(6, kinds=[3])


def test_the_verb(run, official: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out" / "problems.jsonl"
    assert run("data", "gsm8k", "--path", official, "--n", 5, "-o", output) == 0
    assert list(read_records(output, Problem)) == gsm8k("train", n=5, path=official)
    assert run("data", "gsm_symbolic", "--n", 4, "--kinds", "3,17", "--seed", 2, "-o", output) == 0
    assert list(read_records(output, Problem)) == gsm_symbolic(4, 2, [3, 17])
    assert "4 rows -> " in capsys.readouterr().out
    assert run("data", "--n", 3, "gsm8k", "--path", official, "--split", "test", "-o", output) == 0
    assert run("data", "gsm_symbolic", "--kinds", "three", "-o", output) == 2
    assert run("data", "gsm8k", "--splt", "test", "-o", output) == 2
    assert run("data", "gsm8") == 2
    assert run("data", "gsm8", "-o", output) == 1
    assert "gsm8: no such file" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['nlft', 'data', '--help']\n"
        "from nlft.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'reasoning_gym', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def test_a_pipe_is_refused_rather_than_read_in_part(tmp_path: Path) -> None:
    """It would be opened twice, and what the first look took is gone."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="a pipe"):
        list(load_problems(tmp_path / "pipe.jsonl"))


@pytest.mark.parametrize(
    "words", [["data", "rows.jsonl"], ["view", "rows.jsonl"], ["compare", "rows.jsonl", "rows.jsonl"]]
)
def test_an_output_never_replaces_its_input(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nlft.cli.app import run

    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}", encoding="utf-8")
    assert run([*words, "-o", "./rows.jsonl"]) == 2
    assert "same file" in capsys.readouterr().err
    assert Path("rows.jsonl").read_text(encoding="utf-8") == "{}"
