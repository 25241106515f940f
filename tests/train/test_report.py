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


def losses_of_a_run(folder: Path, tmp_path: Path, tracker: str) -> list[float]:
    """Train two steps with the command; the losses in `metrics.jsonl`."""
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
    assert cli([*words, "--max-steps", "2", "--report-to", tracker, "--dtype", "float32", "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in lines if "loss" in row]
    assert len(losses) == 2
    return losses


def test_trackio_is_told_what_is_logged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in: the package itself is not needed."""
    told: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        init=lambda **_: None, log=told.append, finish=lambda: None, config={}, __version__="0.30",
        context_vars=SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None)),
    )  # fmt: skip
    fake.config = type("Settings", (dict,), {"update": lambda self, row, **_: dict.update(self, row)})()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_trackio_available", lambda: True)
    monkeypatch.setattr("nlft.train.config.find_spec", lambda name: name == "trackio")
    losses = losses_of_a_run(folder, tmp_path, "trackio")
    assert [row["train/loss"] for row in told if "train/loss" in row] == losses
    assert fake.config["objective"] == "nlft"


def test_tensorboard_holds_what_is_logged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    losses = losses_of_a_run(folder, tmp_path, "tensorboard")
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [(each.step, each.value) for each in board.Scalars("train/loss")] == [
        (step, pytest.approx(loss)) for step, loss in enumerate(losses, start=1)
    ]
    assert '"objective": "nlft"' in board.Tensors("args/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # mlflow's own use of sqlalchemy 2.1
def test_mlflow_holds_what_is_logged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    losses = losses_of_a_run(folder, tmp_path, "mlflow")
    client = mlflow.MlflowClient()
    (made,) = client.search_runs(["0"])
    history = client.get_metric_history(made.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == list(enumerate(losses, start=1))
    assert made.data.params["objective"] == "nlft"


def test_a_tracker_that_is_absent_is_told_before_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nlft.train.config.find_spec", lambda name: None)
    words = ["train", str(tmp_path / "rows.jsonl"), "-m", str(folder), "-o", str(tmp_path / "out")]
    assert cli([*words, "--report-to", "mlflow"]) == 2
    assert "mlflow is not installed" in capsys.readouterr().err
