"""`python -m benchmarks.report`: write the table in docs/performance.md anew, and its figure, from results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "performance.md"
FIGURE = ROOT / "docs" / "images" / "step-price.png"
BEGIN, END = "<!-- written by python -m benchmarks.report -->\n", "<!-- end -->\n"
DIGITS = {"s": 1, "MiB": 0}
PACKAGES = ("torch", "transformers", "peft", "trl")


def read() -> dict[str, Any]:
    """What each part found, and where and when."""
    parts: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))["parts"] if RESULTS.exists() else {}
    return parts


def rows(parts: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    """The rows of these parts, of all where none is named."""
    return [row for name, part in parts.items() if not names or name in names for row in part["rows"]]


def table(parts: Mapping[str, Any]) -> str:
    """The results as a Markdown table, and below it what they were measured on."""
    lines = ["| what | versus | ratio | target | met | measured | repeats |", "|---|---|---:|---|---|---:|---:|"]
    for row in rows({name: part for name, part in parts.items() if name != "curves"}):
        target, met = ("", "") if row["target"] == "-" else (row["target"], "yes" if row["met"] else "**no**")
        measured = ""
        if row["unit"]:
            value, other = (f"{row[name]:.{DIGITS[row['unit']]}f}" for name in ("value", "other"))
            measured = f"{value} / {other} {row['unit']}"
        compared = f"{row['what']} | {row['versus']} | {row['ratio']:.2f}"
        lines.append(f"| {compared} | {target} | {met} | {measured} | {row['repeats']} |")
    return "\n".join([*lines, "", *_sources(parts)]) + "\n"


def _sources(parts: Mapping[str, Any]) -> list[str]:
    """One line for all parts that were measured in the same way."""
    found: dict[str, list[str]] = {}
    for name, part in parts.items():
        where = part["provenance"]
        versions = ", ".join(f"{each} {where['versions'][each]}" for each in PACKAGES if each in where["versions"])
        commit, _, dirty = (where["commit"] or "unknown").partition("-")
        changed = " with changes" if dirty else ""
        line = f"{part['model']}, {where['device']}, {versions}, commit {commit[:7]}{changed}, {part['date']}"
        found.setdefault(line, []).append(f"`{name}`")
    if len(found) > 1:
        return [f"- {', '.join(names)}: {line}" for line, names in found.items()]
    took = sum(part.get("seconds", 0) for part in parts.values())
    return [f"Measured with {line}" + (f", in {took / 60:.0f} minutes." if took else ".") for line in found]


def with_table(page: str, parts: Mapping[str, Any]) -> str:
    """The page with the table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + table(parts) + "\n" + END + rest.partition(END)[2]


def write() -> None:
    """Write the page and the figure."""
    from benchmarks import curves

    parts = read()
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), parts), "utf-8")
    if points := [row for row in rows(parts, "steps", "curves") if "prompt_tokens" in row]:
        curves.draw(points, FIGURE)


if __name__ == "__main__":
    write()
