"""`--quantization` is an option wherever a model is loaded, and reaches the loader."""

from pathlib import Path

import pytest
import yaml
from tests.tiny import tiny_rows
from tests.train.tiny_train import ROWS

from nlft.choose.candidates import CANDIDATES
from nlft.choose.config import ChooseSettings
from nlft.choose.recipes import experiment_lines
from nlft.cli.app import run as cli
from nlft.errors import ConfigError
from nlft.records import write_records

VERBS = {
    "answer": ["answer", "problems.jsonl", "-o", "out.jsonl"],
    "evaluate": ["evaluate", "problems.jsonl", "-o", "out.json"],
    "judge": ["judge", "graded.jsonl", "-o", "out.jsonl", "--judge", "local"],
    "revise": ["revise", "judged.jsonl", "-o", "out.jsonl"],
    "score": ["score", "judged.jsonl", "-o", "out.jsonl"],
    "train": ["train", "judged.jsonl", "-o", "out"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_with_a_model_quantizes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    def asked(kind: str, *_: object) -> None:
        raise ConfigError(f"asked for {kind}")

    monkeypatch.setattr("nlft.lm.load.quantization_config", asked)
    monkeypatch.chdir(tmp_path)
    tiny_rows(tmp_path / "problems.jsonl", 2, answered=False)
    write_records(tmp_path / "judged.jsonl", ROWS)
    write_records(tmp_path / "graded.jsonl", [row.model_copy(update={"judgment": None}) for row in ROWS])
    assert cli([*VERBS[verb], "--model", str(folder), "--quantization", "8bit", "--device", "cpu"]) == 2
    assert "error: asked for 8bit" in capsys.readouterr().err


def test_view_and_choose_have_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("view", "choose", "export"):
        assert cli([verb, "--help"]) == 0
        assert "--quantization" in capsys.readouterr().out


def test_choose_passes_it_on(tmp_path: Path) -> None:
    settings = ChooseSettings(model="m", quantization="4bit")
    lines = experiment_lines(settings, list(CANDIDATES), ROWS, tmp_path / "judged.jsonl", tmp_path)
    experiment = yaml.safe_load("\n".join(lines))
    assert experiment["train"]["quantization"] == experiment["evaluate"]["quantization"] == "4bit"
