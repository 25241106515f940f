"""`python -m benchmarks [NAMES]`: measure, print the table, write `benchmarks/results.json`.

Nothing else may run on the machine meanwhile. Each part's rows are on disk as soon as it ends. Names: trl,
naive, attention, long, efficiency, memory, vocabulary, scoring, generation, growth, curves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks import curves, step, throughput, vocabulary
from benchmarks.measure import Result
from nlft.provenance import provenance

RESULTS = Path(__file__).parent / "results.json"
PARTS = {
    "trl": step.against_trl,
    "naive": step.against_naive,
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
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "step-price.png"


def main(names: list[str]) -> None:
    """Run the named parts, all where none is named; rows of the others stay as they are."""
    torch.manual_seed(0)
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    stored = json.loads(RESULTS.read_text("utf-8"))["rows"] if RESULTS.exists() else []
    for name in names or PARTS:
        fresh = [{"part": name, **found.row()} for found in PARTS[name]()]
        stored = [row for row in stored if row["part"] != name] + fresh
        RESULTS.write_text(json.dumps({"provenance": _machine(), "rows": stored}, indent=1) + "\n", "utf-8")
    if curve := [row for row in stored if row["part"] == "curves"]:
        curves.draw(curve, FIGURE)
    print(table([row for row in stored if row["part"] != "curves"]))


def table(rows: list[dict[str, object]]) -> str:
    """The results as a Markdown table."""
    lines = ["| what | versus | ratio | target | met |", "|---|---|---:|---|---|"]
    for row in rows:
        met = "" if row["target"] == "-" else ("yes" if row["met"] else "**no**")
        lines.append(f"| {row['what']} | {row['versus']} | {row['ratio']:.2f} | {row['target']} | {met} |")
    return "\n".join(lines)


def _machine() -> dict[str, object]:
    return provenance("cpu").model_dump(mode="json")


__all__ = ["Result", "main", "table"]

if __name__ == "__main__":
    main(sys.argv[1:])
