"""`python -m benchmarks [PARTS]`: measure, and write `benchmarks/results.json` and the table in docs/performance.md.

Nothing else may run on the machine meanwhile. The model is the demo's, or the folder or hub id that `NLFT_BENCH_MODEL`
names. What a part found is on disk as soon as it ends; one that fails is named at the end, and the others run.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from multiprocessing import get_context

from benchmarks import curves, report, step, throughput, vocabulary
from benchmarks.measure import seeded
from benchmarks.variants import default_model
from nlft.provenance import provenance, public_name

PARTS = {
    "steps": step.steps,
    "attention": step.attention,
    "long": step.long_responses,
    "efficiency": step.efficiency,
    "memory": step.memory,
    "vocabulary": vocabulary.run,
    "scoring": throughput.scoring,
    "generation": throughput.generation,
    "growth": throughput.growth,
    "curves": curves.run,
}


def main(names: list[str]) -> None:
    """Run the named parts, all where none is named; what the others found stays as it is."""
    if unknown := set(names) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # Before the first part: its rows change the checkout.
    measured, stored, failed, began = _measured(), report.read(), [], time.perf_counter()
    for name in names or PARTS:
        start = time.perf_counter()
        try:
            # Each in a process of its own: one that is killed for want of memory leaves the others be.
            with ProcessPoolExecutor(1, get_context("spawn")) as child:
                found = child.submit(seeded, PARTS[name]).result()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        seconds = round(time.perf_counter() - start)
        print(
            f"{name}: {seconds / 60:.1f} min, {(start - began + seconds) / 60:.1f} in all", file=sys.stderr, flush=True
        )
        stored[name] = {**measured, "seconds": seconds, "rows": found}
        whole = {"parts": {each: stored[each] for each in PARTS if each in stored}}
        report.RESULTS.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    report.write()
    print(report.table(report.read()))
    if failed:
        sys.exit(f"failed, and left as they were: {', '.join(failed)}")


def _measured() -> dict[str, object]:
    """When, on which model, where and with what."""
    where = provenance("cpu")
    where.versions["trl"] = metadata.version("trl")
    today = datetime.now(UTC).date().isoformat()
    return {"date": today, "model": public_name(default_model()), "provenance": where.model_dump(mode="json")}


if __name__ == "__main__":
    main(sys.argv[1:])
