"""`benchmarks/gpu.sh [MODEL...]`: what a GPU does with a training step, generation and memory, beside TRL and transformers.

Each measurement has a process of its own, so that one that runs out of memory leaves the others be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Result, alternate, median, result
from benchmarks.rows import BATCH, batches, judged
from benchmarks.throughput import answer_ours, answer_padded, prompt_ids
from benchmarks.variants import nlft_step, trl_step
from nlft.lm import load_model
from nlft.provenance import provenance

MODELS = ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "NousResearch/Meta-Llama-3.1-8B-Instruct")
ROOT = Path(__file__).parents[1]
RESULTS, TABLE = Path(__file__).with_name("gpu.json"), Path(__file__).with_name("gpu.md")
REPEATS, PROBLEMS, NEW_TOKENS = 5, 64, 200
STEPS = {
    "TRL SFTTrainer": (trl_step, {}),
    "TRL SFTTrainer, checkpointing off": (trl_step, {"checkpointing": False}),
    "NLFT, `step` scales": (nlft_step, {}),
    "NLFT, `once` scales": (nlft_step, {"scale_schedule": "once"}),
}


def main() -> None:
    """Run the tests, then every measurement; write what was found, also after a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--device", default="cuda", help="cpu only tries the script out")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        kind, name = options.child
        print(json.dumps((_step if kind == "step" else _generation)(options.models[0], name, options.device)))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no NVIDIA GPU here (or a torch without CUDA: pip install torch --index-url the one for your CUDA)")
    tests = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/cuda"], cwd=ROOT, check=False)
    rows: list[dict[str, object]] = []
    for model in options.models:
        rows += [{"model": model, **row} for row in _of_model(model, options.device)]
        found = {
            "tests": tests.returncode,
            "provenance": provenance(options.device).model_dump(mode="json"),
            "rows": rows,
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    TABLE.write_text(table(rows), "utf-8")
    print(table(rows))
    sys.exit(tests.returncode)


def table(rows: list[dict[str, Any]]) -> str:
    """The results as a Markdown table; a ratio below 1 is ours being faster or smaller."""
    lines = ["| model | what | versus | ratio | measured |", "|---|---|---|---:|---:|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['model']} | {row['what']} | | | {row['error']} |")
            continue
        measured = f"{row['value']:.3g} / {row['other']:.3g} {row['unit']}"
        lines.append(f"| {row['model']} | {row['what']} | {row['versus']} | {row['ratio']:.2f} | {measured} |")
    return "\n".join(lines) + "\n"


def _of_model(model: str, device: str) -> list[dict[str, object]]:
    """A model's rows; what failed, such as for lack of memory, is a row that says so."""
    rows: list[dict[str, object]] = []
    found = {name: _in_child("step", name, model, device) for name in STEPS}
    found |= {name: _in_child("generation", name, model, device) for name in ("ours", "model.generate")}
    rows += [{"what": name, "error": each["error"]} for name, each in found.items() if "error" in each]
    pairs = [(ours, theirs) for ours in list(STEPS)[2:] for theirs in list(STEPS)[:2]]
    for ours, theirs in [*pairs, ("ours", "model.generate")]:
        one, other = found[ours], found[theirs]
        if "error" in one or "error" in other:
            continue
        what = f"{PROBLEMS} answers of {NEW_TOKENS} tokens" if ours == "ours" else f"step, {ours}"
        for key, unit in (("seconds", "s"), *([("peak_mib", "MiB")] if device == "cuda" else [])):
            compared: Result = result(f"{what}: {unit}", theirs, one[key], other[key], "-", unit=unit, repeats=REPEATS)
            rows.append(compared.row())
    return rows


def _in_child(kind: str, name: str, model: str, device: str) -> dict[str, Any]:
    print(f"{model}: {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.gpu", model, "--device", device, "--child", kind, name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        return {"error": (ran.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    measured: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return measured


def _step(model: str, name: str, device: str) -> dict[str, float]:
    """The median seconds of a step in bfloat16 on a GPU, and its peak memory, weights included."""
    make, options = STEPS[name]
    sets = batches(REPEATS, BATCH)
    step = make(model, "paper", [row for batch in sets for row in batch], device=device, **options)  # type: ignore[operator]

    def timed(batch: list[Any]) -> None:
        step(batch)
        _wait(device)

    for batch in sets[:2]:  # what is compiled and allocated for good
        timed(batch)
    _reset(device)
    seconds = alternate({name: [lambda batch=batch: timed(batch) for batch in sets]})[name]  # type: ignore[misc]
    return {"seconds": median(seconds), "peak_mib": _peak(device)}


def _generation(model: str, name: str, device: str) -> dict[str, float]:
    lm = load_model(model, device=device)
    ids = prompt_ids(lm, "paper", [row.question for row in judged()[:PROBLEMS]])
    run = answer_ours if name == "ours" else answer_padded
    run(lm, ids[:4], 8)
    _reset(device)
    seconds = alternate({name: [lambda: (run(lm, ids, NEW_TOKENS), _wait(device))] * 3})[name]
    return {"seconds": median(seconds), "peak_mib": _peak(device)}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _reset(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0


if __name__ == "__main__":
    main()
