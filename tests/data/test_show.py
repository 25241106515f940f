"""`nlft data show`: a row as the file has it, and as the model sees it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nlft.data.config import CheckSettings
from nlft.data.show import find_row, show_row
from nlft.errors import DataError
from tiny import tiny_tokenizer

ROW = {"id": "a", "question": "How many {legs}?", "reference": "2 * 4 = 8\n#### 8"}
WRONG = {"response": "#### 9", "verdict": {"correct": False, "reason": "planted"}, "judgment": "2 * 4 is 8."}


SHORT = CheckSettings(prompts="short")


@pytest.fixture
def model(tmp_path: Path) -> str:
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return str(tmp_path / "model")


def test_rows_are_found_by_number_and_by_id(jsonl: Callable) -> None:
    path = jsonl("in.jsonl", [ROW, ROW | {"id": "b"}, ROW | {"id": "1 c"}])
    assert find_row(path, "2")[1].id == find_row(path, "b")[1].id == "b"
    assert find_row(path, "1 c")[0] == 3
    for missing in ("0", "4", "d", "-1"):
        with pytest.raises(DataError, match="there is no row"):
            find_row(path, missing)


def test_without_a_model_the_messages(jsonl: Callable) -> None:
    shown = show_row(jsonl("in.jsonl", [ROW | WRONG]), "1", settings=SHORT)
    raw = shown[shown.index("{") : shown.index("---- base prompt")]
    assert json.loads(raw)["judgment"] == "2 * 4 is 8."
    assert [name in shown for name in ("---- base prompt", "---- standard prompt", "---- judge prompt")] == [True] * 3
    assert "[user]\nHow many {legs}?" in shown


def test_a_correct_row_has_no_judge_prompt(jsonl: Callable) -> None:
    right = WRONG | {"verdict": {"correct": True, "reason": "planted"}}
    assert "judge prompt" not in show_row(jsonl("in.jsonl", [ROW | right]), "1")


def test_with_a_model_the_template_and_the_trained_tokens(jsonl: Callable, model: str) -> None:
    shown = show_row(jsonl("in.jsonl", [ROW | WRONG]), "a", model=model, settings=SHORT)
    assert "<|user|>How many {legs}?<|end|><|assistant|>⟦#### 9<|end|>⟧" in shown
    trained = "|".join(f"⟦{piece}⟧" for piece in [*"#### 9", "<|end|>"])
    assert shown.endswith("|<|assistant|>|" + trained)
    assert "the 7 trained are in ⟦ ⟧" in shown
    assert shown.count("⟦") == 7 + 3 * 2  # and once in the title and in the text of each path


def test_a_problem_has_nothing_to_train_yet(jsonl: Callable, model: str) -> None:
    assert "the 0 trained" in show_row(jsonl("in.jsonl", [ROW]), "a", model=model)


def test_the_verb_escapes_what_would_move_the_cursor(run, jsonl: Callable, capsys) -> None:
    path = jsonl("in.jsonl", [ROW | {"question": "\x1b[2Jgone [bold]?[/bold]"}])
    assert run("data", "show", path, 1) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone [bold]?[/bold]" in shown
    assert run("data", "show", path, 2) == 1
    assert "give a number from 1 to 1, or an id" in capsys.readouterr().err
