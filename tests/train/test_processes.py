"""Two processes = one process on the same global batch, under DDP and FSDP2; and what they write together."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train import two_processes
from tests.train.two_processes import CASES, FIVE, WRAPPED, reft_trained, trained

from nlft.cli.app import run as cli
from nlft.records import write_records
from nlft.score import compute
from nlft.train import scale_cache
from nlft.train.reft import trainer as reft_trainer
from tiny import tiny_rows

SHARED = ("--prompts", "short", "--dtype", "float32", "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in the two processes: another number of threads sums in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _small_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the two processes: five rows are more than one share."""
    for module in (compute, scale_cache):
        monkeypatch.setattr(module, "ROWS_PER_PASS", 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_records(folder / "rows.jsonl", FIVE)
    return tiny_rows(folder / "problems.jsonl", 11, answered=False).parent


@pytest.fixture(scope="module")
def two(folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything that two processes did, in one launch."""
    out = tmp_path_factory.mktemp("two")
    here = Path(two_processes.__file__)
    paths = [str(here.parents[2]), str(here.parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    with (out / "stdout.txt").open("w") as said, (out / "stderr.txt").open("w") as complained:
        started = subprocess.Popen(
            [*launch, str(here), str(folder), str(out), str(data)], env=env, stdout=said, stderr=complained
        )
        try:
            code = started.wait(timeout=900)  # seconds are enough, but for a machine that has much else to do
        except subprocess.TimeoutExpired:
            started.terminate()  # torchrun ends what it has started; killed, it would leave them waiting for each other
            code = started.wait()
    assert code == 0, (out / "stderr.txt").read_text()[-6000:]
    return out


@pytest.fixture(scope="module")
def one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process makes of a case, on batches twice as large."""
    out, done = tmp_path_factory.mktemp("one"), set()

    def run(case: str) -> Path:
        if case not in done:
            trained(folder, out / case, case, batch=2)
            done.add(case)
        return out / case

    return run


def same(found: Path, expected: Path) -> None:
    """The same weights, and the same figures in every line of the log."""
    left, right = load_file(found / "weights.safetensors"), load_file(expected / "weights.safetensors")
    assert left.keys() == right.keys()
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, atol=1e-6, rtol=1e-5)
    lines = [json.loads((place / "log.json").read_text()) for place in (found, expected)]
    for ours, theirs in zip(*lines, strict=True):
        figures = {name for name in theirs if "second" not in name and not name.startswith(("train_", "eval_runtime"))}
        assert {name: ours[name] for name in figures} == pytest.approx(
            {name: theirs[name] for name in figures}, rel=2e-5, abs=1e-6
        )


@pytest.mark.parametrize(("wrapped", "case"), [(wrapped, case) for wrapped, cases in WRAPPED.items() for case in cases])
def test_two_processes_train_as_one(two: Path, one: Any, wrapped: str, case: str) -> None:
    """Over steps that accumulate, and one that has a single row for both; in loss, figures and weights."""
    same(two / wrapped / case, one(case))
    steps = [line for line in json.loads((two / wrapped / case / "log.json").read_text()) if "loss" in line]
    assert len(steps) == 2 * CASES[case].get("num_train_epochs", 1)
    assert any(line["loss"] for line in steps)


def test_a_checkpoint_goes_on_in_another_number_of_processes(folder: Path, two: Path, tmp_path: Path) -> None:
    checkpoint = two / "ddp" / "sft" / "out" / "checkpoint-2"
    trained(folder, tmp_path, "sft", batch=2, resume=checkpoint)
    same(tmp_path, two / "ddp" / "sft")


def test_a_checkpoint_of_fsdp_goes_on_under_fsdp(two: Path) -> None:
    same(two / "fsdp2" / "sft-resumed", two / "fsdp2" / "sft")
    saved = load_file(two / "fsdp2" / "sft" / "out" / "checkpoint-4" / "adapter_model.safetensors")
    weights = load_file(two / "fsdp2" / "sft" / "weights.safetensors")
    assert len(saved) == len(weights)
    for name, value in saved.items():
        assert torch.equal(weights[name.replace(".weight", ".default.weight")], value)


@pytest.fixture(scope="module")
def one_reft(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of ReFT, on rollouts of the same size."""
    out = tmp_path_factory.mktemp("reft")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reft_trainer, "answer_reward", two_processes.pay_for_even_lengths)
        reft_trained(folder, out, batch=4)
    return out


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_reft_in_two_processes(two: Path, one_reft: Path, wrapped: str) -> None:
    """Rollouts of unequal lengths, whitening, KL, values and both losses."""
    same(two / wrapped / "reft", one_reft)
    lines = [line for line in json.loads((two / wrapped / "reft" / "log.json").read_text()) if "kl" in line]
    assert max(abs(line["kl"]) for line in lines) > 1e-4
    assert {0 < line["cut_short"] < 1 and 0 < line["reward"] < 1 for line in lines} == {True}


def test_refts_checkpoints_go_on(
    folder: Path, two: Path, one_reft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value head included: DDP's in one process, FSDP's under FSDP."""
    monkeypatch.setattr(reft_trainer, "answer_reward", two_processes.pay_for_even_lengths)
    checkpoint = two / "ddp" / "reft" / "out" / "checkpoint-2"
    assert load_file(checkpoint / "value_head.safetensors")["linear.weight"].any()
    reft_trained(folder, tmp_path, batch=4, resume=checkpoint)
    for resumed in (tmp_path, two / "fsdp2" / "reft-resumed"):
        found, expected = load_file(resumed / "weights.safetensors"), load_file(one_reft / "weights.safetensors")
        assert any("value_head" in name for name in found)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


def test_scores_are_put_together_in_order(folder: Path, two: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    assert cli(["score", str(data / "rows.jsonl"), "-m", str(folder), "-o", str(out), *SHARED]) == 0
    assert (two / "scores.jsonl").read_bytes() == out.read_bytes()


def test_an_evaluation_is_put_together_in_order(folder: Path, two: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "eval.json"
    command = ["evaluate", str(data / "problems.jsonl"), "-m", str(folder), "-o", str(out), "--max-new-tokens", "6"]
    assert cli([*command, *SHARED]) == 0
    assert (two / "eval.jsonl").read_bytes() == out.with_suffix(".jsonl").read_bytes()
    assert json.loads((two / "eval.json").read_text())["n"] == 11


def test_one_process_speaks_and_writes(two: Path) -> None:
    spoken = (two / "stdout.txt").read_text()
    for outcome in ("5 rows, 3 steps", "rows excluded by the filter", "summary: "):
        assert spoken.count(outcome) == 1
    for verb, said in (("score", "scoring: 5/5"), ("evaluate", "evaluating: 11/11"), ("train", "training: 3/3")):
        assert said in (two / f"{verb}.0.txt").read_text()
        assert (two / f"{verb}.1.txt").read_text() == "exit code 0\n"
    steps = [json.loads(line)["step"] for line in (two / "adapter" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 3]
    assert json.loads((two / "adapter" / "train.json").read_text())["processes"] == 2


def test_a_verb_for_one_process_says_so(two: Path) -> None:
    assert "`nlft grade` runs in one process, but a launcher started 2" in (two / "grade.0.txt").read_text()
    assert (two / "grade.1.txt").read_text() == "exit code 2\n"


def test_a_process_that_fails_is_named(two: Path) -> None:
    assert (two / "failure.txt").read_text() == "0 process 1 failed: RuntimeError: out of memory"
