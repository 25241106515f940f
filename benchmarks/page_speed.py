"""How fast the saliency map answers in the browser: median milliseconds over repeated slider steps.

    python benchmarks/page_speed.py [--repeat 9]

Two pages of random scores are written to a temporary folder and opened in Chromium: one response of
2,000 tokens, and 1,000 responses of 200 tokens. A repaint is measured from the slider's event to the
frame after it; a recomputation from the change to the new totals. The worst case is the cluster
threshold, because its steps walk every phrase anew; all other steps reuse the walks.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from nlft.config import Config
from nlft.core import SaliencySettings
from nlft.records import Scored, Verdict, write_records
from nlft.saliency_map.export import page_file
from nlft.score.schema import make_scores

STEP = """async ([name, values]) => {
  const slider = document.querySelector(`[name="${name}-slider"]`);
  const times = [];
  for (const value of values) {
    slider.value = value;
    const start = performance.now();
    slider.dispatchEvent(new Event("input"));
    document.querySelector("#tokens").getBoundingClientRect();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const painted = performance.now() - start;
    while (document.body.dataset.busy) await new Promise((done) => setTimeout(done));
    times.push([painted, performance.now() - start]);
  }
  return times;
}"""
SET = """async ([name, values]) => {
  const rows = JSON.parse(document.querySelector("#data").textContent).rows;
  const file = JSON.parse(document.querySelector("#data").textContent).presets.file;
  const times = [];
  for (const value of values) {
    const start = performance.now();
    await module_dataset.computeAll(rows, { ...file, [name]: value }, null);
    times.push(performance.now() - start);
  }
  return times;
}"""


def scored(seed: int, tokens: int, settings: SaliencySettings) -> Scored:
    """A response whose probabilities and phrases are about as dense as a small model's on GSM8K."""
    generator = torch.Generator().manual_seed(seed)
    correct = seed % 2 == 0

    def logps() -> torch.Tensor:
        return torch.rand(tokens, generator=generator).pow(0.3).log()

    scores = make_scores(
        model="random",
        token_ids=list(range(tokens)),
        pieces=[f" word{t % 97}" if t % 23 else "\n" for t in range(tokens)],
        logp_base=logps(),
        logp_standard=logps(),
        logp_judge=None if correct else logps(),
        hidden_states=drifting(torch.randn(tokens, 48, generator=generator)),
        settings=settings,
    )
    return Scored(
        id=str(seed),
        question="How many?",
        reference="#### 7",
        response="".join(scores.pieces),
        verdict=Verdict(correct=correct, reason="the last number"),
        judgment=None if correct else "wrong",
        scores=scores,
    )


def drifting(noise: torch.Tensor, keep: float = 0.75) -> torch.Tensor:
    """States that forget: neighbours have a cosine of about `keep`, so phrases are some tokens long."""
    states = [noise[0]]
    for row in noise[1:]:
        states.append(keep * states[-1] + row)
    return torch.stack(states)


def page_of(folder: Path, rows: int, tokens: int, settings: SaliencySettings) -> str:
    """Write `rows` random responses of `tokens` tokens as a page; its URL."""
    records = folder / "scored.jsonl"
    write_records(records, (scored(seed, tokens, settings) for seed in range(rows)))
    page = folder / f"{rows}x{tokens}-{settings.cluster}.html"
    page_file(Config(), records, page)
    return page.as_uri()


class Clock:
    """Runs steps in a page, and takes the main thread's processor time beside the clock on the wall."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy(self) -> float:
        """Milliseconds of processor time the page's main thread has used."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    def run(self, script: str, name: str, values: list[float]) -> tuple[list[Any], float]:
        """The times of each step, and the processor time of a step on average."""
        before = self.busy()
        times = self.page.evaluate(script, [name, values])
        return times, (self.busy() - before) / len(values)


def report(name: str, times: list[float], busy: float, limit: float | None = None) -> None:
    """One line: median, extremes, processor time, and the aim where there is one."""
    aim = f"  (aim: under {limit:.0f})" if limit else ""
    span = f"[{min(times):.1f} .. {max(times):.1f}]"
    print(f"{name:<60}{statistics.median(times):8.1f} ms {span:<20} processor {busy:6.1f} ms{aim}")


def measure(browser: Any, folder: Path, repeat: int) -> None:
    """Measure both pages under both presets."""
    steps = {
        "p0_correct": [0.6 + 0.35 * i / repeat for i in range(repeat)],
        "r0": [1 + i / repeat for i in range(repeat)],
        "c1": [2 + 3 * i / repeat for i in range(repeat)],
        "cluster_threshold": [0.35 + 0.4 * i / repeat for i in range(repeat)],
    }
    for preset in ("paper", "authors"):
        settings = SaliencySettings.preset(preset)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(page_of(folder, 1, 2000, settings))
        page.wait_for_selector("#check:not(:empty)", state="attached")
        clock = Clock(page)
        for name, values in steps.items():
            times, busy = clock.run(STEP, name, values)
            report(f"{preset}: repaint of 2,000 tokens, {name}", [painted for painted, _ in times], busy, 50)
        page.goto(page_of(folder, 1000, 200, settings))
        page.wait_for_selector("#check:not(:empty)", state="attached", timeout=120_000)
        for name, values in steps.items():
            report(f"{preset}: 1,000 x 200 tokens, {name}", *clock.run(SET, name, values), 500)
        times, busy = clock.run(STEP, "p0_correct", steps["p0_correct"])
        report(f"{preset}: until list and totals show it", [total for _, total in times], busy)
        page.close()


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=options.browser, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, {platform.machine()}")
        measure(browser, Path(folder), options.repeat)
        browser.close()


if __name__ == "__main__":
    main()
