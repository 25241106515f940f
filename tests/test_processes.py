"""What one process sees of the others; several together are tested in `train/test_processes.py`."""

from typing import Any

import pytest

from nlft import processes
from nlft.cli.app import run as cli
from nlft.errors import ConfigError, DataError


@pytest.fixture
def second_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "3", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_one_process_shares_with_nobody() -> None:
    assert (processes.count(), processes.rank(), processes.leads()) == (1, 0, True)
    assert processes.gather("item") == ["item"]
    assert processes.agree("value") == "value"
    assert list(processes.deal([1, 2, 3], lambda item: item * 10)) == [10, 20, 30]
    assert list(processes.deal([], str)) == []
    assert processes.first(lambda: "done") == "done"
    with pytest.raises(DataError, match="not here"):
        processes.first(missing)


def missing() -> None:
    raise DataError("not here")


def test_a_cluster_that_only_counts_its_machines_is_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert (processes.count(), processes.rank()) == (1, 0)


@pytest.mark.usefixtures("second_of_three")
def test_items_are_dealt_in_turn_and_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven items for three: the last round has one, which the others repeat for nothing."""
    mine: list[int] = []
    monkeypatch.setattr(processes, "gather", lambda item: [item - 1, item, item + 1] if item < 6 else [item] * 3)

    def work(item: int) -> int:
        mine.append(item)
        return item

    assert list(processes.deal(range(7), work)) == list(range(7))
    assert mine == [1, 4, 6]


@pytest.mark.usefixtures("second_of_three")
def test_what_processes_cannot_share(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match='3 processes cannot share "cuda:0"'):
        processes.join("cuda:0")
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(ConfigError, match="3 processes, but there is no GPU"):
        processes.join("auto")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="no FSDP on the CPU"):
        processes.join("cpu")
    assert cli(["view", "scored.jsonl"]) == 2
    assert capsys.readouterr().err == "", "the leading process says it"
    monkeypatch.setenv("RANK", "0")
    assert cli(["view", "scored.jsonl"]) == 2
    assert "`nlft view` runs in one process, but a launcher started 3" in capsys.readouterr().err
    assert cli(["answer", "problems.jsonl", "-o", "answers.jsonl", "--answerer", "replay:answers.jsonl"]) != 0


def test_errors_of_one_process_name_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"WORLD_SIZE": "3", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "join", lambda device: None)
    arguments: list[Any] = ["train", "nowhere.jsonl", "-m", "nothing", "-o", "out"]
    assert cli(arguments) == 1
    assert capsys.readouterr().err.startswith("process 1: error: nowhere.jsonl: ")
