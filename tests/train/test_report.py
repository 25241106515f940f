"""What a tracker is told is what metrics.jsonl holds."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.train.tiny_train import ROWS

from nlft.cli.app import run as cli
from nlft.records import write_records


def test_a_tracker_is_told_what_is_logged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        init=lambda **_: None, log=told.append, finish=lambda: None, config={}, __version__="0.30",
        context_vars=SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None)),
    )  # fmt: skip
    fake.config = type("Settings", (dict,), {"update": lambda self, row, **_: dict.update(self, row)})()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_trackio_available", lambda: True)
    monkeypatch.setattr("nlft.train.config.find_spec", lambda name: name == "trackio")
    write_records(tmp_path / "rows.jsonl", ROWS)
    words = [
        "train",
        str(tmp_path / "rows.jsonl"),
        "-m",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--prompts",
        "short",
    ]
    assert cli([*words, "--max-steps", "2", "--report-to", "trackio", "--dtype", "float32", "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in lines if "loss" in row]
    assert [row["train/loss"] for row in told if "train/loss" in row] == losses
    assert len(losses) == 2
    assert fake.config["objective"] == "nlft"
