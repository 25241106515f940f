"""What the pages say of speed is what was measured, and a part that fails takes no other with it."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from benchmarks import report

ROOT = Path(__file__).parents[1]


def ratio(what: str, versus: str) -> str:
    (found,) = [row["ratio"] for row in report.rows(report.read()) if (row["what"], row["versus"]) == (what, versus)]
    return f"{found:.2f}"


def test_the_table_is_that_of_the_results() -> None:
    page = report.PAGE.read_text("utf-8")
    assert report.with_table(page, report.read()) == page, "run python -m benchmarks.report"
    assert report.table(report.read()).count("\n|") > 15


def test_the_ratios_that_other_pages_name_are_the_tables() -> None:
    step, once = (
        [ratio(f"NLFT step, `{weights}` weights, {prompts} prompt", "TRL SFTTrainer step") for prompts in ("paper", "short")]
        for weights in ("step", "once")
    )  # fmt: skip
    told = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"a step takes {step[0]} x of TRL's SFT step (`once` scales: {once[0]} x)" in told
    assert f"with a short prompt {step[1]} x ({once[1]} x)" in told
    slope = ratio("time for 32 to 512 rows: exponent", "linear")
    assert f"exponent {slope} " in (ROOT / "docs/the-paper-in-code.md").read_text("utf-8")


def test_a_part_that_fails_is_named_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import __main__ as run
    from benchmarks.measure import result

    (tmp_path / "page.md").write_text(f"before\n{report.BEGIN}{report.END}after\n")
    old: dict[str, Any] = {"long": {**run._measured(), "rows": [result("old", "o", 1, 2, "-").row()]}}
    (tmp_path / "results.json").write_text(json.dumps({"parts": old}))
    for name in ("results.json", "page.md"):
        monkeypatch.setattr(report, "RESULTS" if name == "results.json" else "PAGE", tmp_path / name)
    parts = {
        "long": partial(int, "no number"),
        "scoring": partial(os._exit, 9),  # as where the system ends it
        "memory": partial(list, [result("new", "n", 3, 2, "<= 1", unit="s")]),
    }
    monkeypatch.setattr(run, "PARTS", parts)
    with pytest.raises(SystemExit, match="failed, and left as they were: long, scoring"):
        run.main([])
    parts = report.read()
    assert parts["long"] == old["long"]
    assert parts["memory"]["rows"][0]["ratio"] == 1.5
    page = (tmp_path / "page.md").read_text()
    assert "| old | o | 0.50 |  |  |  | 1 |\n| new | n | 1.50 | <= 1 | **no** | 3.0 / 2.0 s | 1 |\n" in page
    assert (page.startswith("before\n"), page.endswith("after\n")) == (True, True)
