"""The launchers themselves start the command: torchrun, and accelerate with the configuration that ships."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.train.two_processes import FIVE

from nlft.records import write_records

pytestmark = pytest.mark.docs

CONFIGURATION = Path(__file__).parents[2] / "recipes" / "accelerate" / "ddp.yaml"
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    "accelerate": ["accelerate.commands.launch", "--config_file", str(CONFIGURATION)],
}


def test_both_launchers_train_the_same_adapter_on_the_cpu(folder: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "rows.jsonl", FIVE)
    words = ["--model", str(folder), "--device", "cpu", "--dtype", "float32", "--prompts", "short", "--epochs", "1"]
    for name, launcher in LAUNCHERS.items():
        command = ["nlft", "train", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / name), "--batch-size", "1"]
        done = subprocess.run(
            [sys.executable, "-m", *launcher, "-m", *command, *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (done.stdout + done.stderr).count("5 rows, 3 steps") == 1
        assert json.loads((tmp_path / name / "train.json").read_text())["processes"] == 2
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in LAUNCHERS]
    assert weights[0] == weights[1]
