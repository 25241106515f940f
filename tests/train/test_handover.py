"""What the real command leaves behind, and that it is used as it was trained."""

import json
import os
from pathlib import Path

import pytest
from tests.tiny import tiny_rows
from tests.train.tiny_train import ROWS

from nlft.cli.app import run as cli
from nlft.prompts import load_prompts
from nlft.provenance import digest
from nlft.records import write_records


def words(folder: Path, tmp_path: Path, *more: str) -> list[str]:
    given = [str(tmp_path / "judged.jsonl"), f"--model={folder}", "-o", str(tmp_path / "out"), "--prompts", "short"]
    return ["train", *given, "--max-steps", "2", "--device", "cpu", "--dtype", "float32", "--save-steps", "1", *more]


@pytest.fixture
def trained(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter's folder, made by the command from absolute paths, under a usual umask."""
    write_records(tmp_path / "judged.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nlft", *words(folder, tmp_path)])
    before = os.umask(0o022)
    try:
        assert cli(words(folder, tmp_path)) == 0
    finally:
        os.umask(before)
    return tmp_path / "out"


def test_the_folder_carries_what_its_use_takes(trained: Path, folder: Path, tmp_path: Path) -> None:
    """No pickle, no place on this machine, no row of the data, ordinary modes."""
    files = {path.name: path for path in trained.iterdir() if path.is_file()}
    assert set(files) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "metrics.jsonl",
        "prompts.yaml", "settings.json", "tokenizer.json", "tokenizer_config.json", "train.json",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in trained.rglob("*") if path.is_file()} == {0o644}
    told = json.loads(files["settings.json"].read_text())
    assert (told["base_model"], told["data_file"], told["rows"]) == ("model", "judged.jsonl", 4)
    assert told["prompts"] == digest(load_prompts(str(files["prompts.yaml"])).model_dump(mode="json"))
    assert (told["settings"]["max_steps"], told["settings"]["objective"]) == (2, "nlft")
    readable = [path for path in trained.rglob("*") if path.suffix in {".json", ".yaml", ".md", ".jsonl", ".jinja"}]
    assert len(readable) > 12
    for path in readable:
        text = path.read_text("utf-8")
        assert str(tmp_path) not in text, path
        assert str(folder.parent) not in text, path
        assert not [row for row in ROWS if row.question in text or (row.judgment or row.question) in text], path


def test_the_adapter_is_evaluated_and_answers_as_it_was_trained(
    trained: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    test = str(tiny_rows(tmp_path / "test.jsonl", 2, answered=False))
    common = ["--model", str(folder), "--adapter", str(trained), "--max-new-tokens", "4", "--device", "cpu"]
    assert cli(["evaluate", test, "-o", str(tmp_path / "own.json"), *common]) == 0
    assert json.loads((tmp_path / "own.json").read_text())["prompts"] == "short"
    assert "was trained with" not in caplog.text
    assert cli(["evaluate", test, "-o", str(tmp_path / "other.json"), *common, "--prompts", "paper"]) == 0
    assert json.loads((tmp_path / "other.json").read_text())["prompts"] == "paper"
    assert "was trained with other prompts (short) than it gets here (paper)" in caplog.text
    caplog.clear()
    assert cli(["answer", test, "-o", str(tmp_path / "own.jsonl"), *common]) == 0
    assert cli(["answer", test, "-o", str(tmp_path / "same.jsonl"), *common, "--prompts", "short"]) == 0
    assert (tmp_path / "own.jsonl").read_bytes() == (tmp_path / "same.jsonl").read_bytes()
    assert "was trained with" not in caplog.text
    assert cli(["answer", test, "-o", str(tmp_path / "plain.jsonl"), *common, "--chat-template", "plain"]) == 0
    assert "was trained with another chat template" in caplog.text
    assert (tmp_path / "plain.jsonl").read_bytes() != (tmp_path / "own.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--learning-rate", "1e-3"], "learning_rate (null, now 0.001)"),
        (["--max-steps", "3", "--lora-r", "4"], 'lora ({}, now {"r": 4}), max_steps (2, now 3)'),
        (["--prompts", "paper"], "the prompts"),
        (["--chat-template", "plain"], "the chat template"),
        (["--objective", "sft"], 'objective ("nlft", now "sft")'),
    ],
)
def test_a_run_told_otherwise_is_not_resumed(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert cli(words(folder, tmp_path, "--resume", "--save-steps", "2")) == 0
    capsys.readouterr()
    assert cli(words(folder, tmp_path, "--resume", *more)) == 1
    assert f"there is a change in {said}\n  remedy: undo the change" in capsys.readouterr().err


def test_a_run_on_other_rows_is_not_resumed(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "judged.jsonl", [*ROWS[:3], ROWS[3].model_copy(update={"judgment": "It is 8."})])
    assert cli(words(folder, tmp_path, "--resume")) == 1
    assert "there is a change in the data\n" in capsys.readouterr().err
    assert cli(words(folder, tmp_path, "--overwrite")) == 0
