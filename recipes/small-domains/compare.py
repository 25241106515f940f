"""Train and evaluate the cells of the comparison: domain x form x draw x method, each once; resumes.

    OMP_NUM_THREADS=1 python recipes/small-domains/compare.py MODEL WORK --split test \
        [--domain few-legs] [--form final] [--mixture half] [--draw 1] [--method revise] [--rate 1e-3]

Every option may be repeated; without one, all of its values in README.md's plan are run. WORK keeps adapters, revised
rows and responses; each finished cell is one file in recorded/DOMAIN-FORM-MIXTURE-dDRAW/SPLIT, as `nlft experiment`
writes them. A finished cell is not run again, so several processes may share the work.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from draws import DEV_SEED, TEST_SEED, draw, training_rows
from peers import PEERS, merge, train_peer

from nlft.answer import LocalAnswerer
from nlft.evaluate import evaluate
from nlft.lm import SamplingSettings, load_model
from nlft.pipeline.experiment import Cell
from nlft.pipeline.results import RESULTS_VERSION, CellResult, Training, result_path, solved_digits, write_result
from nlft.pipeline.select import select_rows
from nlft.prompts import load_prompts
from nlft.provenance import digest
from nlft.records import Judged, read_records, write_records
from nlft.revise import BaseLikelihood, revise_rows
from nlft.train import NLFTConfig, train

HERE = Path(__file__).parent
DOMAINS = ("small-sums", "few-legs", "small-products", "pair-sums")
FORMS, MIXTURE, DRAWS = ("final", "worked"), "poor", (1, 2, 3, 4)
# Plain SFT, each on the rows that `rows` in a recipe would choose.
PLAIN = {
    "sft-response": "all",
    "sft-correct": "correct",
    "sft-mixed": "correct-or-reference",
    "sft-reference": "reference",
    "sft-both": "both",
}
# Who answers again, and what it is shown. "resample" shows nothing: the control that uses no words.
REVISE = {
    "revise": ("sft-correct", ("correction",)),
    "resample": ("sft-correct", ("question",)),
    "revise-all": ("sft-response", ("correction",)),
    "resample-all": ("sft-response", ("question",)),
    "revise-where": ("sft-response", ("stitch-plain",)),  # the judgment only says which step is wrong
}
METHODS = (*PLAIN, *REVISE, *PEERS)
TESTED = (*PLAIN, "resample-all", "revise-all")  # the others were left behind on development problems
ROWS, STEPS, BATCH, RATE, SAMPLES = 50, 52, 4, 1e-3, 8
PEER_START = 2e-3  # the rate of `sft-response` that development problems decided
SEEDS = {"dev": DEV_SEED, "test": TEST_SEED}
PROBLEMS = {"dev": 100, "test": 500}


def cell_of(method: str, split: str, rate: float) -> Cell:
    """A method's cell; on development problems several rates are tried, a test set is used once, at the rate chosen there."""
    return Cell(method if split == "test" else f"{method}-{rate:g}", ROWS, None, 0)


class Suite:
    """One domain, form, mixture and draw."""

    def __init__(self, model: str, work: Path, domain: str, form: str, mixture: str, number: int) -> None:
        self.model, self.domain, self.form, self.mixture, self.draw = model, domain, form, mixture, number
        self.name = f"{domain}-{form}-{mixture}-d{number}"
        self.work = work / self.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.prompts = load_prompts("short")

    def rows(self, method: str, rate: float) -> list[Judged]:
        """The training rows of a method."""
        rows = training_rows(self.domain, ROWS, self.draw, self.form, self.mixture, "misreads")  # type: ignore[arg-type]
        if method in PLAIN or method in PEERS:
            return select_rows(rows, PLAIN.get(method, "all"))  # type: ignore[arg-type]
        file = self.work / f"{method}-{rate:g}.rows.jsonl"
        if not file.exists():
            first, ways = REVISE[method]
            sampling = SamplingSettings(temperature=0.7, max_new_tokens=120, batch_size=64, seed=self.draw)
            student = self.answerer(first, rate, sampling)
            made = revise_rows(
                rows, student, prompts=self.prompts, ways=ways, samples=SAMPLES,  # type: ignore[arg-type]
                likelihood=BaseLikelihood(student, self.prompts),
            )  # fmt: skip
            (self.work / f"{method}-{rate:g}.yield.txt").write_text(made.report() + "\n", "utf-8")
            print(self.name, made.report(), flush=True)
            write_records(file, made.rows)
        return list(read_records(file, Judged))

    def train(self, method: str, rate: float) -> Path:
        """The adapter of a method; trained if it does not exist."""
        adapter = self.work / f"{method}-{rate:g}"
        if not (adapter / "seconds").exists():
            partial = adapter.with_suffix(f".{os.getpid()}")
            rows, model = self.rows(method, rate), self.base(method)
            start = time.perf_counter()
            if method in PEERS:
                train_peer(
                    method, Path(model), rows, self.prompts, partial, steps=STEPS, batch=BATCH, rate=rate, seed=0
                )
            else:
                config = NLFTConfig(
                    str(partial), objective="sft", prompts="short", learning_rate=rate, max_steps=STEPS, per_device_train_batch_size=BATCH,
                    save_strategy="no", seed=0,
                )  # fmt: skip
                train(rows, load_model(model, dtype="bfloat16"), config, overwrite=True)
            (partial / "seconds").write_text(f"{time.perf_counter() - start} {len(rows)}", "utf-8")
            if adapter.exists():
                shutil.rmtree(partial)
            else:
                partial.rename(adapter)
        return adapter

    def base(self, method: str) -> str:
        """What a method's adapter is trained on: the untouched model, or for a peer the student of all responses."""
        if method not in PEERS:
            return self.model
        return str(merge(self.model, self.train("sft-response", PEER_START), self.work / f"merged-{PEER_START:g}"))

    def answerer(self, method: str, rate: float, sampling: SamplingSettings) -> LocalAnswerer:
        """The trained student; its adapter is not merged, since bfloat16 would round it."""
        adapter = self.train(method, rate)
        dtype = "float32" if method in PEERS else "bfloat16"
        lm = load_model(self.base(method), dtype=dtype, adapter=adapter, merge=False)
        return LocalAnswerer(lm, sampling, adapter=adapter)

    def known(self) -> tuple[str, ...]:
        """The questions that the test set must not hold: of development and of every training draw."""
        dev = tuple(problem.question for problem in draw(self.domain, 200, DEV_SEED))
        drawn = (draw(self.domain, ROWS, number, exclude=dev) for number in DRAWS)
        return (*dev, *(problem.question for problems in drawn for problem in problems))

    def cell(self, method: str, rate: float, split: str, results: Path) -> None:
        """Train, evaluate, record."""
        folder = results / self.name
        cell = cell_of(method, split, rate)
        if result_path(folder, split, cell).exists():
            return
        sampling = SamplingSettings(temperature=0.0, max_new_tokens=120, batch_size=64)
        student = self.answerer(method, rate, sampling)
        problems = draw(self.domain, PROBLEMS[split], SEEDS[split], self.form, self.known() if split == "test" else ())  # type: ignore[arg-type]
        output = self.work / f"{split}-{method}-{rate:g}.json"
        evaluation = evaluate(
            problems, student, self.prompts, output=output, data=f"{self.domain}, {split}", overwrite=True
        )
        seconds, rows = (self.work / f"{method}-{rate:g}" / "seconds").read_text("utf-8").split()
        told = {
            "method": method,
            "rate": rate,
            "steps": STEPS,
            "batch": BATCH,
            "rows": ROWS,
            "samples": SAMPLES,
            "student, ways": REVISE.get(method),
        }
        training = Training(
            rows=int(rows), steps=STEPS, seconds=float(seconds), epochs=STEPS * BATCH / int(rows), peak_memory_mb=None,
            command=f"compare.py --domain {self.domain} --form {self.form} --mixture {self.mixture} --draw {self.draw} "
            f"--method {method} --rate {rate:g}",
        )  # fmt: skip
        result = CellResult(
            version=RESULTS_VERSION, experiment=self.name, split=split, method=cell.method, size=ROWS, epoch=None, seed=0,
            settings_hash=digest(told)[:16], sources_hash=digest([r.model_dump(mode="json") for r in self.rows(method, rate)])[:16],
            evaluation=evaluation, solved=solved_digits(evaluation), training=training,
        )  # fmt: skip
        write_result(folder, result)
        print(f"{self.name} {split} {method} {rate:g}: {evaluation.flexible.count} of {evaluation.n}", flush=True)


def main() -> None:
    """Run the missing cells, draw by draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("work", type=Path)
    parser.add_argument("--split", choices=["dev", "test"], required=True)
    parser.add_argument("--results", type=Path, default=HERE / "recorded")
    parser.add_argument("--domain", action="append")
    parser.add_argument("--form", action="append", choices=["final", "worked"])
    parser.add_argument("--mixture", default=MIXTURE)
    parser.add_argument("--draw", action="append", type=int)
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--rate", type=float, default=RATE)
    args = parser.parse_args()

    def chosen(given: Sequence[object] | None, planned: Sequence[object]) -> Sequence[object]:
        return given or planned

    for number, form, domain, method in itertools.product(
        chosen(args.draw, DRAWS), chosen(args.form, FORMS), chosen(args.domain, DOMAINS), chosen(args.method, TESTED)
    ):
        suite = Suite(args.model, args.work, str(domain), str(form), args.mixture, int(str(number)))
        suite.cell(str(method), args.rate, args.split, args.results)


if __name__ == "__main__":
    main()
